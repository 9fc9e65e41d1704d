"""Which test windows were there in training: near-duplicates by the largest difference over the window."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

TOLERANCE = 1e-6
"""Inputs that differ by no more than this at any instant are the same input."""

SLICE = 2**22
"""Samples of the test split that are held to be searched for, 16 MB; one shard at least."""


def slices(shards: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.floating]]:
    """Yields windows a few shards at a time, as many as make up SLICE samples; all are (count, window_length)."""
    held: list[NDArray[np.floating]] = []
    for windows in shards:
        if held and sum(part.size for part in held) + windows.size > SLICE:
            yield np.concatenate(held)
            held = []
        held.append(windows)
    if held:
        yield np.concatenate(held)


class SeenWindows:
    """Which of some windows are there in training; holds those that have not been found yet."""

    def __init__(self, windows: NDArray[np.floating], threads: int = 1) -> None:
        self.count = 0
        """How many windows have been found in training."""
        self._unseen = windows
        self._threads = threads

    def look_in(self, train: NDArray[np.floating]) -> None:
        """Finds the windows that lie within TOLERANCE of a training input; train is (count, window_length)."""
        distance, _ = KDTree(train).query(self._unseen, p=np.inf, distance_upper_bound=TOLERANCE, workers=self._threads)
        found = np.isfinite(distance)
        self.count += int(np.count_nonzero(found))
        if found.any():
            self._unseen = self._unseen[~found]
