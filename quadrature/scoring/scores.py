"""Errors of estimates: against the truth, and against the best possible estimates. Sums are float64. numpy only."""

import math

import numpy as np
from numpy.typing import NDArray


class Score:
    """The errors of an estimate, accumulated over parts of a split."""

    def __init__(self) -> None:
        self.windows = 0
        self.max_abs_error = 0.0
        self._samples = 0
        self._squares = 0.0

    def add(self, estimate: NDArray[np.floating], target: NDArray[np.floating]) -> None:
        """Adds the errors of some windows; both arrays are (count, window_length)."""
        error = estimate.astype(np.float64) - target
        self.windows += len(error)
        self.max_abs_error = max(self.max_abs_error, float(np.abs(error).max()))
        self._samples += error.size
        self._squares += float(np.square(error).sum())

    @property
    def mse(self) -> float:
        """The mean squared error over all samples."""
        return self._squares / self._samples

    @property
    def rmse(self) -> float:
        """The square root of mse, in the unit of the signal."""
        return math.sqrt(self.mse)


class Excess:
    """The mean squared error of an estimate relative to that of the best estimate, accumulated over parts of a split.

    Only windows with a best estimate count. The two errors are paired by window, because a window that is hard for one
    estimate is hard for the other.
    """

    def __init__(self) -> None:
        # Mean squared errors of each window, (2, windows): of the estimate, of the best estimate.
        self._errors: list[NDArray[np.float64]] = [np.empty((2, 0))]

    def add(self, estimate: NDArray[np.floating], best: NDArray[np.floating], target: NDArray[np.floating]) -> None:
        """Adds some windows; arrays are (count, window_length), best is NaN for a window without a best estimate."""
        known = ~np.isnan(best).any(axis=1)
        pair = np.stack([estimate[known], best[known]]).astype(np.float64)
        self._errors.append(np.square(pair - target[known]).mean(axis=2))

    def figures(self) -> dict[str, float | int | None]:
        """Returns floor_mse, floor_windows, excess and excess_standard_error; None if no window has a best estimate.

        excess is the ratio of the two mean squared errors, minus 1. Its standard error is the first-order standard
        error of a ratio of means (Cochran, Sampling Techniques, 3rd edition, section 2.11). A single window has none.
        """
        errors, floor = np.concatenate(self._errors, axis=1)
        if len(floor) == 0:
            return {"floor_mse": None, "floor_windows": 0, "excess": None, "excess_standard_error": None}
        ratio = errors.mean() / floor.mean()
        standard_error = None
        if len(floor) > 1:
            standard_error = float(np.std(errors - ratio * floor, ddof=1) / math.sqrt(len(floor)) / floor.mean())
        return {
            "floor_mse": float(floor.mean()),
            "floor_windows": len(floor),
            "excess": float(ratio - 1.0),
            "excess_standard_error": standard_error,
        }
