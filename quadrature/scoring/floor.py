"""The floor: posterior means for the windows of a split, the estimates with the least expected error. numpy only.

quadrature/scoring/posterior.py defines and computes them. Here a pilot on a few windows decides how small the cells
must be, and for how many windows the floor is affordable.
"""

import logging
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrature.scoring.posterior import NoFloorError, PosteriorMean
from quadrature.scoring.prior import PRIOR_PHASES, Prior
from quadrature.signals.waves import SPLITS, GenerateParams
from quadrature.storage.arrow import Columns

PILOT = 128
"""Windows of the pilot; fewer if so many would take more than a hundredth of BUDGET for each size of cells."""

TOLERANCE = 0.005
"""The largest relative numerical error: the cells are halved until halving changes the pilot's mse by no more."""

SPACINGS = (1.0, 0.5, 0.25, 0.125)
"""The sizes of cells tried to reach TOLERANCE: values of `spacing` for Prior.grids."""

MAX_CELLS = 2**20
"""Cells of the coarsest grid, at most; a split that needs more has no floor."""

BUDGET = 2**36
"""Arithmetic operations for the floor of a split, about half a minute of two cores. It limits the number of windows."""


class Floor:
    """The posterior means of the test split that `params` describes, a shard at a time.

    They do not depend on the number of threads.
    """

    def __init__(self, params: GenerateParams, first: Columns, threads: int) -> None:
        """Runs the pilot on the first shard of the split. Raises NoFloorError if it shows that there is no floor."""
        if not params.noise_std:
            raise NoFloorError("generate.noise_std is 0, so nothing but rounding limits an estimate")
        if not params.amplitude.high:
            raise NoFloorError("generate.amplitude is 0, so every target is 0")
        prior = Prior(params)
        pilot, self.numerical_error = _fine_enough(prior, first, threads)
        """Relative change of the pilot's mean squared error when the cells are halved."""
        self.rows = _affordable(params, pilot.operations)
        """Rows of the split that have an estimate, ascending."""
        self._posterior, self._threads, self._rounding = pilot.posterior, threads, _rounding(prior)
        self._passed = self._samples = 0
        self._squares = 0.0
        words = (f"{self.numerical_error:.1g}", f"{len(self.rows):,}", f"{params.windows.test:,}")
        logging.info("floor: numerical error %s, for %s windows of %s", *words)

    def estimate(self, shard: Columns) -> NDArray[np.float64]:
        """Returns the estimates of the next shard of the split, (count, window_length); NaN for windows without one.

        Raises NoFloorError if a posterior cannot be computed; then no window has a floor.
        """
        start, stop = self._passed, self._passed + len(shard["input"])
        chosen = self.rows[slice(*np.searchsorted(self.rows, (start, stop)))] - start
        mean = self._posterior.estimate(shard["input"][chosen], self._threads).mean
        assert np.isfinite(mean).all()  # noqa: S101, ours to keep
        self._squares += float(np.square(mean - shard["target"][chosen]).sum())
        self._samples += mean.size
        self._passed = stop
        estimates = np.full(shard["input"].shape, np.nan)
        estimates[chosen] = mean
        return estimates

    def end(self) -> None:
        """Checks the errors after the last shard. Raises NoFloorError if they are no larger than float32's rounding."""
        if self._squares <= self._samples * self._rounding:
            raise NoFloorError("for all the noise, the prior leaves nothing but float32's rounding to estimate")


class OptionalFloor:
    """The floor of a test split, a shard at a time, or the reason why the split has none."""

    def __init__(self, params: GenerateParams, threads: int) -> None:
        self._params, self._threads = params, threads
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
                self._floor = self._floor or Floor(self._params, shard, self._threads)
                estimates = self._floor.estimate(shard)
            except NoFloorError as reason:
                self._withdraw(reason)
            else:
                self._has_estimated = True
                return estimates
        return np.full(shard["input"].shape, np.nan)

    def end(self) -> None:
        """Checks the errors after the last shard, as Floor.end does."""
        if self._floor:
            try:
                self._floor.end()
            except NoFloorError as reason:
                self._withdraw(reason)

    def _withdraw(self, reason: NoFloorError) -> None:
        logging.warning("no floor, so floor_mse and excess are null: %s", reason)
        self.missing, self._floor = str(reason), None


class _Pilot(NamedTuple):
    """The posterior mean tried on a few windows."""

    posterior: PosteriorMean
    mse: float
    operations: float  # arithmetic operations per window


def _rounding(prior: Prior) -> float:
    """Returns the mean squared error of float32's rounding; a floor below it has no meaning."""
    return (prior.amplitude.high * 2.0**-24) ** 2


def _fine_enough(prior: Prior, shard: Columns, threads: int) -> tuple[_Pilot, float]:
    """Returns the pilot with the largest cells within TOLERANCE, and its numerical error. Raises NoFloorError."""
    one = _pilot(prior, SPACINGS[0], shard["input"][:1], shard["target"][:1], threads)
    count = np.clip(BUDGET // 100 // one.operations, 4, PILOT)
    sample = np.unique(np.linspace(0, len(shard["input"]) - 1, int(count)).astype(np.intp))
    windows, target = shard["input"][sample], shard["target"][sample]
    pilot = _pilot(prior, SPACINGS[0], windows, target, threads)
    for spacing in SPACINGS[1:]:
        finer = _pilot(prior, spacing, windows, target, threads)
        numerical_error = abs(finer.mse - pilot.mse) / max(pilot.mse, _rounding(prior))
        if numerical_error <= TOLERANCE:
            return pilot, numerical_error
        pilot = finer
    raise NoFloorError(f"cells of any size that was tried leave a numerical error of {numerical_error:.1%}")


def _pilot(
    prior: Prior, spacing: float, windows: NDArray[np.floating], target: NDArray[np.floating], threads: int
) -> _Pilot:
    posterior = PosteriorMean(prior, spacing)
    if posterior.coarse_cells > MAX_CELLS:
        raise NoFloorError(
            f"it would take {posterior.coarse_cells:,} cells of phase and frequency, and {MAX_CELLS:,} are the most; "
            "lower generate.span or the range of generate.frequency"
        )
    mean, operations = posterior.estimate(windows, threads)
    return _Pilot(posterior, float(np.square(mean - target).mean()), operations / len(windows))


def _affordable(params: GenerateParams, operations: float) -> NDArray[np.intp]:
    """Returns the rows of the test split that have a floor: as many as BUDGET allows at `operations` per window."""
    rows = np.arange(min(params.windows.test, PRIOR_PHASES))
    count = 2 ** int(math.log2(max(1.0, BUDGET / operations)))  # a power of 2: a few operations more change nothing
    if count >= len(rows):
        return rows
    # At random, because consecutive windows may be alike. The seed makes the rows a function of the parameters.
    random = np.random.default_rng(np.random.SeedSequence(params.seed, spawn_key=(len(SPLITS),)))
    return np.sort(random.permutation(len(rows))[:count])
