"""Errors before any training: against the Cramer-Rao bound and the scores of the whole window."""

import math

import pytest

from quadrature.planning.outlook import look
from tests.posterior.test_mean import make_params


def test_a_wave_of_known_frequency_and_amplitude_has_the_phase_error_of_the_cramer_rao_bound():
    """The bound of the phase is noise^2 / sum cos^2, whose mean over phases is about 2 noise^2 / length."""
    params = make_params(length=40, span=8 * math.pi, frequency=(1.0, 1.0), noise_std=0.05)
    (middle, end), reason = look(params)
    bound = math.degrees(0.05 * math.sqrt(2 / 40))
    assert reason is None
    for each in (middle, end):
        assert each.phase_degrees["best"] == pytest.approx(bound, rel=0.15)
        assert each.phase_degrees["best"] <= 1.05 * each.phase_degrees["least_squares"]
        assert each.phase_degrees["least_squares"] < each.phase_degrees["hilbert"]
    assert (middle.place, end.place) == ("middle", "end")


def test_the_end_of_a_window_is_harder_than_its_middle_and_amplitude_is_in_per_cent_of_the_highest():
    (middle, end), _ = look(make_params(amplitude=(1.0, 2.0)))
    (same, _), _ = look(make_params(amplitude=(1e6, 2e6), noise_std=1e5))
    for errors in ("phase_degrees", "amplitude_percent"):
        assert getattr(end, errors)["best"] > getattr(middle, errors)["best"]
        assert getattr(same, errors) == pytest.approx(getattr(middle, errors), rel=1e-3)
    assert 1.0 < middle.amplitude_percent["best"] < middle.amplitude_percent["least_squares"] < 50.0


def test_without_a_best_estimate_the_others_are_there_and_the_reason():
    (middle, end), reason = look(make_params(noise_std=0.0))
    assert reason.startswith("generate.noise_std is 0")
    for each in (middle, end):
        assert (each.phase_degrees["best"], each.amplitude_percent["best"]) == (None, None)
        assert each.phase_degrees["least_squares"] < 10.0
