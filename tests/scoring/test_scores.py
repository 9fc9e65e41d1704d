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
    assert score.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
    assert score.max_abs_error == np.abs(error).max()


def test_excess_is_the_ratio_of_the_errors_and_its_standard_error_that_of_many_repetitions():
    rng = np.random.default_rng(0)

    def measure(count):
        target = rng.standard_normal((count, 5))
        error = 0.1 * rng.standard_normal((count, 5)) * rng.uniform(0.5, 2.0, (count, 1))
        excess = Excess()
        excess.add((target + 1.1 * error)[:300], (target + error)[:300], target[:300])
        excess.add((target + 1.1 * error + 0.01)[300:], (target + error)[300:], target[300:])
        return excess.figures(), target, error

    figures, target, error = measure(1000)
    estimate = np.concatenate([target[:300] + 1.1 * error[:300], target[300:] + 1.1 * error[300:] + 0.01])
    assert figures["floor_mse"] == pytest.approx(np.mean(error**2), rel=1e-12)
    assert figures["excess"] == pytest.approx(np.mean((estimate - target) ** 2) / np.mean(error**2) - 1.0, rel=1e-9)
    assert figures["floor_windows"] == 1000
    repeated = [measure(1000)[0] for _ in range(400)]
    spread = np.std([figures["excess"] for figures in repeated])
    assert np.mean([figures["excess_standard_error"] for figures in repeated]) == pytest.approx(spread, rel=0.15)


def test_windows_without_a_best_estimate_are_left_out_of_the_excess():
    target = np.zeros((4, 3))
    best = np.full((4, 3), np.nan)
    best[1:3] = 1.0
    excess = Excess()
    excess.add(np.array([[100.0] * 3, [2.0] * 3, [2.0] * 3, [100.0] * 3]), best, target)
    assert excess.figures() == {"floor_mse": 1.0, "floor_windows": 2, "excess": 3.0, "excess_standard_error": 0.0}


def test_the_excess_of_one_window_has_no_standard_error():
    excess = Excess()
    excess.add(np.full((1, 3), 2.0), np.ones((1, 3)), np.zeros((1, 3)))
    assert excess.figures() == {"floor_mse": 1.0, "floor_windows": 1, "excess": 3.0, "excess_standard_error": None}


def test_without_any_best_estimate_there_is_no_excess():
    excess = Excess()
    excess.add(np.zeros((4, 3)), np.full((4, 3), np.nan), np.zeros((4, 3)))
    assert excess.figures() == {"floor_mse": None, "floor_windows": 0, "excess": None, "excess_standard_error": None}
    assert Excess().figures() == excess.figures()
