"""A long signal as overlapping windows, and the windows' estimates as one estimate a sample. Numpy alone.

Windows begin every `hop` samples; a last one ends where the signal does, so that each sample lies in one at least.
A sample's estimate is the plain mean over the windows that hold it. Eleven samples, windows of 4, hop 2:

    samples    0 1 2 3 4 5 6 7 8 9 10
    windows    0 1 2 3
                   2 3 4 5
                       4 5 6 7
                           6 7 8 9
                             7 8 9 10    the last one, placed by the signal's end
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class ShortSignalError(Exception):
    """A signal has fewer samples than a window."""


class Overlap:
    """Holds the part of a signal that windows still to be estimated, or still to come, may reach.

    Push samples as they come, take the windows that they complete, put the windows' estimates, pop the samples whose
    estimate no later window can change. The sums are float64, added in the order of the windows, so the result does
    not depend on how the signal was cut into pushes.
    """

    def __init__(self, length: int, hop: int) -> None:
        self._length, self._hop = length, hop
        self._samples = np.empty(0, np.float32)
        self._sums = np.empty(0)
        self._counts = np.empty(0)
        self._begin = 0  # the first sample held, counted from the signal's start
        self._next = 0  # where the next window begins
        self._ended = False
        self._starts = np.empty(0, np.int64)  # of the windows that were taken

    @property
    def _end(self) -> int:
        return self._begin + len(self._samples)

    def push(self, samples: Array) -> None:
        """Appends samples, (count,), to the signal."""
        self._samples = np.concatenate([self._samples, samples])
        self._sums = np.concatenate([self._sums, np.zeros(len(samples))])
        self._counts = np.concatenate([self._counts, np.zeros(len(samples))])

    def end(self) -> None:
        """Says that no sample follows. Raises ShortSignalError if there were fewer than a window has."""
        if self._end < self._length:
            raise ShortSignalError(f"a signal of {self._end} samples; the model reads windows of {self._length}")
        self._ended = True

    def take(self, multiple: int) -> Array:
        """Returns complete windows, (count, length), as many as `multiple` divides; all of them at the signal's end."""
        starts = np.arange(self._next, self._end - self._length + 1, self._hop)
        if not self._ended:
            starts = starts[: len(starts) // multiple * multiple]
        self._next += self._hop * len(starts)
        last = self._end - self._length
        if self._ended and last > self._next - self._hop:
            starts = np.append(starts, last)
        self._starts = starts - self._begin
        windows: Array = self._samples[self._starts[:, None] + np.arange(self._length)]
        return windows

    def put(self, estimates: Array) -> None:
        """Adds the estimates, (count, length), of the windows taken last."""
        for position in reversed(range(self._length)):  # a sample's windows then come in the order of their starts
            self._sums[self._starts + position] += estimates[:, position]
            self._counts[self._starts + position] += 1

    def pop(self) -> tuple[Array, Array]:
        """Returns the samples that are done, and their estimates, both (count,)."""
        done = (
            self._end if self._ended else min(self._next, self._end - self._length)
        )  # the last window may begin there
        count = max(0, done - self._begin)
        samples, estimates = self._samples[:count], self._sums[:count] / self._counts[:count]
        self._samples, self._sums, self._counts = self._samples[count:], self._sums[count:], self._counts[count:]
        self._begin += count
        return samples, estimates.astype(np.float32)
