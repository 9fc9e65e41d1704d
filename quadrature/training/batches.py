"""The order in which training sees its windows: a pure function of (seed, epoch, shuffle_windows).

An epoch visits every window once. The shards are permuted and joined; the sequence is cut into blocks of
`shuffle_windows`; each block is permuted; the result is cut into batches. With two shards of three windows, a0 a1 a2
and b0 b1 b2, and shuffle_windows = 4, an epoch may read

    shards permuted     b0 b1 b2 a0 a1 a2
    blocks permuted     b2 a0 b1 b0 | a2 a1
    batches of three    b2 a0 b1 | b0 a2 a1

So only one block has to be in memory, and with shuffle_windows at least the split's size the whole split is permuted. A
thread reads and permutes the next block while the current one is used. Shards stay in memory up to a limit and are read
again in each epoch beyond it; the order does not depend on the limit.

Windows and targets are divided by the signal's scale when a shard is read, so that loss, gradient and clipping do not
depend on the signal's unit. What people see is in that unit again: quadrature/training/loop.py multiplies the errors,
quadrature/training/snapshots.py the estimates.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from quadrature.network.device import compute_alone
from quadrature.network.model_file import LEAST, MOST
from quadrature.runtime.errors import REMAKE, DataError
from quadrature.runtime.threads import prefetch
from quadrature.storage.arrow import stack
from quadrature.storage.places import Place
from quadrature.storage.windows import TARGET_COLUMNS, Split

SPREAD_SHARDS = 16
"""Shards that `spread` reads, at most."""


class Batch(NamedTuple):
    """Windows, in units of their split's scale: input (count, window_length, 1), and target.

    The target has the shape of the network's estimate: (count, window_length), or (count, 2, window_length).
    """

    input: Tensor
    target: Tensor


class SplitReader(NamedTuple):
    """A split: samples per window, windows per shard, a function that returns a shard, and the signal's scale."""

    window_length: int
    sizes: Sequence[int]
    get: Callable[[int], Batch]
    scale: float = 1.0  # the number in the signal's unit that is 1 in the batches

    @property
    def window_count(self) -> int:
        """Windows in the split."""
        return sum(self.sizes)

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> "SplitReader":
        """Returns a split of batches in memory, each a shard."""
        return cls(batches[0].input.shape[1], [len(batch.input) for batch in batches], batches.__getitem__)


def open_split(
    folder: Place,
    device: torch.device,
    memory: int,
    window_length: int | None = None,
    targets: Place | None = None,
    scale: float = 1.0,
    components: Sequence[str] = ("target",),
) -> SplitReader:
    """Opens a split, holding up to `memory` bytes of it on the device; other shards are read each time they are needed.

    Windows and targets are divided by `scale`. `components` are the columns of the targets: one, or two that become one
    array. They are those in the folder `targets` if given, a row for each window. Raises DataError as windows.Split
    does: at once for the shards that are held, for the others when they are read.
    """
    split = Split(folder, window_length)
    aims = Split(targets, split.window_length, TARGET_COLUMNS) if targets is not None else split
    if aims.sizes != split.sizes:
        counts = f"{sum(aims.sizes):,} windows, not of the {sum(split.sizes):,}"
        raise DataError(f"{targets} holds targets of {counts} in {folder}; {REMAKE}")
    _check_components(folder if targets is None else targets, aims, components)
    held: list[Batch] = []

    def get(shard: int) -> Batch:
        return held[shard] if shard < len(held) else read(shard)

    def read(shard: int) -> Batch:
        columns = split.read(shard, ("input", *components) if aims is split else ("input",))
        if aims is not split:
            columns |= aims.read(shard, components)
        target = columns[components[0]] if len(components) == 1 else stack(columns, components)
        inputs, targets = (torch.tensor(array).div_(scale).to(device) for array in (columns["input"], target))
        return Batch(inputs.unsqueeze(-1), targets)

    window_bytes = 4 * (1 + len(components)) * split.window_length  # input and targets, float32
    for shard, last in enumerate(np.cumsum(split.sizes)):
        if last * window_bytes > memory:
            break
        held.append(read(shard))
    return SplitReader(split.window_length, split.sizes, get, scale)


