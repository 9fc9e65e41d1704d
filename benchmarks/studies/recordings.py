"""The signals of docs/real-signals.md, and the `generate` section of params.yaml for windows like each of them.

Two are simulated, so that their phase is known. Of the two recordings it is not: estimates are compared with a
band-pass filter that runs over the whole recording, forward and backward, and its Hilbert transform.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import signal

from benchmarks.processes import PROJECT

FOLDER = PROJECT / "docs/real-signals"

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


class Recording(NamedTuple):
    """Samples, and the complex wave that estimates are compared with: its angle is the phase of the sine."""

    samples: Floats
    truth: Complexes


class Example(NamedTuple):
    """A signal, and the `generate` section for windows like it."""

    title: str
    unit: str
    time: str  # the unit of time: rate is in samples for each
    frequency: float  # nominal, for estimators that need one
    record: Callable[["Example"], Recording]
    generate: Mapping[str, object]

    @property
    def length(self) -> int:
        return int(str(self.generate["length"]))

    @property
    def rate(self) -> float:
        return float(str(self.generate["rate"]))

    @property
    def turn(self) -> float:
        """The nominal frequency, in radians a sample."""
        return 2.0 * math.pi * self.frequency / self.rate


def mains(example: Example, count: int = 3000) -> Recording:
    """Mains voltage whose frequency wanders about 50 Hz, with a third and a fifth harmonic."""
    random = np.random.default_rng(0)
    wander = signal.lfilter([1.0], [1.0, -0.999], random.standard_normal(count))
    frequency = 50.0 + 0.4 * wander / np.abs(wander).max()
    angle = 2.0 * np.pi * np.cumsum(frequency) / example.rate
    amplitude = 325.0 + 10.0 * np.sin(np.arange(count) / 400.0)
    harmonics = 0.04 * np.sin(3.0 * angle + 0.4) + 0.03 * np.sin(5.0 * angle + 2.0)
    samples = amplitude * (np.sin(angle) + harmonics) + 5.0 * random.standard_normal(count)
    return Recording(samples, amplitude * np.exp(1j * angle))


def pulse(example: Example, count: int = 3000) -> Recording:
    """A pulse wave in counts of a converter: steep beats, whose rate and height follow the breath."""
    random = np.random.default_rng(1)
    seconds = np.arange(count) / example.rate
    breath = np.sin(2.0 * np.pi * 0.25 * seconds)
    angle = 2.0 * np.pi * np.cumsum(1.2 + 0.15 * breath + 0.2 * np.sin(seconds / 17.0)) / example.rate
    amplitude = 100.0 + 10.0 * breath
    shape = np.sin(angle) + 0.5 * np.sin(2.0 * angle + 0.8) + 0.2 * np.sin(3.0 * angle + 1.9)
    samples = 512.0 + 25.0 * breath + amplitude * shape + 8.0 * random.standard_normal(count)
    return Recording(np.round(samples), amplitude * np.exp(1j * angle))


def sunspots(example: Example) -> Recording:
    """The yearly number of sunspots, 1700 to 2008 (NOAA, in the public domain)."""
    samples = pd.read_csv(FOLDER / "sunspots.csv")["sunspots"].to_numpy(np.float64)
    return Recording(samples, band_pass(samples, example.rate, 0.06, 0.13))


def carbon(example: Example) -> Recording:
    """The carbon dioxide at Mauna Loa, 1958 to 2001, every four weeks without its trend (Keeling and Whorf)."""
    weekly = pd.read_csv(FOLDER / "co2.csv")["ppm"]
    monthly = weekly.groupby(weekly.index // 4).mean().interpolate().to_numpy()
    years = np.arange(len(monthly)) / example.rate
    samples = monthly - np.polyval(np.polyfit(years, monthly, 2), years)
    return Recording(samples, band_pass(samples, example.rate, 0.7, 1.4))


def band_pass(samples: Floats, rate: float, low: float, high: float) -> Complexes:
    """Returns the wave within a band, without delay: a Butterworth filter forward and backward."""
    sections = signal.butter(2, [low, high], "bandpass", fs=rate, output="sos")
    return np.asarray(1j * signal.hilbert(signal.sosfiltfilt(sections, samples)), np.complex128)


EXAMPLES = {
    "mains": Example(
        "Mains voltage, simulated", "V", "s", 50.0, mains,
        {
            "rate": 1000.0, "length": 20, "frequency": {"low": 49.0, "high": 51.0},
            "amplitude": {"low": 300.0, "high": 350.0}, "noise_std": 5.0, "harmonics": [0.0, 0.03, 0.0, 0.03],
        },
    ),
    "pulse": Example(
        "Pulse wave, simulated", "counts", "s", 1.2, pulse,
        {
            "rate": 25.0, "length": 40, "frequency": {"low": 0.8, "high": 2.0},
            "amplitude": {"low": 70.0, "high": 130.0}, "noise_std": 8.0, "offset_std": 40.0, "harmonics": [0.4, 0.2],
        },
    ),
    "sunspots": Example(
        "Sunspots, recorded", "number", "years", 1.0 / 11.0, sunspots,
        {
            "rate": 1.0, "length": 16, "frequency": {"low": 0.07, "high": 0.12},
            "amplitude": {"low": 15.0, "high": 90.0}, "noise_std": 12.0, "offset_std": 60.0, "drift_std": 20.0,
            "harmonics": [0.2],
        },
    ),
    "co2": Example(
        "Carbon dioxide, recorded", "ppm", "years", 1.0, carbon,
        {
            "rate": 13.045, "length": 14, "frequency": {"low": 0.95, "high": 1.05},
            "amplitude": {"low": 2.0, "high": 4.0}, "noise_std": 0.4, "offset_std": 1.5, "drift_std": 1.0,
            "harmonics": [0.3],
        },
    ),
}  # fmt: skip
