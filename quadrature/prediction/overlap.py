"""Cuts a long signal into overlapping windows, and averages the windows' estimates at each sample. Needs numpy only.

Estimates are of the analytic signal: the in-phase and the quadrature component.

Windows begin every `hop` samples. The last one ends where the signal ends, so that each sample is in a window.
A sample's estimate is the plain mean over the windows that hold it. Eleven samples, windows of 4, hop 2:

    samples    0 1 2 3 4 5 6 7 8 9 10
    windows    0 1 2 3
                   2 3 4 5
                       4 5 6 7
                           6 7 8 9
                             7 8 9 10    the last one, placed by the signal's end

`at` chooses other estimates than the mean: only those in the middle of a window, or only those at its end, which
depend on no later sample. With hop 1 each sample has one, except near the signal's ends. A window that holds a
missing sample, NaN, has no estimate: its place in the means is left out.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quadrature.prediction.gaps import are_full

Array = NDArray[np.float32]

At = Literal["mean", "middle", "end"]
"""Which of the estimates for a sample, by the windows that hold it, is its own."""


class ShortSignalError(Exception):
    """A signal has fewer samples than a window."""


class Overlap:
    """Holds the part of a signal that windows without an estimate, or later windows, may contain.

    `push` samples as they come, `take` the windows that they complete, `put` the windows' estimates, `pop` the samples
    whose estimate no later window can change. Sums are float64 and added in the order of the windows, so the result
    does not depend on the number of samples in each push.
    """

    def __init__(self, length: int, hop: int, at: At = "mean") -> None:
        self._length, self._hop = length, hop
        # Backwards, so that each sample adds its windows in order of their starts.
        self._positions = {"mean": [*range(length)][::-1], "middle": [length // 2], "end": [length - 1]}[at]
        self._samples = np.empty(0, np.float32)
        self._sums = np.empty((2, 0))
        self._counts = np.empty(0)
        self._begin = 0  # the first sample held, counted from the signal's start
        self._next = 0  # where the next window begins
        self._ended = False
        self._starts = np.empty(0, np.int64)  # of the windows taken last, from the first sample held
        self._full = np.empty(0, np.bool_)  # which of these hold no missing sample

    @property
    def _end(self) -> int:
        return self._begin + len(self._samples)

    def push(self, samples: Array) -> None:
        """Appends samples, (count,), to the signal."""
        self._samples = np.concatenate([self._samples, samples])
        self._sums = np.concatenate([self._sums, np.zeros((2, len(samples)))], axis=1)
        self._counts = np.concatenate([self._counts, np.zeros(len(samples))])

    def end(self) -> None:
        """Ends the signal. Raises ShortSignalError if it has fewer samples than a window."""
        if self._end < self._length:
            raise ShortSignalError(f"a signal of {self._end} samples; the model reads windows of {self._length}")
        self._ended = True

    def take(self, multiple: int) -> Array:
        """Returns complete windows, (count, length). `multiple` divides their count, except at the signal's end."""
        starts = np.arange(self._next, self._end - self._length + 1, self._hop)
        if not self._ended:
            starts = starts[: len(starts) // multiple * multiple]
        self._next += self._hop * len(starts)
        last = self._end - self._length
        if self._ended and last > self._next - self._hop:
            starts = np.append(starts, last)
        self._starts = starts - self._begin
        windows: Array = self._samples[self._starts[:, None] + np.arange(self._length)]
        self._full = are_full(windows)
        return windows

    def put(self, estimates: Array) -> None:
        """Adds the estimates, (count, 2, length), of the windows taken last, except those of windows with gaps."""
        starts = self._starts
        if not self._full.all():
            starts, estimates = starts[self._full], estimates[self._full]
        for position in self._positions:
            self._sums[:, starts + position] += estimates[:, :, position].T
            self._counts[starts + position] += 1

    def pop(self) -> tuple[Array, NDArray[np.bool_]]:
        """Returns the components of the finished samples, (2, count), and which samples have an estimate, (count,)."""
        # The last window may begin at _end - _length.
        done = self._end if self._ended else min(self._next, self._end - self._length)
        count = max(0, done - self._begin)
        counts = self._counts[:count]
        known = counts > 0
        estimates = np.divide(self._sums[:, :count], counts, out=np.zeros((2, count)), where=known)
        self._samples, self._sums, self._counts = self._samples[count:], self._sums[:, count:], self._counts[count:]
        self._begin += count
        return estimates.astype(np.float32), known
