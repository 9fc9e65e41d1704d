"""How far estimates are from the truth, and from the best there can be; added up in float64. numpy only."""

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


class Excess:
    """By how much estimates miss the best ones, over the windows that have one; the rest are left out of both.

    What makes a window hard makes it hard for both, so they are compared window by window.
    """

    def __init__(self) -> None:
        self._errors: list[NDArray[np.float64]] = []  # (2, windows), mean squared: the estimates', the best ones'

    def add(self, estimate: NDArray[np.floating], best: NDArray[np.floating], target: NDArray[np.floating]) -> None:
        """Counts in some windows; all are (count, window_length), and best is not a number where there is none."""
        known = ~np.isnan(best).any(axis=1)
        pair = np.stack([estimate[known], best[known]]).astype(np.float64)
        self._errors.append(np.square(pair - target[known]).mean(axis=2))

    def figures(self) -> dict[str, float | int | None]:
        """Returns floor_mse, floor_windows, excess and excess_standard_error; null where no window has a best estimate.

        excess is the ratio of the two means of squared errors, less one; its standard error is that of a ratio of
        means, to first order (Cochran, Sampling Techniques, 3rd edition, section 2.11).
        """
        errors, floor = np.concatenate(self._errors, axis=1)
        if len(floor) == 0:
            return {"floor_mse": None, "floor_windows": 0, "excess": None, "excess_standard_error": None}
        ratio = errors.mean() / floor.mean()
        standard_error = None  # of a single window, nothing is known of how windows scatter
        if len(floor) > 1:
            standard_error = float(np.std(errors - ratio * floor, ddof=1) / math.sqrt(len(floor)) / floor.mean())
        return {
            "floor_mse": float(floor.mean()),
            "floor_windows": len(floor),
            "excess": float(ratio - 1.0),
            "excess_standard_error": standard_error,
        }

    def in_words(self) -> str:
        """Returns the excess in per cent, for a person to read."""
        match self.figures():
            case {"excess": float(ratio), "excess_standard_error": float(error)}:
                return f"{ratio:.1%} ± {error:.1%} above the floor"
            case {"excess": float(ratio)}:
                return f"{ratio:.1%} above the floor"
            case _:
                return "which have no floor"