def _check_components(folder: Place, split: Split, components: Sequence[str]) -> None:
    """Raises DataError if a split lacks the in-phase component, as windows of one's own may."""
    if "in_phase" in components and "in_phase" not in split.columns:
        raise DataError(
            f"{folder} has no column in_phase, the target of model.output analytic; "
            "set model.output in params.yaml to quadrature, or write the column"
        )


def epoch_batches(
    split: SplitReader, seed: int, epoch: int, batch_size: int, shuffle_windows: int, done: int = 0
) -> Iterator[Batch]:
    """Yields every window once, in an epoch's order, batch_size at a time; the last batch may be smaller.

    Skips the first `done` batches, without reading shards that only they need.
    """
    order = _permutation(len(split.sizes), seed, epoch).tolist()
    first_block, rest = divmod(done * batch_size, shuffle_windows)
    missed = first_block * shuffle_windows  # windows before that block
    while order and missed >= split.sizes[order[0]]:
        missed -= split.sizes[order.pop(0)]
    blocks = _cut(_without_first(missed, map(split.get, order)), shuffle_windows)
    permuted = (_permuted(block, seed, epoch, number) for number, block in enumerate(blocks, first_block))
    return _cut(prefetch(_without_first(rest, permuted), compute_alone), batch_size)


def in_order(split: SplitReader, batch_size: int) -> Iterator[Batch]:
    """Yields every window once, as written, batch_size at a time."""
    return _cut(map(split.get, range(len(split.sizes))), batch_size)


def measure_amplitude(targets: Place) -> float:
    """Returns the amplitude of a sine that has the training targets' mean square, to four digits.

    Raises DataError for one by which float32 cannot be divided.
    """
    split, squares, samples = Split(targets, leading=TARGET_COLUMNS), 0.0, 0
    for shard in range(len(split.sizes)):
        target = split.read(shard, TARGET_COLUMNS)["target"].astype(np.float64)
        squares, samples = squares + float(np.square(target).sum()), samples + target.size
    amplitude = float(f"{math.sqrt(2.0 * squares / samples):.4g}")
    if amplitude and not LEAST <= amplitude <= MOST:
        raise DataError(f"{targets} has the amplitude {amplitude:g}; scale your windows to {LEAST:.2g} to {MOST:.2g}")
    return amplitude


def spread(split: SplitReader, count: int) -> Batch:
    """Returns about `count` windows from all over a split, at most, in its order: it may be sorted by anything."""
    shards = np.unique(np.linspace(0, len(split.sizes) - 1, SPREAD_SHARDS).astype(int))
    share, parts = -(-count // len(shards)), []
    for shard in shards.tolist():
        batch = split.get(shard)
        rows = torch.from_numpy(np.unique(np.linspace(0, len(batch.input) - 1, share).astype(int)))
        parts.append(Batch(*(tensor.index_select(0, rows.to(tensor.device)) for tensor in batch)))
    return _joined(parts)


def _without_first(count: int, pieces: Iterator[Batch]) -> Iterator[Batch]:
    """Drops the first `count` windows, all of the first piece."""
    for piece in pieces:
        yield _slice(piece, count, len(piece.input)) if count else piece
        count = 0


def _cut(pieces: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Joins pieces and cuts the sequence into batches of `size`, the last maybe smaller; copies only across a seam."""
    rest: list[Batch] = []
    for piece in pieces:
        start = 0
        missing = size - sum(len(part.input) for part in rest)
        while start + missing <= len(piece.input):
            yield _joined([*rest, _slice(piece, start, start + missing)])
            rest, start, missing = [], start + missing, size
        if start < len(piece.input):
            rest.append(_slice(piece, start, len(piece.input)))
    if rest:
        yield _joined(rest)


def _slice(batch: Batch, start: int, stop: int) -> Batch:
    return Batch(batch.input[start:stop], batch.target[start:stop])


def _joined(parts: Sequence[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return Batch(torch.cat([part.input for part in parts]), torch.cat([part.target for part in parts]))


def _permuted(block: Batch, *key: int) -> Batch:
    order = torch.from_numpy(_permutation(len(block.input), *key)).to(block.input.device)
    return Batch(block.input.index_select(0, order), block.target.index_select(0, order))


def _permutation(count: int, seed: int, *key: int) -> np.ndarray:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)).permutation(count)
