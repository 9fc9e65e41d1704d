"""Which test windows were there in training: near-duplicates by the largest difference over the window."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

TOLERANCE = 1e-6
"""Inputs that differ by no more than this at any instant are the same input."""


class SeenWindows:
    """Which windows of a split are there in training; holds one byte a window, and no windows.

    read yields the split's inputs, (count, window_length) each, and is called for each part of the training split.
    """

    def __init__(self, read: Callable[[], Iterable[NDArray[np.floating]]]) -> None:
        self._read = read
        self._unseen: dict[int, NDArray[np.bool_]] = {}

    def look_in(self, train: NDArray[np.floating]) -> None:
        """Marks the windows that lie within TOLERANCE of a training input; train is (count, window_length)."""
        tree = KDTree(train)
        for shard, windows in enumerate(self._read()):
            unseen = self._unseen.setdefault(shard, np.ones(len(windows), bool))
            distance, _ = tree.query(windows[unseen], p=np.inf, distance_upper_bound=TOLERANCE)
            unseen[unseen] = np.isinf(distance)

    @property
    def count(self) -> int:
        """How many windows have been found in training."""
        return sum(int(np.count_nonzero(~unseen)) for unseen in self._unseen.values())
