"""Targets for training: the posterior mean of the clean target, or the clean target itself. numpy only.

A network f that minimizes E[f(window) - target]^2 tends to the posterior mean m(window) = E[target | window]. So does
one that minimizes E[f(window) - m(window)]^2, because the two differ by a constant:

    E[f - target]^2 = E[f - m]^2 + E[m - target]^2

The second term is the floor. Clean targets leave it in every gradient, as noise that no network can reduce.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.covariance import is_disturbed, largest_sample
from quadrature.posterior.mean import PosteriorMean, PrefixMean
from quadrature.posterior.prior import PRIOR_PHASES, Prior
from quadrature.posterior.refined import PosteriorError
from quadrature.posterior.resolution import Pilot, fine_enough
from quadrature.runtime.errors import DataError, ParameterError
from quadrature.signals.params import GenerateParams
from quadrature.signals.waves import draw_shard, sine_and_cosine
from quadrature.storage.arrow import Columns

BLOCK = 4096
"""Windows computed between two steps of the progress bar."""

CHECKED = 1024
"""Disturbed windows that are drawn again to see whether they are the same, at most."""

DEVIATIONS = 6.0
"""Standard deviations by which the noise of drawn windows may differ from generate.noise_std."""


def prepare(params: GenerateParams, first: Columns, sees_whole_window: bool, threads: int) -> Pilot | None:
    """Returns the posterior mean for the training split; None where it is the clean target, as it is without noise.

    `first` is the split's first shard. A network that estimates each sample from the samples up to it does not see the
    whole window. Raises ParameterError if the posterior cannot be computed, DataError if the windows were not drawn
    with these parameters.
    """
    if params.source is not None:
        raise ParameterError(
            "targets.kind in params.yaml is posterior_mean, which is known for drawn windows alone; for those of "
            "generate.source, set it to clean"
        )
    if params.amplitude.high == 0.0 or (params.noise_std == 0.0 and not is_disturbed(params)):
        return None
    windows = params.windows.train
    prior = Prior(params, windows)
    if prior.unknown:
        raise _out_of_reach(prior.unknown)
    if not (_are_the_same if is_disturbed(params) else _can_be_drawn)(params, first):
        raise DataError(
            "the training windows were not drawn with the `generate` section of params.yaml, so their posterior is not "
            "known; set targets.kind to clean"
        )
    if params.phase == "consecutive" and windows > PRIOR_PHASES:
        raise _out_of_reach(f"{PRIOR_PHASES:,} consecutive windows are the most whose phases are a known list")
    kind = PosteriorMean if sees_whole_window else PrefixMean
    try:
        return fine_enough(prior, first["input"], first["target"], threads, kind)
    except PosteriorError as reason:
        raise _out_of_reach(str(reason)) from None


def posterior_means(
    pilot: Pilot, windows: NDArray[np.floating], threads: int
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yields BLOCK windows at a time and their posterior means, (count, 2, window_length).

    Raises ParameterError if one cannot be computed.
    """
    for start in range(0, len(windows), BLOCK):
        block = slice(start, start + BLOCK)
        try:
            yield block, pilot.posterior.estimate(windows[block], threads).mean
        except PosteriorError as reason:
            raise _out_of_reach(str(reason)) from None


def _out_of_reach(reason: str) -> ParameterError:
    return ParameterError(f"targets.kind in params.yaml: {reason}; or set it to clean")


def _are_the_same(params: GenerateParams, shard: Columns) -> bool:
    """Whether the training split's first shard begins with the windows that these parameters draw.

    No column holds chirp or harmonics, so nothing less would show whether they are those of the parameters.
    """
    count = min(len(shard["input"]), CHECKED)
    drawn = draw_shard(
        params.model_copy(update={"windows": params.windows.model_copy(update={"train": count})}), "train", 0
    )
    near = 1e-5 * largest_sample(params)
    return all(
        drawn[name].shape == shard[name][:count].shape and np.allclose(drawn[name], shard[name][:count], 0.0, near)
        for name in ("input", "target")
    )


def _can_be_drawn(params: GenerateParams, shard: Columns) -> bool:
    """Whether undisturbed windows can have been drawn with these parameters."""
    phase, frequency = (shard[name].astype(np.float64) for name in ("phase", "frequency"))
    sine, cosine = sine_and_cosine(phase, frequency, params.length, params.unit_angle)
    amplitude = shard["amplitude"][:, None]
    noise = shard["input"] - amplitude * sine
    is_clean = np.allclose(amplitude * cosine, shard["target"], rtol=0.0, atol=1e-5 * params.amplitude.high)
    # The variance of the mean square of n normal numbers is 2 / n (relative).
    tolerance = DEVIATIONS * math.sqrt(2.0 / noise.size) + 1e-3
    rounding = 1e-6 * largest_sample(params)  # of the stored columns, and more
    difference = abs(np.square(noise).mean() - params.noise_std**2)
    return is_clean and bool(difference <= tolerance * params.noise_std**2 + rounding**2)
