"""How close the waves of the integral must be: halved until a pilot on a few windows hardly moves. numpy only."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.mean import PosteriorMean, PrefixMean
from quadrature.posterior.prior import Prior
from quadrature.posterior.refined import PosteriorError

WINDOWS = 128
"""Windows of the pilot; fewer if so many would take more than OPERATIONS for each spacing."""

OPERATIONS_PER_SECOND = 2**31
"""Arithmetic operations, as PosteriorMean counts them, that two cores of an x86-64 server do in a second."""

OPERATIONS = OPERATIONS_PER_SECOND // 3
"""Operations of the pilot for each spacing."""

TOLERANCE = 0.005
"""The largest relative numerical error: spacing is halved until halving changes the pilot's mse by no more."""

SPACINGS = (1.0, 0.5, 0.25, 0.125)
"""The values of `spacing` tried to reach TOLERANCE."""


class Pilot(NamedTuple):
    """The posterior mean tried on a few windows."""

    posterior: PosteriorMean | PrefixMean
    mse: float
    operations: float  # arithmetic operations per window, approximately
    numerical_error: float = math.nan
    """Relative change of the pilot's mean squared error when the waves' spacing is halved."""

    def seconds(self, windows: int) -> float:
        """Returns the seconds that so many windows take two cores, approximately."""
        return windows * self.operations / OPERATIONS_PER_SECOND


def fine_enough(
    prior: Prior,
    windows: NDArray[np.floating],
    target: NDArray[np.floating],
    threads: int,
    kind: type[PosteriorMean | PrefixMean] = PosteriorMean,
) -> Pilot:
    """Returns the pilot with the widest spacing within TOLERANCE.

    `windows` and their clean targets are (count, window_length). Raises PosteriorError.
    """

    def run(spacing: float, rows: NDArray[np.intp]) -> Pilot:
        posterior = kind(prior, spacing)
        mean, operations = posterior.estimate(windows[rows], threads)
        return Pilot(posterior, float(np.square(mean[:, 1] - target[rows]).mean()), operations / len(rows))

    one = run(SPACINGS[0], np.arange(1))
    count = int(np.clip(OPERATIONS // one.operations, 4, WINDOWS))
    sample = np.unique(np.linspace(0, len(windows) - 1, count).astype(np.intp))
    pilot = run(SPACINGS[0], sample)
    for spacing in SPACINGS[1:]:
        finer = run(spacing, sample)
        numerical_error = abs(finer.mse - pilot.mse) / max(pilot.mse, rounding_mse(prior))
        if numerical_error <= TOLERANCE:
            return pilot._replace(numerical_error=numerical_error)
        pilot = finer
    raise PosteriorError(f"waves as close as any that were tried leave a numerical error of {numerical_error:.1%}")


def rounding_mse(prior: Prior) -> float:
    """Returns the mean squared error of float32's rounding, in the signal's unit squared.

    A floor below it has no meaning.
    """
    return (prior.scale * prior.largest * 2.0**-24) ** 2
