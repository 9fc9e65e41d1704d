"""The floor: the estimates with the least expected error, for the windows at hand. numpy only.

What they are, and how one is computed, stands in quadrature/scoring/posterior.py. Here a pilot on a few windows tells
beforehand how small the cells must be, and how many windows can be afforded.
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
"""Windows of the pilot; fewer if they are so long that these alone would take a good part of the BUDGET."""

TOLERANCE = 0.005
"""The largest relative numerical error: cells are made smaller until halving them changes the pilot's mse by less."""

SPACINGS = (1.0, 0.5, 0.25, 0.125)
"""The sizes of cell that are tried to reach that, as the factor that Prior.grids takes."""

MAX_CELLS = 2**20
"""Cells of the coarsest grid, at most."""

BUDGET = 2**36
"""Arithmetic operations, about half a minute of two cores; a floor is for as many windows as this affords."""


class Floor:
    """The best estimates of the test split that `params` describes, a shard at a time.

    They do not depend on the number of threads.
    """

    def __init__(self, params: GenerateParams, first: Columns, threads: int) -> None:
        """Tries the split's first shard. Raises NoFloorError where it shows, as it most often does beforehand."""
        if not params.noise_std:
            raise NoFloorError("generate.noise_std is 0, so nothing but rounding limits an estimate")
        if not params.amplitude.high:
            raise NoFloorError("generate.amplitude is 0, so every target is 0")
        prior = Prior(params)
        pilot, self.numerical_error = _fine_enough(prior, first, threads)
        """Relative: how much halving the cells changes the pilot's mean squared error."""
        self.rows = _affordable(params, pilot.operations)
        """Which windows of the split have an estimate, ascending."""
        self._posterior, self._threads, self._rounding = pilot.posterior, threads, _rounding(prior)
        self._passed = self._samples = 0
        self._squares = 0.0
        words = (f"{self.numerical_error:.1g}", f"{len(self.rows):,}", f"{params.windows.test:,}")
        logging.info("floor: numerical error %s, for %s windows of %s", *words)

    def estimate(self, shard: Columns) -> NDArray[np.float64]:
        """Returns the estimates of the split's next shard, (count, window_length); not a number where it has none.

        Raises NoFloorError; then no window has a floor.
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
        """Says that the last shard has passed. Raises NoFloorError where all estimates are right but for rounding."""
        if self._squares <= self._samples * self._rounding:
            raise NoFloorError("for all the noise, the prior leaves nothing but float32's rounding to estimate")


class _Pilot(NamedTuple):
    """An estimate tried on a few windows: its mean squared error, and the arithmetic operations a window took."""

    posterior: PosteriorMean
    mse: float
    operations: float


def _rounding(prior: Prior) -> float:
    """Returns the mean squared error below which a floor would compare float32's rounding with itself."""
    return (prior.amplitude.high * 2.0**-24) ** 2


def _fine_enough(prior: Prior, shard: Columns, threads: int) -> tuple[_Pilot, float]:
    """Returns the pilot with the largest cells that are small enough, and its numerical error."""
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
    """Returns the rows of the test split that BUDGET suffices for, at some operations a window."""
    rows = np.arange(min(params.windows.test, PRIOR_PHASES))
    count = 2 ** int(math.log2(max(1.0, BUDGET / operations)))  # round, so as not to depend on the last cell counted
    if count >= len(rows):
        return rows
    # At random, for windows that follow one another may be alike; the same rows for the same parameters.
    random = np.random.default_rng(np.random.SeedSequence(params.seed, spawn_key=(len(SPLITS),)))
    return np.sort(random.permutation(len(rows))[:count])
