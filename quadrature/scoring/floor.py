"""The floor: posterior means for the windows of a split, the estimates with the least expected error. numpy only.

quadrature/posterior defines and computes them. Here a pilot on a few windows decides for how many windows the floor is
affordable.
"""

import logging
import math

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.covariance import is_disturbed
from quadrature.posterior.mean import PosteriorMean, PrefixMean
from quadrature.posterior.prior import PRIOR_PHASES, Prior
from quadrature.posterior.refined import PosteriorError
from quadrature.posterior.resolution import OPERATIONS_PER_SECOND, fine_enough, rounding_mse
from quadrature.signals.params import SPLITS, GenerateParams
from quadrature.storage.arrow import Columns

BUDGET = 32 * OPERATIONS_PER_SECOND
"""Arithmetic operations for the floor of a split. It limits the number of windows."""


class Floor:
    """The posterior means of the test split that `params` describes, a shard at a time.

    They do not depend on the number of threads.
    """

    def __init__(
        self,
        params: GenerateParams,
        first: Columns,
        threads: int,
        kind: type[PosteriorMean | PrefixMean] = PosteriorMean,
    ) -> None:
        """Runs the pilot on the first shard of the split. Raises PosteriorError if it shows that there is no floor."""
        if params.source is not None:
            raise PosteriorError("the windows are those of generate.source, and nobody knows their distribution")
        if not params.noise_std and not is_disturbed(params):
            raise PosteriorError("generate.noise_std is 0, so nothing but rounding limits an estimate")
        if not params.amplitude.high:
            raise PosteriorError("generate.amplitude is 0, so every target is 0")
        prior = Prior(params, params.windows.test)
        pilot = fine_enough(prior, first["input"], first["target"], threads, kind)
        self.numerical_error = pilot.numerical_error
        """Relative change of the pilot's mean squared error when the waves' spacing is halved."""
        self.rows = _affordable(params, pilot.operations)
        """Rows of the split that have an estimate, ascending."""
        self._posterior, self._threads, self._rounding = pilot.posterior, threads, rounding_mse(prior)
        self._passed = self._samples = 0
        self._squares = 0.0
        words = (f"{self.numerical_error:.1g}", f"{len(self.rows):,}", f"{params.windows.test:,}")
        logging.info("floor: numerical error %s, for %s windows of %s", *words)

    def estimate(self, shard: Columns) -> NDArray[np.float64]:
        """Returns the estimates of the next shard of the split, (count, 2, window_length), NaN for windows without one.

        They are the in-phase component and the quadrature component. Raises PosteriorError if a posterior cannot be
        computed; then no window has a floor.
        """
        start, stop = self._passed, self._passed + len(shard["input"])
        chosen = self.rows[slice(*np.searchsorted(self.rows, (start, stop)))] - start
        mean = self._posterior.estimate(shard["input"][chosen], self._threads).mean
        assert np.isfinite(mean).all()  # noqa: S101, ours to keep
        error = mean[:, 1] - shard["target"][chosen]
        self._squares += float(np.square(error).sum())
        self._samples += error.size
        self._passed = stop
        estimates = np.full((stop - start, *mean.shape[1:]), np.nan)
        estimates[chosen] = mean
        return estimates

    def end(self) -> None:
        """Checks the errors after the last shard. Raises PosteriorError if they are not above float32's rounding."""
        if self._squares <= self._samples * self._rounding:
            raise PosteriorError("for all the noise, the prior leaves nothing but float32's rounding to estimate")


class OptionalFloor:
    """The floor of a test split, a shard at a time, or the reason why the split has none."""

    def __init__(
        self, params: GenerateParams, threads: int, kind: type[PosteriorMean | PrefixMean] = PosteriorMean
    ) -> None:
        self._params, self._threads, self._kind = params, threads, kind
        self._floor: Floor | None = None
        self._has_estimated = False
        self.missing: str | None = None
        """Why no window has a floor; None as long as there is one."""

    @property
    def numerical_error(self) -> float | None:
        """The relative numerical error of the floor; None if there is none."""
        return self._floor.numerical_error if self._floor else None

    @property
    def is_withdrawn(self) -> bool:
        """Whether estimates were returned before the floor turned out to be missing; they are void."""
        return self.missing is not None and self._has_estimated

    def estimate(self, shard: Columns) -> NDArray[np.float64]:
        """Returns the estimates of the next shard as Floor.estimate does; all are NaN once the floor is missing."""
        if self.missing is None:
            try:
                self._floor = self._floor or Floor(self._params, shard, self._threads, self._kind)
                estimates = self._floor.estimate(shard)
            except PosteriorError as reason:
                self._withdraw(reason)
            else:
                self._has_estimated = True
                return estimates
        count, window_length = shard["input"].shape
        return np.full((count, 2, window_length), np.nan)

    def end(self) -> None:
        """Checks the errors after the last shard, as Floor.end does."""
        if self._floor:
            try:
                self._floor.end()
            except PosteriorError as reason:
                self._withdraw(reason)

    def _withdraw(self, reason: PosteriorError) -> None:
        logging.warning("no floor, so floor_mse and excess are null: %s", reason)
        self.missing, self._floor = str(reason), None


def _affordable(params: GenerateParams, operations: float) -> NDArray[np.intp]:
    """Returns the rows of the test split that have a floor: as many as BUDGET allows at `operations` per window."""
    rows = np.arange(min(params.windows.test, PRIOR_PHASES))
    count = 2 ** int(math.log2(max(1.0, BUDGET / operations)))  # a power of 2: a few operations more change nothing
    if count >= len(rows):
        return rows
    # At random, because consecutive windows may be alike. The seed makes the rows a function of the parameters.
    random = np.random.default_rng(np.random.SeedSequence(params.seed, spawn_key=(len(SPLITS),)))
    return np.sort(random.permutation(len(rows))[:count])
