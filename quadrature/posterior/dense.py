"""The posterior mean by one grid of waves for all windows. numpy only; the symbols are those of posterior/mean.py.

The likelihood is a smooth function of phase and frequency. Along phase it is periodic, so equally spaced phases
converge exponentially (Trefethen and Weideman, The Exponentially Convergent Trapezoidal Rule, SIAM Review 56, 2014).
Along frequency the prior ends abruptly, so Gauss-Legendre nodes are used. Both rules need only about one wave for each
standard deviation of a posterior, and the same grid serves every window. The correlations of many windows with all
waves are then one product of matrices, and so are the posterior means. Where windows hold more than a wave and white
noise (quadrature/posterior/covariance.py), the waves in the first product are multiplied by the precision. Chirp, whose
prior ends abruptly too, has Gauss-Legendre nodes for each frequency.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.amplitude import likeliest_amplitude, over_amplitude
from quadrature.posterior.covariance import whitening, with_harmonics
from quadrature.posterior.prior import Floats, Prior

MAX_WAVES = 2**18
"""Waves of the grid, at most. With more, the search from coarse to fine of posterior/refined.py is faster."""

MAX_TABLE = 2**22
"""Waves times instants, at most: three tables of 16 MB each, and a few times that while they are made."""

CHUNK = 2**18
"""Pairs of window and wave computed at a time; an array of them fits a processor's cache."""

_TYPICAL = math.sqrt(2.0)
"""The ratio of a posterior's typical standard deviation to the least: the mean of cos^2 is a half."""

_NODES = 0.9
"""Gauss-Legendre nodes for each of these deviations. With these constants the default's error is 1e-5 of the floor."""

CUT = 18.0
"""Waves less probable than a window's best wave by this many nats are dropped; exp(-18) is 1.5e-8."""


