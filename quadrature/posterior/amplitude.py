"""The integral over amplitude of a wave's likelihood. numpy only; the symbols are those of posterior/mean.py.

For a wave of given phase and frequency, with sine_i that of its argument and all sums over i,

    correlation = sum window_i sine_i
    energy      = sum sine_i^2
    likeliest   = correlation / energy, clipped to the range of amplitude
    slope       = sum (window_i - likeliest sine_i) sine_i = correlation - likeliest energy

the logarithm of the likelihood at another amplitude is, with step = amplitude - likeliest,

    log likelihood(amplitude) = log likelihood(likeliest) + (step slope - step^2 energy / 2) / noise^2

As a function of amplitude it is a normal distribution truncated to the prior's range, integrated by Gauss-Legendre
quadrature (Abramowitz and Stegun, Handbook of Mathematical Functions, 25.4.30) over at most REACH standard deviations,
noise / sqrt(energy), either side of `likeliest`. A constant amplitude needs no integral.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.prior import Prior

Number = TypeVar("Number", bound=np.floating)

REACH = 5.5
NODES = 14
"""These integrate a normal distribution with a relative error of 2e-5, a factor common to most waves."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(NODES)


def likeliest_amplitude(prior: Prior, correlation: NDArray[Number], energy: NDArray[Number]) -> NDArray[Number]:
    """Returns the amplitude of highest likelihood within its range, in the shape of `correlation`."""
    low, high = prior.amplitude.low, prior.amplitude.high
    if low == high:
        return np.full_like(correlation, low)
    free: NDArray[Number] = np.zeros_like(correlation)
    np.divide(correlation, energy, out=free, where=energy > 0.0)
    np.clip(free, low, high, out=free)
    return free


def over_amplitude(
    prior: Prior, density: NDArray[Number], likeliest: NDArray[Number], slope: NDArray[Number], energy: NDArray[Number]
) -> tuple[NDArray[Number], NDArray[Number]]:
    """Returns mass and moment of waves: the integrals of likelihood and of amplitude times likelihood.

    `density` is the likelihood at `likeliest`, up to a common factor. All arrays are (waves,).
    """
    low, high = prior.amplitude.low, prior.amplitude.high
    if low == high:
        return density, density * likeliest
    with np.errstate(divide="ignore"):
        reach = REACH * prior.noise / np.sqrt(energy)
    first = np.maximum(likeliest - reach, low)
    last = np.minimum(likeliest + reach, high)
    middle, half = 0.5 * (first + last), 0.5 * (last - first)
    steepness, curvature = slope * prior.noise**-2, energy * (0.5 * prior.noise**-2)
    mass, moment = np.zeros((2, len(density)), density.dtype)
    for node, weight in zip(_NODES.tolist(), _WEIGHTS.tolist(), strict=True):
        amplitude = middle + node * half
        step = amplitude - likeliest
        part = weight * np.exp(step * (steepness - step * curvature))
        mass += part
        moment += part * amplitude
    scale = density * half
    return mass * scale, moment * scale
