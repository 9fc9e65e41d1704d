"""Scores and the search for leaked windows, against direct computation."""

import numpy as np
import pytest

from quadrature.scoring import leakage
from quadrature.scoring.leakage import SeenWindows, slices
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
    assert excess.in_words() == "300.0% ± 0.0% above the floor"


def test_the_excess_of_one_window_has_no_standard_error():
    excess = Excess()
    excess.add(np.full((1, 3), 2.0), np.ones((1, 3)), np.zeros((1, 3)))
    assert excess.figures() == {"floor_mse": 1.0, "floor_windows": 1, "excess": 3.0, "excess_standard_error": None}
    assert excess.in_words() == "300.0% above the floor"


def test_without_any_best_estimate_there_is_no_excess():
    excess = Excess()
    excess.add(np.zeros((4, 3)), np.full((4, 3), np.nan), np.zeros((4, 3)))
    assert excess.figures() == {"floor_mse": None, "floor_windows": 0, "excess": None, "excess_standard_error": None}
    assert excess.in_words() == "which have no floor"


def count_seen(test_shards, train_shards):
    count = 0
    for windows in slices(iter(test_shards)):
        seen = SeenWindows(windows)
        for train in train_shards:
            seen.look_in(train)
        count += seen.count
    return count


def test_seen_windows_are_those_within_the_tolerance_at_every_instant(monkeypatch):
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
    assert count_seen([test], [train]) == 4
    assert count_seen([test[:2], test[2:]], [train[:150], train[150:], train]) == 4
    for limit in (10, 50, 250):  # slices of a shard each, of some shards, of all
        monkeypatch.setattr(leakage, "SLICE", limit)
        shards = [test[:2], test[2:4], test[4:9], test[9:]]
        assert count_seen(shards, [train[:150], train[150:], train]) == 4


def test_many_copies_of_one_window_are_found():
    window = np.sin(np.linspace(0.0, np.pi, 10))
    train = np.concatenate([np.tile(window, (5000, 1)), np.tile(-window, (5000, 1))])
    assert count_seen([np.tile(-window, (2000, 1))], [train]) == 2000


def test_slices_hold_every_window_once_and_no_more_than_their_limit_or_one_shard(monkeypatch):
    monkeypatch.setattr(leakage, "SLICE", 40)
    windows = np.arange(170.0).reshape(17, 10)
    shards = [windows[:2], windows[2:4], windows[4:5], windows[5:12], windows[12:15], windows[15:]]
    cut = list(slices(iter(shards)))
    assert [len(part) for part in cut] == [4, 1, 7, 3, 2]
    assert (np.concatenate(cut) == windows).all()


def test_windows_are_searched_for_sixteen_megabytes_at_a_time():
    shard = np.zeros((2**17, 8), np.float32)
    assert [part.nbytes for part in slices([shard] * 5)] == [2**24, 2**22]
