"""Missing samples: NaN in a signal or in windows, filled by linear interpolation if the gap is short.

A gap is a run of missing samples. It is filled if it has at most LONGEST_GAP of them, with a sample on either side.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

LONGEST_GAP = 2
"""Samples. Near such a gap the default model's error is 1.5 times that without one; near three missing samples it is
4.5 times, near four 12 times: docs/predict.md."""


def are_full(windows: Array) -> NDArray[np.bool_]:
    """Returns which windows, (count, length), hold no missing sample."""
    return np.asarray(~np.isnan(windows).any(axis=1))


def fill(samples: Array, longest: int = LONGEST_GAP) -> Array:
    """Returns a signal, (count,), or windows, (count, length), with the short gaps of each filled."""
    if not np.isnan(samples).any():
        return samples
    if samples.ndim == 2:  # one signal of all windows, too far apart for a gap between them to be short
        apart = np.pad(samples, ((0, 0), (0, longest + 1)), constant_values=np.nan)
        filled: Array = fill(apart.ravel(), longest).reshape(apart.shape)[:, : samples.shape[1]]
        return filled
    known = np.flatnonzero(~np.isnan(samples))
    ends = np.diff(known)  # 1 where no sample is missing
    gaps = np.flatnonzero((ends > 1) & (ends <= longest + 1))
    result = samples.copy()
    for gap in range(1, longest + 1):  # the position in a gap
        inside = gaps[ends[gaps] > gap]
        left, right = known[inside], known[inside + 1]
        share = gap / (right - left)
        result[left + gap] = (1.0 - share) * samples[left].astype(np.float64) + share * samples[right]
    return result


class Filler:
    """Fills the short gaps of a signal that comes in parts. What it returns is LONGEST_GAP samples late."""

    def __init__(self) -> None:
        self._recent = np.full(LONGEST_GAP, np.nan, np.float32)  # as many as were returned last, then those that wait

    def push(self, samples: Array | None) -> Array:
        """Takes the next samples, (count,), and returns those that no later sample can fill. None ends the signal."""
        after = np.full(LONGEST_GAP, np.nan, np.float32) if samples is None else samples
        whole = np.concatenate([self._recent, after])
        self._recent = whole[max(0, len(whole) - 2 * LONGEST_GAP) :]
        return fill(whole)[LONGEST_GAP : max(LONGEST_GAP, len(whole) - LONGEST_GAP)]
