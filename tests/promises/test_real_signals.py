"""docs/real-signals.md: its figures are those of the committed table, and its examples run."""

import re

import numpy as np
import pandas as pd
import pytest

from benchmarks.studies import classical
from benchmarks.studies.real_signals import METHODS, measure, phase_error, table
from benchmarks.studies.recordings import EXAMPLES, Recording
from tests.checkout import PROJECT

PAGE = (PROJECT / "docs/real-signals.md").read_text()
MEASURED = pd.read_csv(PROJECT / "docs/real-signals.csv").set_index(["signal", "method"])
FEW = {
    "generate.windows": {"train": 1024, "validation": 64, "test": 64}, "model.hidden_size": 4, "train.epochs": 1,
    "targets.kind": "clean", "train.threads": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_shows_the_measured_table(name):
    shown = re.search(rf"<!-- {name} -->\n\n(.*?)\n\n<!-- end of {name} -->", PAGE, re.DOTALL)[1]
    assert shown == table(MEASURED.loc[name])


def test_the_table_has_every_signal_and_method():
    assert list(MEASURED.index) == [(name, method) for name in EXAMPLES for method in METHODS]


@pytest.fixture
def sine():
    """A sine of amplitude 3 at the mains' nominal frequency, and its complex wave."""
    wave = 3.0 * np.exp(1j * (0.4 + EXAMPLES["mains"].turn * np.arange(800)))
    return Recording(wave.imag, wave)


@pytest.mark.slow
@pytest.mark.parametrize("at_end", [True, False])
def test_the_other_estimators_find_a_sine_without_noise(sine, at_end):
    """The same convention as the network's: the angle of quadrature + i in-phase is the phase of the sine."""
    example = EXAMPLES["mains"]
    for estimate, bound in (
        (classical.least_squares(sine.samples + 7.0, example.turn, 20, at_end), 1e-6),
        (classical.hilbert(sine.samples + 7.0, 20, at_end), 1e-6),  # whole periods
        (classical.sogi(sine.samples, example.turn), 0.5),
        (classical.kalman(sine.samples[:300] + 7.0, example.turn, not at_end), 0.5),
    ):
        found = Recording(sine.samples[: len(estimate)], sine.truth[: len(estimate)])
        assert phase_error(np.where(np.arange(len(estimate)) < 200, found.truth, estimate), found, example) < bound
        assert np.abs(np.abs(estimate[250:290]) - 3.0).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mains", "sunspots"])
def test_an_example_runs_from_the_recording_to_its_errors(name):
    errors, recording, estimate = measure(name, FEW)
    assert list(errors.index) == list(METHODS)
    assert estimate.shape == recording.truth.shape
    assert np.isnan(errors["afterwards"]).sum() == 1  # SOGI has no later samples
    assert np.isfinite(errors["causal"]).all()  # an epoch teaches the network little
    known = MEASURED.loc[name].drop("network")
    assert np.allclose(errors.drop("network"), known, rtol=0.02, atol=0.02, equal_nan=True)
