"""The order of training: exact lists, each window once an epoch, a pure function of its arguments."""

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from quadrature.runtime.errors import DataError
from quadrature.signals.waves import draw_shard
from quadrature.storage.windows import COMPONENTS, TARGET_COLUMNS, Split, shard_path, writing
from quadrature.training.batches import (
    SPREAD_SHARDS,
    Batch,
    SplitReader,
    epoch_batches,
    in_order,
    measure_amplitude,
    open_split,
    spread,
)  # fmt: skip
from tests.posterior.test_mean import make_params


def make_shards(*sizes):
    numbers = torch.arange(sum(sizes), dtype=torch.float32).split(list(sizes))
    return SplitReader.of([Batch(part.reshape(-1, 1, 1), part.reshape(-1, 1)) for part in numbers])


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


def write_split(folder, sizes, in_phase=None):
    """Writes shards whose windows are numbered; returns them as they are in memory.

    The target is the number times -1, and the column in_phase, if it is asked for, times `in_phase`.
    """
    numbers = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    for shard, part in enumerate(numbers):
        samples = np.tile(part.astype(np.float32)[:, None], 3)
        numbered = np.zeros(len(part))
        columns = {
            "input": samples,
            "target": -samples,
            "phase": numbered,
            "frequency": numbered,
            "amplitude": numbered,
            **({} if in_phase is None else {"in_phase": np.float32(in_phase) * samples}),
        }
        with writing(shard_path(folder, shard), shard, len(sizes)) as file:
            file.write(columns)
    return SplitReader.of(
        [
            Batch(
                torch.tensor(part.tolist())[:, None, None].expand(-1, 3, 1),
                -torch.tensor(part.tolist())[:, None].expand(-1, 3),
            )
            for part in numbers
        ]
    )


def test_a_split_is_opened_in_the_shapes_of_the_network(tmp_path):
    write_split(tmp_path, [4, 4, 2])
    split = open_split(tmp_path, torch.device("cpu"), memory=10**6)
    assert (split.window_length, list(split.sizes), split.window_count) == (3, [4, 4, 2], 10)
    batch = split.get(2)
    assert batch.input.shape == (2, 3, 1)
    assert batch.target.tolist() == [[-8.0] * 3, [-9.0] * 3]


@pytest.mark.parametrize(("factor", "ends"), [(1e30, True), (1e-36, True), (2e38, False), (1e-40, False)])
def test_an_amplitude_that_float32_cannot_divide_by_is_refused(tmp_path, factor, ends):
    targets = tmp_path / "targets"
    windows = draw_shard(make_params(windows=8), "test", 0)
    columns = {name: (factor * windows[name]).astype(np.float32) for name in TARGET_COLUMNS}
    with writing(shard_path(targets, 0), 0, 1) as file:
        file.write(columns)
    with nullcontext() if ends else pytest.raises(DataError, match=r"scale your windows to 1\.2e-38 to 1\.7e\+38"):
        assert measure_amplitude(targets) == pytest.approx(factor, rel=0.2)


@pytest.mark.parametrize("memory", [0, 10**6])
def test_windows_and_targets_are_divided_by_the_scale(tmp_path, memory):
    write_split(tmp_path, [4, 2])
    split = open_split(tmp_path, torch.device("cpu"), memory, scale=8.0)
    assert split.scale == 8.0
    batch = split.get(1)
    assert batch.input[..., 0].tolist() == [[4.0 / 8.0] * 3, [5.0 / 8.0] * 3]
    assert batch.target.tolist() == [[-4.0 / 8.0] * 3, [-5.0 / 8.0] * 3]


@pytest.mark.parametrize("memory", [0, 10**6])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_two_components_are_stacked_in_phase_first_and_divided_by_the_scale(tmp_path, memory, elsewhere):
    """The targets are the split's own, or those in another folder: there they are 2 and -1 times the number."""
    write_split(tmp_path / "windows", [4, 2], in_phase=1 if not elsewhere else 9)
    targets = write_targets(tmp_path / "targets", [4, 2], in_phase=2) if elsewhere else None
    split = open_split(
        tmp_path / "windows", torch.device("cpu"), memory, targets=targets, scale=8.0, components=COMPONENTS
    )
    assert split.get(0).target.shape == (4, 2, 3)
    batch = split.get(1)
    assert batch.input[..., 0].tolist() == [[4.0 / 8.0] * 3, [5.0 / 8.0] * 3]
    factor = 2.0 if elsewhere else 1.0
    assert batch.target[:, 0].tolist() == [[factor * 4.0 / 8.0] * 3, [factor * 5.0 / 8.0] * 3]
    assert batch.target[:, 1].tolist() == [[-4.0 / 8.0] * 3, [-5.0 / 8.0] * 3]


