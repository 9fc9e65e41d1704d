"""The posterior mean of the clean wave given the noisy window: the estimate with the least expected error. numpy only.

Model. With instant_i the instants of a window, i = 1 ... window_length, and e_i independent standard normal numbers,

    window_i = amplitude sin(phase + frequency instant_i) + noise e_i          input
    target_i = amplitude cos(phase + frequency instant_i)                     quadrature component
    in_phase_i = amplitude sin(phase + frequency instant_i)                   in-phase component

with the prior of quadrature/posterior/prior.py: frequency and amplitude are uniform, phase is uniform or one of a known
list. Under this prior no estimate has a smaller expected squared error than the posterior mean of the target (Kay,
Fundamentals of Statistical Signal Processing: Estimation Theory, 1993, chapter 10):

    posterior mean of target_i = integral target_i likelihood d prior / integral likelihood d prior

and likewise for in_phase_i. Windows may hold more than a wave and white noise, as quadrature/posterior/covariance.py
says.

The integral over phase and frequency is a sum over waves: over one grid for all windows where its waves are few
(quadrature/posterior/dense.py), and otherwise over cells found for each window from coarse to fine
(quadrature/posterior/refined.py). For each wave, quadrature/posterior/amplitude.py integrates over amplitude.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quadrature.posterior.dense import Dense
from quadrature.posterior.prior import Floats, Prior
from quadrature.posterior.refined import PosteriorError, Refined

MAX_PREFIXES = 256
"""Samples of disturbed windows whose posterior means are computed sample by sample; each inverts a covariance."""

MAX_WORKERS = 4
"""Threads that compute at the same time, at most; each may need memory for refined.MAX_PAIRS."""


class Estimate(NamedTuple):
    """Posterior means and their cost."""

    mean: Floats  # in-phase and quadrature components, (count, 2, window_length)
    operations: int  # arithmetic operations, approximately


class PosteriorMean:
    """The posterior mean for windows drawn from `prior`; `spacing` scales the distances between waves.

    Raises PosteriorError if the integral needs more waves than memory holds, or is not computed for such windows.
    """

    def __init__(self, prior: Prior, spacing: float = 1.0) -> None:
        if prior.unknown:
            raise PosteriorError(prior.unknown)
        if prior.needs_dense and not Dense.fits(prior, spacing):
            raise PosteriorError(
                "with generate.harmonics or generate.chirp the posterior takes too many waves; raise "
                "generate.noise_std, or lower generate.length, generate.span or the range of generate.frequency"
            )
        self._scale = np.float64(prior.scale)
        self._method = Dense(prior, spacing) if Dense.fits(prior, spacing) else Refined(prior, spacing)

    def estimate(self, windows: NDArray[np.floating], threads: int = 1) -> Estimate:
        """Returns the posterior mean of the components of windows, (count, window_length).

        Threads share the windows; the result does not depend on their number. Raises PosteriorError if the posterior
        of a window needs too many cells.
        """
        rows = self._method.rows
        chunks = np.split(windows / self._scale, range(rows, len(windows), rows))
        # One thread each for BLAS: more would compete, and could change the order of sums.
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(min(threads, MAX_WORKERS)) as pool:
            parts = list(pool.map(self._method.estimate, chunks))
        means, operations = zip(*parts, strict=True)
        return Estimate(np.concatenate(means) * self._scale, sum(operations))


class PrefixMean:
    """The posterior mean at each sample given the samples up to it: the best estimate sample by sample.

    Raises PosteriorError if PosteriorMean does for a prefix, and if disturbed windows have more than MAX_PREFIXES
    samples.
    """

    def __init__(self, prior: Prior, spacing: float = 1.0) -> None:
        if prior.covariance is not None and prior.length > MAX_PREFIXES:
            raise PosteriorError(
                f"sample by sample, the posterior of more than {MAX_PREFIXES} disturbed samples is not computed; lower "
                "generate.length"
            )
        self._prefixes = [PosteriorMean(prior.prefix(length), spacing) for length in range(1, prior.length + 1)]

    def estimate(self, windows: NDArray[np.floating], threads: int = 1) -> Estimate:
        """Returns the posterior means as PosteriorMean.estimate does."""
        parts = [prefix.estimate(windows[:, :length], threads) for length, prefix in enumerate(self._prefixes, start=1)]
        mean = np.stack([part.mean[:, :, -1] for part in parts], axis=2)
        return Estimate(mean, sum(part.operations for part in parts))
