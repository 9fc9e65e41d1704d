"""How far estimates are from the truth, added up in float64 over as many windows as there are. numpy only."""

import math

import numpy as np
from numpy.typing import NDArray


class Score:
    """The errors of estimates seen so far."""

    def __init__(self) -> None:
        self.windows = 0
        self.max_abs_error = 0.0
        self._samples = 0
        self._squares = 0.0

    def add(self, estimate: NDArray[np.floating], target: NDArray[np.floating]) -> None:
        """Counts in some windows; both are (count, window_length)."""
        error = estimate.astype(np.float64) - target
        self.windows += len(error)
        self.max_abs_error = max(self.max_abs_error, float(np.abs(error).max()))
        self._samples += error.size
        self._squares += float(np.square(error).sum())

    @property
    def mse(self) -> float:
        """The mean over all samples of the squared error."""
        return self._squares / self._samples

    @property
    def rmse(self) -> float:
        """The square root of mse, in the signal's own unit."""
        return math.sqrt(self.mse)