class Dense:
    """The posterior mean for windows drawn from `prior`; `spacing` scales the distances between waves."""

    def __init__(self, prior: Prior, spacing: float) -> None:
        self._prior, self._spacing = prior, spacing
        phases, frequencies, chirps = _counts(prior, spacing)
        self._shape = phases, frequencies * chirps
        self.rows = min(max(16, CHUNK // math.prod(self._shape)), 256)
        """Windows for one call of `estimate`."""
        # Single precision halves the time. Log likelihoods differ by up to about this exponent, and float32 keeps it to
        # seven digits. Where it is tiny, the squares of the noise might leave float32's range.
        self._dtype = np.float32 if 2.0**-50 < prior.exponent < 2.0**13 else np.float64

    @staticmethod
    def fits(prior: Prior, spacing: float) -> bool:
        """Whether the grid is small enough. Discrete phases have no grid."""
        phases, frequencies, chirps = _counts(prior, spacing)
        turns, rows = frequencies * chirps, max(phases, prior.length if prior.has_harmonics else 0)
        return prior.phases is None and phases * turns <= MAX_WAVES and rows * turns * prior.length <= MAX_TABLE

    def estimate(self, windows: NDArray[np.floating]) -> tuple[Floats, int]:
        """Returns the posterior means of up to `rows` windows, (count, 2, window_length), and about the operations."""
        # Always as many rows, so that a window's bits depend on its place alone, not on how many windows come with it.
        padded = np.zeros((self.rows, windows.shape[1]), self._dtype)
        padded[: len(windows)] = windows
        mean = self._estimate(padded)[: len(windows)]
        phases, turns = self._shape
        waves = turns * (phases + (self._prior.length if self._prior.has_harmonics else 0))
        # Each takes as long as an operation of Refined; there are eight times as many.
        return mean, len(windows) * waves * (self._prior.length + 14) // 8

    def _estimate(self, windows: NDArray[np.floating]) -> Floats:
        weighted, components, energy, weight = self._tables
        correlation = windows @ weighted
        likeliest = likeliest_amplitude(self._prior, correlation, energy)
        # The logarithm of the likelihood, in place: allocating arrays would dominate the time.
        gain = likeliest * energy
        gain *= -0.5
        gain += correlation
        gain *= likeliest
        gain *= self._prior.noise**-2
        if self._prior.has_harmonics:
            gain += self._without_wave(windows)
        gain -= gain.max(axis=1, keepdims=True)
        if self._prior.has_constant_amplitude:
            np.maximum(gain, -60.0, out=gain)  # smaller ones would become denormal numbers, which are slow
            mass = np.exp(gain, out=gain)
            mass *= weight
            total, moments = mass.sum(axis=1, dtype=np.float64), mass
            moments *= self._prior.amplitude.low
        else:
            window, wave = near = np.nonzero(gain > -CUT)
            density = np.exp(gain[near]) * weight[wave]
            slope = correlation[near] - likeliest[near] * energy[wave]
            mass, moment = over_amplitude(self._prior, density, likeliest[near], slope, energy[wave])
            total, moments = np.bincount(window, mass, len(windows)), gain
            moments[...] = 0.0
            moments[near] = moment
        mean: Floats = (moments @ components) / total[:, None]
        return mean.reshape(len(windows), 2, -1)

    def _without_wave(self, windows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Returns for each window and wave the log likelihood of an amplitude of 0, which depends on the turn."""
        phases, turns = self._shape
        whitener = self._whitener.astype(self._dtype, copy=False)
        whitened = windows @ np.concatenate(whitener).T
        power = np.square(whitened).reshape(len(windows), turns, -1).sum(axis=2)
        half_log_determinant = -np.log(np.diagonal(whitener, axis1=1, axis2=2)).sum(axis=1)
        return np.repeat(-0.5 * self._prior.noise**-2 * power - half_log_determinant, phases, axis=1)

    @functools.cached_property
    def _turns(self) -> tuple[Floats, Floats]:
        """Arguments at phase 0, (window_length, turns), and weights, (turns,), of each pair of frequency and chirp."""
        prior = self._prior
        _, frequencies, chirps = _counts(prior, self._spacing)
        node, weight = np.polynomial.legendre.leggauss(frequencies)
        low, high = prior.frequency.low, prior.frequency.high
        frequency = 0.5 * (low + high) + 0.5 * (high - low) * node
        if chirps == 1:
            return np.outer(prior.instants, frequency), weight
        chirp, share = np.polynomial.legendre.leggauss(chirps)
        instants = prior.instants[:, None] + prior.chirp * np.outer(prior.bend, chirp)  # (window_length, chirps)
        return (instants[:, None] * frequency[:, None]).reshape(prior.length, -1), np.outer(weight, share).ravel()

    @functools.cached_property
    def _whitener(self) -> Floats:
        """W of quadrature/posterior/covariance.py for each turn, (turns, window_length, window_length)."""
        prior = self._prior
        assert prior.covariance is not None  # noqa: S101, ours to keep
        variances = np.square(prior.amplitude.high / prior.noise * prior.harmonics)
        return whitening(with_harmonics(prior.covariance, variances, self._turns[0].T))

    @functools.cached_property
    def _tables(self) -> tuple[NDArray[np.floating], ...]:
        """Weighted sines (window_length, waves), sines and cosines (waves, 2 * window_length), energies, weights."""
        phases, _ = self._shape
        turn, weight = self._turns
        phase = 2.0 * np.pi / phases * (np.arange(phases) + 0.5)
        argument = np.add.outer(turn, phase).reshape(self._prior.length, -1)
        weighted = sine = np.sin(argument)
        energy = np.square(sine).sum(axis=0)
        if self._prior.has_harmonics:
            waves = sine.reshape(self._prior.length, -1, phases).swapaxes(0, 1)  # (turns, window_length, phases)
            weighted = self._whitener.swapaxes(1, 2) @ (self._whitener @ waves)
            weighted = weighted.swapaxes(0, 1).reshape(sine.shape)
        elif self._prior.precision is not None:
            weighted = self._prior.precision @ sine
        if weighted is not sine:
            energy = (weighted * sine).sum(axis=0)
        tables = weighted, np.concatenate([sine, np.cos(argument)]).T, energy, np.repeat(weight, phases)
        return tuple(np.ascontiguousarray(table, self._dtype) for table in tables)


def _counts(prior: Prior, spacing: float) -> tuple[int, int, int]:
    """Returns the numbers of phases, of frequencies and of chirps.

    Phases are at most a typical posterior's standard deviation apart. So are Gauss-Legendre nodes on average, which are
    farther apart in the middle of the range by pi / 2, and closer at its ends.
    """
    phase, frequency = (_TYPICAL * deviation for deviation in prior.least_deviations)
    spread = prior.frequency.high - prior.frequency.low
    chirp = _TYPICAL * prior.least_chirp_deviation
    frequencies = 4 + math.ceil(_NODES * spread / (spacing * frequency)) if spread else 1
    chirps = 4 + math.ceil(_NODES * 2.0 * prior.chirp / (spacing * chirp)) if prior.chirp else 1
    return math.ceil(2.0 * np.pi / (spacing * phase)), frequencies, chirps
