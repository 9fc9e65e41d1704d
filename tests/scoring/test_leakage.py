"""The search for test windows in the training split, against direct computation."""

import numpy as np
import pytest

from quadrature.scoring import leakage
from quadrature.scoring.leakage import SeenWindows, slices


def make_shards(*parts):
    return [{"input": part} for part in parts]


def count_seen(test_shards, train_shards, scale=1.0):
    count = 0
    for shards in slices(iter(make_shards(*test_shards))):
        seen = SeenWindows([shard["input"] for shard in shards], scale=scale)
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
    for limit in (10, 50, 250):  # slices of one shard each, of a few shards, of all shards
        monkeypatch.setattr(leakage, "SLICE", limit * test.itemsize)
        shards = [test[:2], test[2:4], test[4:9], test[9:]]
        assert count_seen(shards, [train[:150], train[150:], train]) == 4


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 325.0])
def test_the_tolerance_is_relative_to_the_signals_scale(scale):
    train = scale * np.random.default_rng(0).standard_normal((300, 10))
    test = np.concatenate([train[:3] + 0.9e-6 * scale, train[3:7] + 1.1e-6 * scale]).astype(np.float64)
    assert count_seen([test], [train], scale) == 3


def test_many_copies_of_one_window_are_found():
    window = np.sin(np.linspace(0.0, np.pi, 10))
    train = np.concatenate([np.tile(window, (5000, 1)), np.tile(-window, (5000, 1))])
    assert count_seen([np.tile(-window, (2000, 1))], [train]) == 2000


def test_slices_hold_every_shard_once_and_no_more_than_their_limit_or_one_shard(monkeypatch):
    windows = np.arange(170.0).reshape(17, 10)
    monkeypatch.setattr(leakage, "SLICE", 40 * windows.itemsize)
    shards = make_shards(windows[:2], windows[2:4], windows[4:5], windows[5:12], windows[12:15], windows[15:])
    cut = list(slices(iter(shards)))
    assert [sum(len(shard["input"]) for shard in part) for part in cut] == [4, 1, 7, 3, 2]
    assert [id(shard) for part in cut for shard in part] == [id(shard) for shard in shards]


def test_windows_are_searched_for_sixteen_megabytes_at_a_time_all_columns_counted():
    shard = {"input": np.zeros((2**17, 4), np.float32), "target": np.zeros((2**17, 4), np.float32)}
    sizes = [sum(column.nbytes for each in part for column in each.values()) for part in slices([shard] * 5)]
    assert sizes == [2**24, 2**22]
