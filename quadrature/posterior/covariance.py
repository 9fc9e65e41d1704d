"""What disturbs a wave as one Gaussian vector: its covariance, and inner products weighted by the inverse. numpy only.

Given the wave, all that a window holds beside it is Gaussian (quadrature/signals/disturbances.py). With C the
correlation of the noise, 1 a vector of ones and d the shape of the drift, the covariance is

    S = noise_std^2 C + offset_std^2 1 1' + drift_std^2 d d' + sum_h (amplitude std_h)^2 cos(h (angle_i - angle_j))

because the harmonics' components have equal variances. Relative to the variance `noise`^2 of
posterior/prior.py, K = S / noise^2 and precision P = K^-1. The log likelihood of a window x for the wave s is then

    -(x - s)' P (x - s) / (2 noise^2) - log det(K) / 2 + constant

So the white noise's formulas hold with x' P s for the correlation and s' P s for the energy of a wave. Without
harmonics the determinant is constant. With them, P depends on frequency and chirp, and on amplitude, which must be
known.
"""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quadrature.signals.disturbances import drift_shape, noise_correlation
from quadrature.signals.params import GenerateParams, Range

Floats = NDArray[np.float64]

MAX_EXPONENT = 2.0**40
"""Log likelihoods up to this keep three digits after the point in float64, and covariances are inverted as well."""


class Waves(Protocol):
    """What `information` asks of posterior/prior.py."""

    instants: Floats
    bend: Floats
    chirp: float
    frequency: Range
    harmonics: Floats


_BLOCK = 2**20  # numbers in an array, at most


def is_disturbed(params: GenerateParams) -> bool:
    """Whether windows hold anything but a wave of constant frequency and white noise."""
    colored = params.noise_std and params.noise_color
    return bool(colored or params.offset_std or params.drift_std or any(params.harmonics) or params.chirp)


def why_unknown(params: GenerateParams) -> str | None:
    """Returns why the posterior mean of windows with these parameters is not computed, and what to change, or None."""
    if not is_disturbed(params):
        return None
    if not params.noise_std:
        return "the posterior of disturbed windows without noise is not computed; raise generate.noise_std"
    if any(params.harmonics) and params.amplitude.low != params.amplitude.high:
        return (
            "the posterior of waves with harmonics and an unknown amplitude is not computed; make the ends of "
            "generate.amplitude equal or set generate.harmonics to []"
        )
    if (any(params.harmonics) or params.chirp) and params.phase != "uniform":
        return (
            "the posterior of consecutive phases with harmonics or chirp is not computed; set generate.phase to uniform"
        )
    return None


def largest_sample(params: GenerateParams) -> float:
    """Returns about the largest magnitude of a sample, noise apart; for undisturbed windows, the largest amplitude."""
    if not is_disturbed(params):
        return params.amplitude.high
    harmonics = params.amplitude.high * math.hypot(*params.harmonics)
    return math.hypot(params.amplitude.high, params.offset_std, params.drift_std, harmonics)


def relative_covariance(params: GenerateParams, noise: float) -> Floats | None:
    """Returns K without harmonics, (window_length, window_length); None if the windows are undisturbed.

    `noise` includes rounding.
    """
    if not is_disturbed(params) or not noise:
        return None
    steps = np.arange(params.length)
    correlation = noise_correlation(params.length, params.noise_color)[np.abs(np.subtract.outer(steps, steps))]
    drift = drift_shape(params.length)
    rounding = (noise**2 - params.noise_std**2) * np.eye(params.length)
    covariance = params.noise_std**2 * correlation + rounding + params.offset_std**2
    covariance += params.drift_std**2 * np.outer(drift, drift)
    relative: Floats = covariance / noise**2
    return relative


def with_harmonics(covariance: Floats, variances: Floats, angle: Floats) -> Floats:
    """Returns K for each wave, (waves, window_length, window_length), from the waves' angles, (waves, window_length).

    `covariance` is K without harmonics, and `variances` are the harmonics' components' divided by noise^2.
    """
    difference = angle[:, :, None] - angle[:, None, :]
    result = np.repeat(covariance[None], len(angle), axis=0)
    for order, variance in enumerate(variances.tolist(), start=2):
        result += variance * np.cos(order * difference)
    return result


def whitening(covariance: Floats) -> Floats:
    """Returns W with W' W = K^-1 for each K, (..., window_length, window_length); W is lower triangular."""
    with threadpool_limits(limits=1, user_api="blas"):  # the number of threads could change the order of sums
        whitener: Floats = np.tril(np.linalg.inv(np.linalg.cholesky(covariance)))
    return whitener


def precision_of(covariance: Floats) -> Floats:
    """Returns P for each K, positive definite for all rounding; both (..., window_length, window_length)."""
    whitener = whitening(covariance)
    with threadpool_limits(limits=1, user_api="blas"):
        precision: Floats = np.matmul(whitener.swapaxes(-1, -2), whitener)
    return precision


def information(prior: "Waves", precision: Floats) -> tuple[float, float, float]:
    """Returns the most information on phase, frequency and chirp in samples of a wave of amplitude 1, times noise^2.

    Each is the sum over two waves a quarter turn apart, as with white noise: sum_i (sin^2 + cos^2) = window_length. The
    harmonics of a typical window add to that on frequency and chirp.
    """
    low, high = prior.frequency.low, prior.frequency.high
    count = 2 + min(math.ceil(8.0 * (high - low) * np.abs(prior.instants).max()), 126)
    angle = np.outer(prior.instants, np.linspace(low, high, count))

    def most(order: int, slope: Floats) -> float:
        wave = slope[:, None] * np.exp(1j * order * angle)
        return float((wave.conj() * (precision @ wave)).real.sum(axis=0).max())

    def most_of_all(slope: Floats) -> float:
        harmonics = enumerate(prior.harmonics.tolist(), start=2)
        return most(1, slope) + math.fsum(2.0 * (order * std) ** 2 * most(order, slope) for order, std in harmonics)

    with threadpool_limits(limits=1, user_api="blas"):
        chirp = most_of_all(high * prior.bend) if prior.chirp else 0.0
        return most(1, np.ones(len(angle))), most_of_all(prior.instants), chirp


def energy_of(instants: Floats, precision: Floats, phase: Floats, frequency: Floats) -> Floats:
    """Returns s' P s of waves s_i = sin(phase + frequency instant_i); phase, frequency and the result are (waves,).

    With e_i = exp(i frequency instant_i), it is (conj(e)' P e - Re(exp(2 i phase) e' P e)) / 2. Instants are equally
    spaced, so e' P e needs only the sums of P along its antidiagonals, and conj(e)' P e those along its diagonals.
    """
    length = len(instants)
    step = (instants[-1] - instants[0]) / max(length - 1, 1)
    row, column = (index.ravel() for index in np.indices(precision.shape))
    along = np.bincount(row - column + length - 1, precision.ravel()), np.bincount(row + column, precision.ravel())
    number = np.arange(2 * length - 1)
    distinct, place = np.unique(frequency, return_inverse=True)
    steady, turning = np.empty(len(distinct)), np.empty(len(distinct), np.complex128)
    width = max(1, _BLOCK // length)
    for start in range(0, len(distinct), width):
        block = slice(start, start + width)
        steady[block] = np.cos(np.outer(distinct[block], step * (number - (length - 1)))) @ along[0]
        turning[block] = np.exp(1j * np.outer(distinct[block], 2.0 * instants[0] + step * number)) @ along[1]
    energy: Floats = 0.5 * (steady[place] - (np.exp(2j * phase) * turning[place]).real)
    return np.maximum(energy, 0.0)
