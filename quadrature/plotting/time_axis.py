"""The unit of instants and frequencies in the pictures: radians at frequency 1, or with a rate seconds and Hz."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrature.signals.params import GenerateParams


class TimeAxis(NamedTuple):
    """The axis of a window's instants, and how frequencies are written."""

    unit_angle: float  # radians that a wave of frequency 1 turns from the first sample to the last
    end: float  # instant of the last sample; that of the first is 0
    label: str
    frequency_label: str
    frequency_format: str

    @classmethod
    def of(cls, params: GenerateParams) -> "TimeAxis":
        """Returns the axis of windows drawn with these parameters."""
        if params.rate is None:
            angle = params.unit_angle
            return cls(angle, angle, "instant (radians, at frequency 1)", "frequency (relative)", "{:.2f}")
        seconds = (params.length - 1) / params.rate
        return cls(params.unit_angle, seconds, "instant (seconds)", "frequency (Hz)", "{:.4g} Hz")

    def instants(self, count: int) -> NDArray[np.float64]:
        """Returns equally spaced instants from the first sample to the last, (count,)."""
        return np.linspace(0.0, self.end, count)
