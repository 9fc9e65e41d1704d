"""Whether a signal is like the windows that the network was trained on.

A network gives no sign of doubt: on a wave that it has never seen, its estimates are as smooth as ever, and wrong.
Windows are compared by the features of quadrature/network/ranges.py. Of windows like those in training, 0.2 % are
outside the range of a feature.
"""

import numpy as np
from numpy.typing import NDArray

from quadrature.network.ranges import Range, Ranges, features

SHARE = 0.05
"""The share of windows outside a range from which on a signal is unlike training.

Measured on the default: an offset of 0.1 takes the phase error from 4.0 to 7.1 degrees and 10 % of the windows outside
the range of offsets; noise of 0.15 instead of 0.1 to 6.1 degrees and 11 %; an amplitude of 0.8 instead of 1 to 11
degrees and 21 %; frequencies of 0.25 to 0.5 instead of 0.5 to 2 to 12 degrees and 17 %, of the amplitude.
"""

LEAST = 2
"""Windows outside a range, at least, before a word is said, unless there is only one: some are there by chance."""

SLACK = 0.01
"""A feature may be beyond its range by this share of the largest amplitude, or frequency, in training.

Without noise a range may be as narrow as rounding, and a difference of 1 % takes the phase off by less than a degree.
"""

HARMLESS = ("noise",)
"""Features that do no harm where they are below their range."""


class Likeness:
    """Counts the windows that are unlike those in training."""

    def __init__(self, ranges: Ranges | None) -> None:
        """Takes the ranges in training; None, from an older model file, compares nothing."""
        self._ranges = {} if ranges is None else _widened(ranges)
        self._count = 0
        self._outside = dict.fromkeys(self._ranges, 0)
        self._sums = dict.fromkeys(self._ranges, 0.0)  # of the features of the windows outside

    def add(self, windows: NDArray[np.floating], signal: NDArray[np.floating]) -> None:
        """Adds windows, (count, window_length), and the analytic signal that the network estimates for them."""
        self._count += len(windows)
        if not self._ranges or not len(windows):
            return
        for name, values in features(windows, signal).items():
            low, high = self._ranges[name]
            outside = values[(values > high) | ((values < low) & (name not in HARMLESS))]
            self._outside[name] += len(outside)
            self._sums[name] += float(outside.sum())

    def describe(self) -> str | None:
        """Returns a sentence if the windows are unlike those in training, the worst feature first."""
        counts = sorted(self._outside.items(), key=lambda item: -item[1])
        parts = [
            f"{name} of {self._sums[name] / count:.3g} on average in {count / self._count:.0%} of the windows"
            f" ({'up to' if name in HARMLESS else f'{self._ranges[name].low:.3g} to'} {self._ranges[name].high:.3g})"
            for name, count in counts
            if count >= max(min(LEAST, self._count), SHARE * self._count, 1)
        ]
        if not parts:
            return None
        return (
            f"the signal is unlike that in training, so estimates may be wrong: {'; '.join(parts)}. In brackets is the "
            "range in training; frequency is in radians a sample. Scale, filter or resample it, or train on its like"
        )


def _widened(ranges: Ranges) -> dict[str, Range]:
    """Returns the ranges by feature, with some slack."""
    widened = {}
    for name, (low, high) in ranges:
        slack = SLACK * max(map(abs, ranges.frequency if name == "frequency" else ranges.amplitude))
        widened[name] = Range(low - slack, high + slack)
    return widened
