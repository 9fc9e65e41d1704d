"""The pipeline with disturbed windows: every stage runs, the report says what they hold, the floor is there or null."""

import json

import pytest

from tests.checkout import SMALL

DISTURBED = {
    "generate.noise_std": 0.2,
    "generate.noise_color": 1.0,
    "generate.offset_std": 0.25,
    "generate.drift_std": 0.35,
    "generate.harmonics": [0.15, 0.05],
    "generate.chirp": 0.1,
}

SAID = (
    "noise of standard deviation 0.2, with a power spectrum of 1 / f to the power 1.0. "
    "A constant of standard deviation 0.25 is added to each window. "
    "A slope is added to each window; its change over the window has a standard deviation of 0.35. "
    "Harmonics are added, from the second on; the standard deviations of their components, relative to the "
    "amplitude, are 0.15, 0.05. Over a window, the frequency changes by up to 10 %. The network estimates the cosine"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, None),
        (
            {"generate.phase": "consecutive", "targets.kind": "clean"},
            "the posterior of consecutive phases with harmonics or chirp is not computed; "
            "set generate.phase to uniform",
        ),
    ],
    ids=["a floor", "none"],
)
def test_a_run_on_disturbed_windows_has_the_right_floor_or_says_why_it_has_none(make_checkout, changes, missing):
    checkout = make_checkout(parameters={**SMALL, **DISTURBED, **changes})
    for stage in ("generate", "targets", "train", "evaluate", "plot", "report"):
        checkout.stage(stage)
    test = json.loads((checkout.path / "metrics/test.json").read_text())
    page = (checkout.path / "metrics/report.html").read_text()
    assert SAID in " ".join(page.split())
    assert test["floor_missing"] == missing
    if missing:
        assert (test["floor_mse"], test["excess"], test["floor_windows"]) == (None, None, 0)
        assert f"There is no floor to compare the error with: {missing}." in page
    else:
        assert test["floor_windows"] == 300
        assert abs(test["floor_z_score"]) < 5.0
        assert 0.0 < test["floor_mse"] < min(test["mse"], *test["baselines"].values())
