"""Features of windows and their ranges, against waves whose features are known."""

import numpy as np
import pytest
from pydantic import ValidationError

from quadrature.network.model import initialize
from quadrature.network.model_file import load_model, save_model
from quadrature.network.ranges import Range, Ranges, features, measure
from tests.network.test_model import make_network


def wave(count, amplitude, frequency, length=10):
    """Returns the analytic signal, (count, 2, length), of waves of random phase; frequency in radians a sample."""
    phase = np.random.default_rng(0).uniform(0.0, 2.0 * np.pi, (count, 1)) + frequency * np.arange(length)
    return amplitude * np.stack([np.sin(phase), np.cos(phase)], axis=1)


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_features_are_those_of_the_wave_and_of_what_the_samples_have_beside_it(unit):
    signal = unit * wave(50, 0.7, 0.3)
    beside = unit * np.array([0.2, 0.4] * 5)  # mean 0.3, standard deviation 0.1
    found = features(signal[:, 0] + beside, signal)
    for name, expected in {
        "amplitude": 0.7 * unit,
        "offset": 0.3 * unit,
        "noise": 0.1 * unit,
        "frequency": 0.3,
    }.items():
        np.testing.assert_allclose(found[name], np.full(50, expected), rtol=1e-9)


@pytest.mark.parametrize("frequency", [-3.0, -0.3, 3.0])
def test_frequencies_up_to_half_a_turn_a_sample_in_either_direction_are_told_apart(frequency):
    signal = wave(5, 1.0, frequency)
    np.testing.assert_allclose(features(signal[:, 0], signal)["frequency"], frequency, rtol=1e-12)


def test_a_range_leaves_out_a_thousandth_of_the_windows_on_either_side():
    signal = wave(100_000, 1.0, 0.3)
    offsets = np.random.default_rng(1).permutation(np.linspace(-1.0, 1.0, 100_000))
    found = measure(signal[:, 0] + offsets[:, None], signal)
    assert found.offset == pytest.approx((-0.998, 0.998), abs=1e-4)
    assert found.frequency == (0.3, 0.3)


def test_a_window_of_one_sample_has_features_and_a_network_without_in_phase_component_no_noise():
    signal = wave(3, 1.0, 0.3, length=1)
    assert (features(signal[:, 0], signal)["frequency"] == 0.0).all()
    assert measure(signal[:, 0], signal).noise == Range(0.0, 0.0)


@pytest.mark.parametrize("ends", [(1.0, 0.5), (float("nan"), 1.0), (0.0, float("nan"))])
def test_ends_in_the_wrong_order_are_refused(ends):
    right = {"offset": (0.0, 0.0), "noise": (0.0, 0.1), "frequency": (0.2, 0.3)}
    with pytest.raises(ValidationError):
        Ranges(amplitude=Range(*ends), **{name: Range(*each) for name, each in right.items()})


def test_ranges_travel_in_the_models_file_and_an_older_file_has_none(tmp_path):
    network = make_network()
    initialize(network, 0)
    save_model(network, tmp_path / "model")
    assert (load_model(tmp_path / "model").ranges, load_model(tmp_path / "model").trained_on) == (None, None)
    signal = wave(100, 1.0, 0.3)
    network.ranges = measure(signal[:, 0] + 0.1, signal)
    save_model(network, tmp_path / "model")
    assert load_model(tmp_path / "model").ranges == network.ranges
