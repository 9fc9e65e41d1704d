"""Amplitude, phase and frequency of an estimated analytic signal. numpy only.

With in-phase component s and quadrature component c, estimates of a sin(p) and a cos(p),

    amplitude   a = sqrt(s^2 + c^2)
    phase       p = atan2(s, c), in (-pi, pi]
    frequency   the advance of p from sample to sample

As a complex number the signal is z = c + i s. scipy.signal.hilbert(x) returns x + i H(x), which is -i z for x = a
sin(p): p is its angle plus a quarter turn. The advance between samples k and k + 1 is the angle of z[k + 1] conj(z[k]).
The frequency at a sample is the angle of the sum of this product before and after it, so that the weaker of two
neighbours counts less (Kay, A fast and accurate single frequency estimator, IEEE Transactions on Acoustics, Speech and
Signal Processing 37, 1989, uses the same products). It lies within (-pi, pi] radians a sample.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_PI = np.float32(np.pi)


def as_complex(in_phase: NDArray[np.floating], quadrature: NDArray[np.floating]) -> NDArray[np.complex128]:
    """Returns z by its components, in their shape."""
    signal = np.empty(quadrature.shape, np.complex128)
    signal.real, signal.imag = quadrature, in_phase  # c + 1j * s would be NaN where s is infinite
    return signal


def phase(in_phase: Array, quadrature: Array) -> Array:
    """Returns the phase by the components, in their shape."""
    angle: Array = np.arctan2(in_phase, quadrature)
    angle[angle == -_PI] = _PI  # for a component of -0.0 or a tiny negative one: the same angle, inside (-pi, pi]
    return angle


def frequency(signal: NDArray[np.complex128]) -> Array:
    """Returns the frequency at each sample of a signal, (count,), or of windows, (count, window_length).

    A sample without an estimate is NaN, and so are its frequency and that of a sample without an estimated neighbour.
    A neighbour of amplitude 0 has no phase and counts as one without an estimate.
    """
    with np.errstate(invalid="ignore"):  # of infinite components
        products = signal[..., 1:] * signal[..., :-1].conj()
    products[np.isnan(products)] = 0.0
    total = np.zeros_like(signal)
    total[..., 1:] = products
    total[..., :-1] += products
    angle: Array = np.angle(total).astype(np.float32)
    angle[total == 0.0] = np.nan
    angle[angle == -_PI] = _PI
    return angle


class Held:
    """A signal that comes in parts, returned one sample late, so that each sample's neighbours are known."""

    def __init__(self) -> None:
        self._components = np.empty((2, 0), np.float32)  # the sample returned last, if any, and the one that waits
        self._known = np.empty(0, np.bool_)  # which of these have an estimate
        self._returned = 0

    def push(self, components: Array, known: NDArray[np.bool_], is_end: bool) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Takes the next samples' components, (2, count), and which of them have an estimate, (count,).

        Returns the components of finished samples, their frequencies, and which of them have an estimate.
        """
        components = np.concatenate([self._components, components], axis=1)
        known = np.concatenate([self._known, known])
        stop = len(known) if is_end else max(0, len(known) - 1)
        finished = slice(self._returned, stop)
        advance = frequency(as_complex(*np.where(known, components, np.float32(np.nan))))
        first = max(0, stop - 1)
        self._components, self._known, self._returned = components[:, first:], known[first:], stop - first
        return components[:, finished], advance[finished], known[finished]
