"""The order in which training sees its windows: a pure function of (seed, epoch, shuffle_windows).

An epoch runs through every window once. The shards are permuted and laid end to end; that sequence is cut
into blocks of `shuffle_windows`; each block is permuted; batches are cut from what comes out. With two shards
of three windows, a0 a1 a2 and b0 b1 b2, and shuffle_windows = 4, an epoch may read

    shards permuted     b0 b1 b2 a0 a1 a2
    blocks permuted     b2 a0 b1 b0 | a2 a1
    batches of three    b2 a0 b1 | b0 a2 a1

so a block is all that need be held at once, and shuffle_windows at least the split's size permutes it whole.
Everything stays on the device that the shards are on.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from quadrature.windows import read_split


class Batch(NamedTuple):
    """Some windows: input (count, window_length, 1) and target (count, window_length)."""

    input: Tensor
    target: Tensor


def load_split(folder: Path, device: torch.device, window_length: int | None = None) -> list[Batch]:
    """Returns a split's shards, held in the device's memory. Raises DataError as read_split does."""
    return [
        Batch(
            torch.tensor(columns["input"], device=device).unsqueeze(-1), torch.tensor(columns["target"], device=device)
        )
        for columns in read_split(folder, ("input", "target"), window_length)
    ]


def epoch_batches(
    shards: Sequence[Batch], seed: int, epoch: int, batch_size: int, shuffle_windows: int
) -> Iterator[Batch]:
    """Yields every window once, in an epoch's order, batch_size at a time; the last batch holds what is left."""
    order = _permutation(len(shards), seed, epoch)
    blocks = _cut((shards[shard] for shard in order), shuffle_windows)
    return _cut((_permuted(block, seed, epoch, number) for number, block in enumerate(blocks)), batch_size)


def in_order(shards: Sequence[Batch], batch_size: int) -> Iterator[Batch]:
    """Yields every window once, as written, batch_size at a time."""
    return _cut(iter(shards), batch_size)


def _cut(pieces: Iterator[Batch], size: int) -> Iterator[Batch]:
    """Lays pieces end to end and cuts them anew, each of `size` windows but the last; copies only across a seam."""
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
    return Batch(block.input[order], block.target[order])


def _permutation(count: int, seed: int, *key: int) -> np.ndarray:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)).permutation(count)
