"""The test windows that are also in the training split: near-duplicates by the largest difference over the window."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from quadrature.storage.arrow import Columns

TOLERANCE = 1e-6
"""Two inputs are the same if they differ by no more than this at any instant, in units of the signal's scale."""

SLICE = 2**24
"""Bytes of a slice of the test split, at most. A slice holds at least one shard."""


def slices(shards: Iterable[Columns]) -> Iterator[list[Columns]]:
    """Yields consecutive shards in lists of SLICE bytes at most, or a single shard."""
    held: list[Columns] = []
    size = 0
    for shard in shards:
        shard_size = sum(column.nbytes for column in shard.values())
        if held and size + shard_size > SLICE:
            yield held
            held, size = [], 0
        held.append(shard)
        size += shard_size
    if held:
        yield held


class SeenWindows:
    """Counts the windows that are in the training split; holds those not found so far."""

    def __init__(self, inputs: Sequence[NDArray[np.floating]], threads: int = 1, scale: float = 1.0) -> None:
        """Takes the windows in parts, each (count, window_length), and the size of the signal in its own unit."""
        self.count = 0
        """The number of windows found in training."""
        self._unseen = list(inputs)
        self._threads = threads
        self._tolerance = TOLERANCE * scale

    def look_in(self, train: NDArray[np.floating]) -> None:
        """Finds the windows within the tolerance of a training input; train is (count, window_length)."""
        tree = KDTree(train)
        for part, windows in enumerate(self._unseen):
            distance, _ = tree.query(windows, p=np.inf, distance_upper_bound=self._tolerance, workers=self._threads)
            found = np.isfinite(distance)
            if found.any():
                self.count += int(np.count_nonzero(found))
                self._unseen[part] = windows[~found]
