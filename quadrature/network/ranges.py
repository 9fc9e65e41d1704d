"""What training windows were like, by the network's own estimates of them: so that other signals can be told apart.

With in-phase component s and quadrature component c, estimates for the samples x of a window, and z = c + i s,

    amplitude   mean of |z|
    offset      mean of x - s
    noise       standard deviation of x - s
    frequency   angle of the sum of z[k + 1] conj(z[k]), radians a sample

A wave that the network has not learned shows as offset or noise, too: its estimate does not fit the samples. A network
that estimates the quadrature component alone has no s but x, so its offset and noise are 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from quadrature.runtime.settings import Section

OUTSIDE = 0.001
"""The share of the training windows below a range, and that above it."""

DIGITS = 4
"""Significant digits of a range in the model's file."""


class Range(NamedTuple):
    """Where a feature was in training."""

    low: float
    high: float


class Ranges(Section):
    """The range of each feature."""

    amplitude: Range
    offset: Range
    noise: Range
    frequency: Range

    @field_validator("*")
    @classmethod
    def _has_its_ends_in_order(cls, ends: Range) -> Range:
        if not ends.low <= ends.high:
            raise ValueError(f"its low end {ends.low:g} is above its high end {ends.high:g}")
        return ends


def features(windows: NDArray[np.floating], signal: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Returns the features of windows, (count, window_length), by their analytic signal, (count, 2, window_length)."""
    in_phase, quadrature = signal.astype(np.float64).swapaxes(0, 1)
    rest, z = windows - in_phase, quadrature + 1j * in_phase
    return {
        "amplitude": np.abs(z).mean(axis=1),
        "offset": rest.mean(axis=1),
        "noise": rest.std(axis=1),
        "frequency": np.angle((z[:, 1:] * z[:, :-1].conj()).sum(axis=1)),
    }


def measure(windows: NDArray[np.floating], signal: NDArray[np.floating]) -> Ranges:
    """Returns the range of each feature, without the most extreme windows."""
    ends = {name: np.quantile(each, (OUTSIDE, 1.0 - OUTSIDE)) for name, each in features(windows, signal).items()}
    return Ranges(**{name: Range(*(float(f"{end:.{DIGITS}g}") for end in both)) for name, both in ends.items()})
