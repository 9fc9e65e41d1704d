"""Scores and the excess, against direct computation."""

import numpy as np
import pytest

from quadrature.scoring.scores import Excess, Score


def test_scores_added_in_parts_are_the_scores_of_the_whole():
    rng = np.random.default_rng(0)
    estimate, target = rng.standard_normal((2, 100, 10)).astype(np.float32)
    score = Score()
    for start in range(0, 100, 30):
        score.add(estimate[start : start + 30], target[start : start + 30])
    error = estimate.astype(float) - target
    assert score.windows == 100
    assert score.mse == pytest.approx(np.mean(error**2), rel=1e-12)
    assert score.mse_standard_error == pytest.approx(np.mean(error**2, axis=1).std(ddof=1) / 10.0, rel=1e-9)
    assert score.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
    assert score.max_abs_error == np.abs(error).max()


def test_the_excess_scatters_as_its_standard_error_says_and_less_than_the_ratio_of_errors():
    """Here f = m + 0.1 y', where y' is known and the error of m is not: the excess is 0.01 in the long run."""
    rng = np.random.default_rng(0)

    def measure(count):
        scale = rng.uniform(0.5, 2.0, (count, 1))
        best, error, distance = scale * rng.standard_normal((3, count, 5))
        excess = Excess()
        for part in (slice(300), slice(300, None)):
            excess.add((best + 0.1 * distance)[part], best[part], (best - error)[part])
        mse = np.square(error + 0.1 * distance).mean()
        assert excess.figures()["floor_mse"] == pytest.approx(np.square(error).mean(), rel=1e-12)
        return {**excess.figures(), "ratio": mse / np.square(error).mean() - 1.0}

    repeated = [measure(1000) for _ in range(400)]
    found, ratio = ([figures[name] for figures in repeated] for name in ("excess", "ratio"))
    assert repeated[0]["floor_windows"] == 1000
    assert np.mean(found) == pytest.approx(0.01, abs=4 * np.std(found) / 20)
    assert np.mean([figures["excess_standard_error"] for figures in repeated]) == pytest.approx(np.std(found), rel=0.15)
    assert np.std(ratio) > 5 * np.std(found)
    scores = [figures["floor_z_score"] for figures in repeated]
    assert np.std(scores) == pytest.approx(1.0, rel=0.15)
    assert np.abs(scores).max() < 5.0


def test_another_target_than_the_best_estimates_has_a_high_score():
    """Here the posterior mean of y would be m + 0.1 x: a tenth of what f adds to m is really known."""
    best, error, distance = np.random.default_rng(0).standard_normal((3, 1000, 5))
    excess = Excess()
    excess.add(best + distance, best, best + 0.1 * distance + error)
    assert excess.figures()["floor_z_score"] == pytest.approx(-0.1 / np.sqrt(1 / 5000), abs=3.0)


def test_windows_without_a_best_estimate_are_left_out_of_the_excess():
    target = np.zeros((4, 3))
    best = np.full((4, 3), np.nan)
    best[1:3] = 1.0
    excess = Excess()
    excess.add(np.array([[100.0] * 3, [3.0] * 3, [3.0] * 3, [100.0] * 3]), best, target)
    assert excess.figures() == {
        "floor_mse": 1.0, "floor_standard_error": 0.0, "floor_windows": 2, "excess": 4.0,
        "excess_standard_error": 0.0, "floor_z_score": None,
    }  # fmt: skip


def test_the_excess_of_one_window_has_no_standard_error():
    excess = Excess()
    excess.add(np.full((1, 3), 2.0), np.ones((1, 3)), np.zeros((1, 3)))
    assert excess.figures() == {
        "floor_mse": 1.0, "floor_standard_error": None, "floor_windows": 1, "excess": 1.0,
        "excess_standard_error": None, "floor_z_score": None,
    }  # fmt: skip


def test_without_any_best_estimate_there_is_no_excess():
    excess = Excess()
    excess.add(np.zeros((4, 3)), np.full((4, 3), np.nan), np.zeros((4, 3)))
    figures = excess.figures()
    assert figures.pop("floor_windows") == 0
    assert set(figures.values()) == {None}
    assert Excess().figures() == {"floor_windows": 0, **figures}