def write_targets(folder, sizes, in_phase=None):
    """Writes the targets of `write_split`, without windows; returns the folder."""
    for shard, count in enumerate(sizes):
        numbers = sum(sizes[:shard]) + np.tile(np.arange(count, dtype=np.float32)[:, None], 3)
        with writing(shard_path(folder, shard), shard, len(sizes)) as file:
            file.write({"target": -numbers, **({} if in_phase is None else {"in_phase": in_phase * numbers})})
    return folder


@pytest.mark.parametrize("lacking", ["windows", "targets"])
def test_windows_of_ones_own_without_in_phase_train_the_quadrature_component_alone(tmp_path, lacking):
    """Targets in a folder of their own count, and the windows' are not looked at."""
    write_split(tmp_path / "windows", [4, 2], in_phase=None if lacking == "windows" else 1)
    targets = write_targets(tmp_path / "targets", [4, 2]) if lacking == "targets" else None
    place, device = tmp_path / "windows", torch.device("cpu")
    with pytest.raises(DataError) as caught:
        open_split(place, device, 0, targets=targets, components=COMPONENTS)
    assert str(caught.value) == (
        f"{targets or place} has no column in_phase, the target of model.output analytic; "
        "set model.output in params.yaml to quadrature, or write the column"
    )
    for components in ({}, {"components": ("target",)}):
        split = open_split(place, device, 0, targets=targets, **components)
        assert split.get(1).target.tolist() == [[-4.0] * 3, [-5.0] * 3]


def test_a_later_shard_without_in_phase_is_told_when_it_is_reached(tmp_path):
    write_split(tmp_path, [4, 4], in_phase=1)
    columns = Split(tmp_path).read(1, ("input", "target", "phase", "frequency", "amplitude"))
    with writing(shard_path(tmp_path, 1), 1, 2) as file:
        file.write(columns)
    split = open_split(tmp_path, torch.device("cpu"), 0, components=COMPONENTS)
    split.get(0)
    with pytest.raises(DataError, match=r"part-00001.parquet has the columns .*, amplitude, not .*in_phase"):
        split.get(1)


@pytest.mark.parametrize("memory", [0, 100, 250, 10**6])
def test_held_in_memory_or_read_again_the_order_is_the_same(tmp_path, memory):
    """250 bytes hold two of the five shards of 96 bytes."""
    expected = write_split(tmp_path, [4, 4, 4, 4, 3])
    split = open_split(tmp_path, torch.device("cpu"), memory)
    for epoch in range(3):
        arguments = (1, epoch, 3, 7)
        streamed, in_memory = (list(epoch_batches(shards, *arguments)) for shards in (split, expected))
        assert [batch.target.tolist() for batch in streamed] == [batch.target.tolist() for batch in in_memory]
        assert [batch.input.tolist() for batch in streamed] == [batch.input.tolist() for batch in in_memory]


@pytest.mark.parametrize(
    ("components", "memory", "read_again"),
    [
        *((COMPONENTS[1:], *limit) for limit in ((0, 5), (95, 5), (96, 4), (250, 3), (10**6, 0))),
        *((COMPONENTS, *limit) for limit in ((0, 5), (143, 5), (144, 4), (431, 3), (432, 2), (10**6, 0))),
    ],
)
def test_what_the_allowance_holds_is_read_once(tmp_path, components, memory, read_again):
    """A shard has 96 bytes, with two components 144."""
    write_split(tmp_path, [4, 4, 4, 4, 4], in_phase=1)
    split = open_split(tmp_path, torch.device("cpu"), memory, components=components)
    first = [split.get(shard) for shard in range(5)]
    assert sum(split.get(shard) is not batch for shard, batch in enumerate(first)) == read_again


def test_a_damaged_shard_is_told_when_it_is_reached(tmp_path):
    write_split(tmp_path, [4, 4, 4])
    damaged = shard_path(tmp_path, 1)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    split = open_split(tmp_path, torch.device("cpu"), memory=0)
    with pytest.raises(DataError, match="part-00001"):
        list(epoch_batches(split, 0, 0, 4, 4))


@pytest.mark.parametrize(("sizes", "count"), [((5,), 3), ((100, 100, 40), 24), ((10,) * 50, 64), ((3, 3, 1), 1000)])
def test_windows_from_all_over_a_split_are_in_order_and_without_repetition(sizes, count):
    starts = np.cumsum((0, *sizes))
    numbers = [torch.arange(start, stop, dtype=torch.float32) for start, stop in itertools.pairwise(starts.tolist())]
    split = SplitReader.of([Batch(each.view(-1, 1, 1), each.view(-1, 1)) for each in numbers])
    chosen = spread(split, count)
    rows = chosen.input.flatten().tolist()
    assert chosen.target.flatten().tolist() == rows == sorted(set(rows))
    assert rows[0] == 0.0
    assert rows[-1] == starts[-1] - 1.0
    assert len(rows) <= count + min(len(sizes), SPREAD_SHARDS)
    assert len(rows) >= min(count, starts[-1]) // 2
    assert np.diff(rows).max() <= 2.5 * starts[-1] / min(len(rows), SPREAD_SHARDS)
