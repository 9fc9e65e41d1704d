"""Scores and the search for leaked windows, against direct computation."""

import numpy as np
import pytest

from quadrature.leakage import count_seen
from quadrature.scores import Score


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


def test_seen_windows_are_those_within_the_tolerance_at_every_instant():
    rng = np.random.default_rng(0)
    train = rng.standard_normal((300, 10))
    test = np.concatenate(
        [
            train[[5, 200, 200]],  # seen, one of them twice
            train[[7]] + 9e-7,  # within 1e-6 everywhere
            train[[8]] + np.eye(10)[3] * 1.1e-6,  # beyond it at one instant
            rng.standard_normal((20, 10)),
        ]
    ).astype(np.float64)
    expected = sum((np.abs(train - window).max(axis=1) <= 1e-6).any() for window in test)
    assert expected == 4
    assert count_seen(test, [train]) == 4
    assert count_seen(test, [train[:150], train[150:]]) == 4


def test_many_copies_of_one_window_are_found():
    window = np.sin(np.linspace(0.0, np.pi, 10))
    train = np.concatenate([np.tile(window, (5000, 1)), np.tile(-window, (5000, 1))])
    assert count_seen(np.tile(-window, (2000, 1)), [train]) == 2000
