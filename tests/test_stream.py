"""The order of training: exact lists, each window once an epoch, a pure function of its arguments."""

import numpy as np
import pytest
import torch

from quadrature.stream import Batch, epoch_batches, in_order, load_split
from quadrature.windows import shard_path, writing


def make_shards(*sizes):
    numbers = torch.arange(sum(sizes), dtype=torch.float32).split(list(sizes))
    return [Batch(part.reshape(-1, 1, 1), part.reshape(-1, 1)) for part in numbers]


def order(shards, **changes):
    settings = {"seed": 0, "epoch": 0, "batch_size": 4, "shuffle_windows": 6, **changes}
    batches = list(epoch_batches(shards, **settings))
    for batch in batches:
        assert (batch.input.flatten() == batch.target.flatten()).all()
    return [batch.target.flatten().int().tolist() for batch in batches]


def reference_order(sizes, seed, epoch, batch_size, shuffle_windows):
    """The definition in stream's docstring, on lists of numbers."""

    def permutation(count, *key):
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)).permutation(count)

    starts = np.cumsum([0, *sizes])
    laid_out = [n for shard in permutation(len(sizes), epoch) for n in range(starts[shard], starts[shard + 1])]
    blocks = [laid_out[i : i + shuffle_windows] for i in range(0, len(laid_out), shuffle_windows)]
    shuffled = [block[i] for b, block in enumerate(blocks) for i in permutation(len(block), epoch, b)]
    return [shuffled[i : i + batch_size] for i in range(0, len(shuffled), batch_size)]


@pytest.mark.parametrize("sizes", [(5, 5, 3), (13,), (1, 1, 1), (8, 8), (2, 30, 2)])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
@pytest.mark.parametrize("shuffle_windows", [1, 6, 8, 1000])
def test_batches_follow_the_definition_exactly(sizes, batch_size, shuffle_windows):
    arguments = {"seed": 3, "epoch": 2, "batch_size": batch_size, "shuffle_windows": shuffle_windows}
    assert order(make_shards(*sizes), **arguments) == reference_order(sizes, **arguments)


def test_every_epoch_reads_every_window_once():
    shards = make_shards(7, 7, 4)
    for epoch in range(5):
        batches = order(shards, epoch=epoch)
        assert sorted(n for batch in batches for n in batch) == list(range(18))
        assert [len(batch) for batch in batches] == [4, 4, 4, 4, 2]


def test_order_depends_on_seed_epoch_and_buffer_and_on_nothing_else():
    shards = make_shards(50, 50)
    assert order(shards) == order(shards)
    assert order(shards) != order(shards, seed=1)
    assert order(shards) != order(shards, epoch=1)
    assert order(shards) != order(shards, shuffle_windows=100)
    flat = [[n for batch in order(shards, batch_size=size) for n in batch] for size in (4, 9)]
    assert flat[0] == flat[1]


def test_a_buffer_of_one_leaves_the_windows_of_a_shard_in_order():
    batches = order(make_shards(5), shuffle_windows=1)
    assert [n for batch in batches for n in batch] == [0, 1, 2, 3, 4]


def test_in_order_reads_the_windows_as_written():
    assert [batch.target.flatten().int().tolist() for batch in in_order(make_shards(3, 4), 5)] == [
        [0, 1, 2, 3, 4],
        [5, 6],
    ]


def test_a_split_is_loaded_in_the_shapes_of_the_network(tmp_path):
    columns = {
        "input": np.arange(6, dtype=np.float32).reshape(2, 3),
        "target": -np.arange(6, dtype=np.float32).reshape(2, 3),
        "phase": np.zeros(2),
        "frequency": np.ones(2),
        "amplitude": np.ones(2),
    }
    with writing(shard_path(tmp_path, 0)) as file:
        file.write(columns)
    (batch,) = load_split(tmp_path, torch.device("cpu"))
    assert batch.input.shape == (2, 3, 1)
    assert batch.target.tolist() == columns["target"].tolist()
