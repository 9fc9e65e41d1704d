"""The floor: the estimates with the least expected error, for the windows at hand. numpy only.

What they are, and how one is computed, stands in quadrature/posterior.py. Here a pilot on a few windows tells
beforehand how small the cells must be, and how many windows can be afforded.
"""

import itertools
import logging
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior import NoFloorError, PosteriorMean
from quadrature.prior import PRIOR_PHASES, Prior
from quadrature.signals import SPLITS, GenerateParams
from quadrature.windows import Columns

PILOT = 128
"""Windows of the pilot; fewer if they are so long that these alone would take a good part of the BUDGET."""

TOLERANCE = 0.005
"""The largest relative numerical error: cells are made smaller until halving them changes the pilot's mse by less."""

SPACINGS = (1.0, 0.5, 0.25, 0.125)
"""The sizes of cell that are tried to reach that, as the factor that Prior.grids takes."""

MOST_CELLS = 2**20
"""Cells of the coarsest grid, at most."""

BUDGET = 2**36
"""Arithmetic operations, about half a minute of two cores; a floor is for as many windows as this affords."""


class Floor(NamedTuple):
    """The best estimates of some rows of a split: mean is (rows, window_length), rows ascend."""

    rows: NDArray[np.intp]
    mean: NDArray[np.float64]
    numerical_error: float | None  # relative: how much halving the cells changes the pilot's mean squared error
    missing: str | None = None  # why there is no floor, where there is none

    def within(self, first: int, count: int) -> NDArray[np.float64]:
        """Returns the estimates of `count` rows from `first` on, (count, window_length); not a number where none is."""
        chosen = slice(*np.searchsorted(self.rows, (first, first + count)))
        estimates = np.full((count, self.mean.shape[1]), np.nan)
        estimates[self.rows[chosen] - first] = self.mean[chosen]
        return estimates


def no_floor(window_length: int, reason: NoFloorError) -> Floor:
    """Returns what there is in place of a floor where compute_floor raised NoFloorError."""
    return Floor(np.empty(0, np.intp), np.empty((0, window_length)), None, str(reason))


def compute_floor(params: GenerateParams, test: Iterable[Columns], threads: int) -> Floor:
    """Returns the floor of the test split that `params` describes, whose shards' input and target `test` yields.

    The result does not depend on the number of threads. Raises NoFloorError, most often before the work starts.
    """
    if not params.noise_std:
        raise NoFloorError("generate.noise_std is 0, so nothing but rounding limits an estimate")
    if not params.amplitude.high:
        raise NoFloorError("generate.amplitude is 0, so every target is 0")
    shards = iter(test)
    first = next(shards)
    prior = Prior(params)
    pilot, numerical_error = _fine_enough(prior, first, threads)
    rows = _affordable(params, pilot.operations)
    logging.info(
        "floor: numerical error %.1g, for %s windows of %s",
        numerical_error,
        f"{len(rows):,}",
        f"{params.windows.test:,}",
    )

    means, squares, start = [], 0.0, 0
    for shard in itertools.chain([first], shards):
        stop = start + len(shard["input"])
        chosen = rows[slice(*np.searchsorted(rows, (start, stop)))] - start
        means.append(pilot.posterior.estimate(shard["input"][chosen], threads).mean)
        squares += float(np.square(means[-1] - shard["target"][chosen]).sum())
        start = stop
    mean = np.concatenate(means)
    if squares <= mean.size * _rounding(prior):
        raise NoFloorError("for all the noise, the prior leaves nothing but float32's rounding to estimate")
    assert np.isfinite(mean).all()  # noqa: S101, ours to keep
    return Floor(rows, mean, numerical_error)


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
    if posterior.coarse_cells > MOST_CELLS:
        raise NoFloorError(
            f"it would take {posterior.coarse_cells:,} cells of phase and frequency, and {MOST_CELLS:,} are the most; "
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
