"""Estimates of the analytic signal that need no network: zero, the Hilbert transform, least squares. No torch.

Estimates are (count, 2, window_length), the in-phase component first, then the quadrature component.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]


def zero(windows: NDArray[np.floating]) -> Floats:
    """Returns zeros for windows, (count, window_length)."""
    return np.zeros((len(windows), 2, windows.shape[1]))


def hilbert(windows: NDArray[np.floating]) -> Floats:
    """Returns windows, (count, window_length), as they are, and the cosines by the Hilbert transform of each window.

    The discrete transform delays each frequency by a quarter turn: it maps a sine to minus the cosine.
    """
    # Equals scipy.signal.hilbert bit for bit. Importing scipy.signal takes half a second.
    length = windows.shape[1]
    spectrum = fft.fft(windows.astype(np.float64), axis=1)
    spectrum[:, 1 : (length + 1) // 2] *= 2.0
    spectrum[:, length // 2 + 1 :] = 0.0
    analytic: NDArray[np.complex128] = fft.ifft(spectrum, axis=1)
    return np.stack([windows, -analytic.imag], axis=1)


class LeastSquares:
    """The affine map from input to both components with the least squared error over the training windows.

    The windows are added in parts of any size. Only the triangular factor of the QR decomposition of [scale, input,
    components] is kept: (3 * window_length + 1) squared numbers. The constant is of the signal's size, so that the map
    does not depend on the signal's unit. If the inputs do not determine the map, for example because all are multiples
    of one window, the map is the one with the smallest coefficients.
    """

    def __init__(self, window_length: int, scale: float = 1.0) -> None:
        self._inputs = 1 + window_length
        self._scale = scale
        self._factor = np.empty((0, 0))
        self._coefficients: Floats | None = None

    def add(self, windows: NDArray[np.floating], components: NDArray[np.floating]) -> None:
        """Adds some training windows, (count, window_length), and their components, (count, 2, window_length)."""
        constant, flat = np.full((len(windows), 1), self._scale), components.reshape(len(windows), -1)
        rows = np.concatenate([constant, windows, flat], axis=1, dtype=np.float64)
        with threadpool_limits(limits=1, user_api="blas"):  # the order of a sum would depend on the number of cores
            rows = np.concatenate([self._factor.reshape(-1, rows.shape[1]), rows])
            self._factor = np.asarray(np.linalg.qr(rows, mode="r"), dtype=np.float64)
        self._coefficients = None

    def estimate(self, windows: NDArray[np.floating]) -> Floats:
        """Returns the estimates for windows, (count, window_length)."""
        with threadpool_limits(limits=1, user_api="blas"):
            if self._coefficients is None:
                inputs, targets = np.split(self._factor, [self._inputs], axis=1)
                self._coefficients = np.linalg.lstsq(inputs, targets)[0].astype(np.float64)
            estimate: Floats = self._scale * self._coefficients[0] + windows.astype(np.float64) @ self._coefficients[1:]
            return estimate.reshape(len(windows), -1, windows.shape[1])
