"""Targets for training: the posterior mean of the clean target, or the clean target itself. numpy only.

A network f that minimizes E[f(window) - target]^2 tends to the posterior mean m(window) = E[target | window]. So does
one that minimizes E[f(window) - m(window)]^2, because the two differ by a constant:

    E[f - target]^2 = E[f - m]^2 + E[m - target]^2

The second term is the floor. Clean targets leave it in every gradient, as noise that no network can reduce.
"""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.mean import PosteriorMean, PrefixMean
from quadrature.posterior.prior import PRIOR_PHASES, Prior
from quadrature.posterior.refined import PosteriorError
from quadrature.posterior.resolution import Pilot, fine_enough
from quadrature.runtime.errors import DataError, ParameterError
from quadrature.runtime.settings import Section
from quadrature.signals.waves import GenerateParams, sine_and_cosine
from quadrature.storage.arrow import Columns

BLOCK = 4096
"""Windows computed between two steps of the progress bar."""

DEVIATIONS = 6.0
"""Standard deviations by which the noise of drawn windows may differ from generate.noise_std."""


class TargetsParams(Section):
    """The `targets` section."""

    kind: Literal["posterior_mean", "clean"]


def prepare(params: GenerateParams, first: Columns, sees_whole_window: bool, threads: int) -> Pilot | None:
    """Returns the posterior mean for the training split; None where it is the clean target, as it is without noise.

    `first` is the split's first shard. A network that estimates each sample from the samples up to it does not see the
    whole window. Raises ParameterError if the posterior cannot be computed, DataError if the windows were not drawn
    with these parameters.
    """
    if params.noise_std == 0.0 or params.amplitude.high == 0.0:
        return None
    _check_drawn(params, first)
    windows = params.windows.train
    if params.phase == "consecutive" and windows > PRIOR_PHASES:
        raise _out_of_reach(f"{PRIOR_PHASES:,} consecutive windows are the most whose phases are a known list")
    kind = PosteriorMean if sees_whole_window else PrefixMean
    try:
        return fine_enough(Prior(params, windows), first["input"], first["target"], threads, kind)
    except PosteriorError as reason:
        raise _out_of_reach(str(reason)) from None


def posterior_means(
    pilot: Pilot, windows: NDArray[np.floating], threads: int
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yields BLOCK windows at a time and their posterior means. Raises ParameterError if one cannot be computed."""
    for start in range(0, len(windows), BLOCK):
        block = slice(start, start + BLOCK)
        try:
            yield block, pilot.posterior.estimate(windows[block], threads).mean
        except PosteriorError as reason:
            raise _out_of_reach(str(reason)) from None


def _out_of_reach(reason: str) -> ParameterError:
    return ParameterError(f"targets.kind in params.yaml: {reason}; or set it to clean")


def _check_drawn(params: GenerateParams, shard: Columns) -> None:
    """Raises DataError unless the windows can have been drawn with these parameters."""
    phase, frequency = (shard[name].astype(np.float64) for name in ("phase", "frequency"))
    sine, cosine = sine_and_cosine(phase, frequency, params.length, params.unit_angle)
    amplitude = shard["amplitude"][:, None]
    noise = shard["input"] - amplitude * sine
    is_clean = np.allclose(amplitude * cosine, shard["target"], rtol=0.0, atol=1e-5 * params.amplitude.high)
    # The variance of the mean square of n normal numbers is 2 / n (relative).
    tolerance = DEVIATIONS * math.sqrt(2.0 / noise.size) + 1e-3
    if not is_clean or abs(np.square(noise).mean() / params.noise_std**2 - 1.0) > tolerance:
        raise DataError(
            "the training windows were not drawn with the `generate` section of params.yaml, so their posterior is not "
            "known; set targets.kind to clean"
        )
