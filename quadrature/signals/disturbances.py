"""What a window may hold beside its wave and white noise: offset, drift, harmonics, coloured noise. numpy only.

With n samples in a window, i = 0 ... n - 1, and all of u, v and z independent standard normal numbers,

    offset_i   = offset_std u
    drift_i    = drift_std u (i / (n - 1) - 1/2)
    harmonic_i = amplitude std (u sin(h angle_i) + v cos(h angle_i))         h = 2, 3 ...
    noise_i    = noise_std (factor z)_i,  factor factor' = correlation

The correlation of coloured noise is that of a periodic sequence of PERIODS n samples with the power spectrum
1 / max(k, 1)^noise_color at k periods in it, so that of a stationary process. quadrature/posterior/covariance.py uses
the same definitions.
"""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PERIODS = 8
"""Coloured noise has the same power at all frequencies below one period in this many windows."""


def noise_correlation(length: int, color: float) -> Floats:
    """Returns the correlation of two samples of noise by their distance, 0 ... length - 1; the first is 1."""
    period = PERIODS * length
    power = np.maximum(np.arange(period // 2 + 1, dtype=np.float64), 1.0) ** -color
    covariance = np.fft.irfft(power, period)[:length]
    correlation: Floats = covariance / covariance[0]
    return correlation


def drift_shape(length: int) -> Floats:
    """Returns the drift of each sample of a window over which it changes by 1; it is 0 in the middle."""
    return np.linspace(-0.5, 0.5, length)


def draw_noise(random: np.random.Generator, shape: tuple[int, int], color: float) -> Floats:
    """Draws noise of variance 1 for windows, (count, window_length)."""
    white = random.standard_normal(shape)
    if not color:
        return white
    factor, noise = _correlation_factor(shape[1], color), np.zeros(shape)
    # Not a product of matrices: BLAS could round a window by its place among the others.
    for column in range(shape[1]):
        noise[:, column:] += white[:, column, None] * factor[column:, column]
    return noise


def draw_harmonics(random: np.random.Generator, sine: Floats, cosine: Floats, stds: Sequence[float]) -> Floats:
    """Draws the sum of the harmonics of waves of amplitude 1, from their sines and cosines; all (count, length)."""
    component = random.standard_normal((len(sine), len(stds), 2))
    turn = cosine + 1j * sine  # exp(i angle)
    power, total = turn, np.zeros(sine.shape)
    for number, std in enumerate(stds):
        power = power * turn
        of_sine, of_cosine = std * component[:, number, :, None].swapaxes(0, 1)
        total += of_sine * power.imag + of_cosine * power.real
    return total


@functools.lru_cache(maxsize=4)
def _correlation_factor(length: int, color: float) -> Floats:
    """Returns the lower triangular matrix whose product with its transpose is the noise's correlation matrix.

    By the Schur algorithm for Toeplitz matrices (Golub and Van Loan, Matrix Computations, 4th edition, section 4.7;
    Stewart, Cholesky factorization of semidefinite Toeplitz matrices, 1997), elementwise: LAPACK's rounding depends on
    the processor.
    """
    first = noise_correlation(length, color)
    second = first.copy()
    second[0] = 0.0
    factor = np.zeros((length, length))
    factor[:, 0] = first
    for column in range(1, length):
        first = np.concatenate([[0.0], first[:-1]])
        ratio = second[column] / first[column]
        scale = np.sqrt((1.0 - ratio) * (1.0 + ratio))
        first, second = (first - ratio * second) / scale, (second - ratio * first) / scale
        factor[column:, column] = first[column:]
    return factor
