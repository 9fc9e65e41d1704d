"""Which test windows were there in training: near-duplicates by the largest difference over the window."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

TOLERANCE = 1e-6
"""Inputs that differ by no more than this at any instant are the same input."""


def count_seen(test: NDArray[np.floating], train: Iterable[NDArray[np.floating]]) -> int:
    """Returns how many test inputs lie within TOLERANCE of a training input.

    test is (count, window_length); train yields arrays of that width and is read once, one at a time.
    """
    unseen = test
    for inputs in train:
        distance, _ = KDTree(inputs).query(unseen, p=np.inf, distance_upper_bound=TOLERANCE)
        unseen = unseen[np.isinf(distance)]
        if len(unseen) == 0:
            break
    return len(test) - len(unseen)
