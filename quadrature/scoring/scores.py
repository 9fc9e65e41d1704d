"""Errors of estimates: against the truth, and against the best possible estimates. Sums are float64. numpy only."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quadrature.scoring.analytic import AnalyticScore
from quadrature.storage.arrow import Columns, stack

BASELINES = ("zero", "hilbert", "least_squares")


class Score:
    """The errors of an estimate, accumulated over parts of a split."""

    def __init__(self) -> None:
        self.windows = 0
        self.max_abs_error = 0.0
        self._samples = 0
        self._squares = 0.0
        self._squared_means = 0.0  # of each window's mean square

    def add(self, estimate: NDArray[np.floating], target: NDArray[np.floating]) -> None:
        """Adds the errors of some windows; both arrays are (count, window_length)."""
        error = estimate.astype(np.float64) - target
        self.windows += len(error)
        self.max_abs_error = max(self.max_abs_error, float(np.abs(error).max()))
        self._samples += error.size
        squares = np.square(error)
        self._squares += float(squares.sum())
        self._squared_means += float(np.square(squares.mean(axis=1)).sum())

    @property
    def mse(self) -> float:
        """The mean squared error over all samples."""
        return self._squares / self._samples

    @property
    def mse_standard_error(self) -> float | None:
        """The standard error of mse, from the scatter of the windows' mean squares; None for a single window."""
        if self.windows < 2:
            return None
        variance = self._squared_means / self.windows - self.mse**2
        return math.sqrt(max(variance, 0.0) / (self.windows - 1))

    @property
    def rmse(self) -> float:
        """The square root of mse, in the unit of the signal."""
        return math.sqrt(self.mse)


class Excess:
    """How much the error of an estimate f exceeds that of the best estimate m, accumulated over parts of a split.

    For the posterior mean m of the target y,

        E[(f - y)^2] = E[(m - y)^2] + E[(f - m)^2] + 2 E[(f - m) (m - y)]

    and the last term is zero: the error of the best estimate is orthogonal to any function of the window. Leaving it
    out takes most of the chance out of the excess. What the term is on the windows shows whether m is their best
    estimate. Only windows with a best estimate count.
    """

    def __init__(self) -> None:
        # Means over each window, (3, windows): of (m - y)^2, (f - m)^2 and (f - m) (m - y).
        self._means: list[NDArray[np.float64]] = [np.empty((3, 0))]

    def add(self, estimate: NDArray[np.floating], best: NDArray[np.floating], target: NDArray[np.floating]) -> None:
        """Adds some windows; arrays are (count, window_length), best is NaN for a window without a best estimate."""
        known = ~np.isnan(best).any(axis=1)
        m = best[known].astype(np.float64)
        distance, error = estimate[known] - m, m - target[known]
        self._means.append(np.stack([error * error, distance * distance, distance * error]).mean(axis=2))

    def figures(self) -> dict[str, float | int | None]:
        """Returns the floor, the excess over it, and how well they agree; None for a figure that is not defined.

        floor_mse is the mean of (m - y)^2, and excess that of (f - m)^2 relative to it. Its standard error is the
        first-order standard error of a ratio of means (Cochran, Sampling Techniques, 3rd edition, section 2.11).
        floor_z_score is the mean of (f - m) (m - y) in its standard errors.
        """
        floor, distance, product = np.concatenate(self._means, axis=1)
        count = len(floor)
        figures: dict[str, float | int | None] = {
            "floor_mse": float(floor.mean()) if count else None,
            "floor_standard_error": _standard_error(floor) if count > 1 else None,
            "floor_windows": count,
            "excess": float(distance.mean() / floor.mean()) if count else None,
            "excess_standard_error": None,
            "floor_z_score": None,
        }
        if count > 1:
            residual = distance - distance.mean() / floor.mean() * floor
            figures["excess_standard_error"] = _standard_error(residual) / float(floor.mean())
            if scatter := _standard_error(product):
                figures["floor_z_score"] = float(product.mean()) / scatter
        return figures


def _standard_error(values: NDArray[np.float64]) -> float:
    """Returns the standard error of a mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


class Scores:
    """All scores of a test split, by the name of the estimate."""

    def __init__(self, components: Sequence[str], scale: float) -> None:
        """Takes the columns of the true components: the in-phase component may not be known."""
        self._components = components
        self.excess = Excess()
        self.quadrature = {name: Score() for name in ("prediction", *BASELINES)}
        self.analytic = {name: AnalyticScore(scale) for name in ("prediction", "posterior_mean", *BASELINES)}

    def add(self, estimates: Columns, shard: Columns) -> None:
        """Adds the estimates of a shard, each (count, 2, window_length)."""
        target = shard["target"]
        for name, score in self.quadrature.items():
            score.add(estimates[name][:, -1], target)
        self.excess.add(estimates["prediction"][:, -1], estimates["posterior_mean"][:, -1], target)
        if len(self._components) > 1:
            for name, analytic in self.analytic.items():
                analytic.add(estimates[name], stack(shard, self._components))

    def withdraw_floor(self) -> None:
        """Forgets the scores of the posterior mean."""
        self.excess, self.analytic["posterior_mean"] = Excess(), AnalyticScore()

    def baselines(self) -> dict[str, dict[str, float | None]]:
        """Returns the figures of the analytic signal by figure, and then by baseline."""
        figures = {name: self.analytic[name].figures() for name in BASELINES}
        return {
            f"baselines_{figure}": {name: figures[name][figure] for name in BASELINES} for figure in figures["zero"]
        }
