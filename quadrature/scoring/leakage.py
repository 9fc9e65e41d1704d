"""The test windows that are also in the training split: near-duplicates by the largest difference over the window."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from quadrature.storage.arrow import Columns

TOLERANCE = 1e-6
"""Two inputs are the same if they differ by no more than this at any instant."""

SLICE = 2**22
"""Samples in a slice of the test split, at most: 16 MB of inputs. A slice holds at least one shard."""


def slices(shards: Iterable[Columns]) -> Iterator[list[Columns]]:
    """Yields consecutive shards in lists whose inputs have SLICE samples at most, or a single shard."""
    held: list[Columns] = []
    for shard in shards:
        if held and sum(each["input"].size for each in held) + shard["input"].size > SLICE:
            yield held
            held = []
        held.append(shard)
    if held:
        yield held


class SeenWindows:
    """Counts the windows that are in the training split; holds those not found so far."""

    def __init__(self, inputs: Sequence[NDArray[np.floating]], threads: int = 1) -> None:
        """Takes the windows in parts, each (count, window_length)."""
        self.count = 0
        """The number of windows found in training."""
        self._unseen = list(inputs)
        self._threads = threads

    def look_in(self, train: NDArray[np.floating]) -> None:
        """Finds the windows within TOLERANCE of a training input; train is (count, window_length)."""
        tree = KDTree(train)
        for part, windows in enumerate(self._unseen):
            distance, _ = tree.query(windows, p=np.inf, distance_upper_bound=TOLERANCE, workers=self._threads)
            found = np.isfinite(distance)
            if found.any():
                self.count += int(np.count_nonzero(found))
                self._unseen[part] = windows[~found]
