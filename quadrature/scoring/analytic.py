"""Errors of the analytic signal: of its in-phase component, amplitude and phase. Sums are float64. numpy only."""

import math

import numpy as np
from numpy.typing import NDArray

LEAST_AMPLITUDE = 1e-3
"""Of the signal's scale. Where the true amplitude is smaller, a phase has no meaning and is left out."""


class AnalyticScore:
    """The errors of in-phase component, amplitude and phase of an estimate, accumulated over parts of a split.

    Amplitude is the magnitude, and phase the angle, of the complex number quadrature + i in_phase. The error of a phase
    is the angle between estimate and truth, at most half a turn; its mean square is over samples, each of which counts
    the same.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self._least = LEAST_AMPLITUDE * scale
        self._in_phase, self._amplitude, self._phase = _Squares(), _Squares(), _Squares()

    def add(self, estimate: NDArray[np.floating], truth: NDArray[np.floating]) -> None:
        """Adds some windows; both arrays are (count, 2, window_length). A NaN leaves its window out."""
        known = ~np.isnan(estimate).any(axis=(1, 2))
        found, true = _complex(estimate[known]), _complex(truth[known])
        self._in_phase.add(found.imag - true.imag)
        self._amplitude.add(np.abs(found) - np.abs(true))
        turn = found * true.conj()
        self._phase.add(np.angle(turn[(np.abs(true) >= self._least) & (turn != 0.0)], deg=True))

    def figures(self) -> dict[str, float | None]:
        """Returns the figures by name; None for one that no sample defines, as the phase of an estimate of zero."""
        return {
            "in_phase_mse": self._in_phase.mean,
            "amplitude_rmse": _root(self._amplitude.mean),
            "phase_rmse_degrees": _root(self._phase.mean),
        }


class _Squares:
    """The mean of squares."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, values: NDArray[np.float64]) -> None:
        self._sum += float(np.square(values).sum())
        self._count += values.size

    @property
    def mean(self) -> float | None:
        return self._sum / self._count if self._count else None


def _complex(signal: NDArray[np.floating]) -> NDArray[np.complex128]:
    """Returns quadrature + i in_phase, (count, window_length), whose angle is the phase of the sine."""
    in_phase, quadrature = signal.astype(np.float64).swapaxes(0, 1)
    numbers: NDArray[np.complex128] = quadrature + 1j * in_phase
    return numbers


def _root(square: float | None) -> float | None:
    return None if square is None else math.sqrt(square)
