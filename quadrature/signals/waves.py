"""Windows of sine and cosine, drawn from the priors in the `generate` section of params.yaml.

A window holds `length` samples of one wave at equally spaced instants. The input is amplitude * sin(angle) plus noise,
the target amplitude * cos(angle). The angle of sample i is phase + frequency * unit_angle * i / (length - 1), without
chirp, where unit_angle is `span`, or 2 pi (length - 1) / rate, which makes frequency the number of periods a second.
quadrature/signals/disturbances.py draws what else the input may hold. It needs only numpy; files and networks are left
to other modules.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from quadrature.runtime.params import Seed
from quadrature.runtime.settings import Section
from quadrature.signals.disturbances import draw_harmonics, draw_noise, drift_shape

SPLITS = ("train", "validation", "test")
"""The parts of the data set; a split's index here selects its stream of random numbers."""

MAX_SHARD_SAMPLES = 2**24
"""Largest number of samples in a shard, which is drawn in memory at about 16 bytes per sample."""

_BLOCK = 2**16  # samples computed at a time, which fit a processor's cache

MAX_SHARDS = 2**24
"""Largest number of shards in a split; their sizes are held in memory."""

LEAST, MOST = 1e-30, 1e30
"""Bounds of every magnitude except zero, in any unit.

Windows are stored as float32, whose normal numbers go from 1.2e-38 to 3.4e38. So there is room for a sample that is a
ten-millionth of its amplitude, and for noise of many standard deviations. Errors are squared in float64.
"""

MAX_ANGLE = 1e12
"""Largest angle between the first and the last sample, in radians; float64 then still resolves 1e-4 of a radian."""


def _is_zero_or_within_bounds(value: float) -> float:
    if value != 0.0 and not LEAST <= value <= MOST:
        raise ValueError(f"it should be 0, or from {LEAST:g} to {MOST:g}")
    return value


def _is_within_bounds(value: float) -> float:
    if not LEAST <= value <= MOST:
        raise ValueError(f"it should be from {LEAST:g} to {MOST:g}")
    return value


Magnitude = Annotated[float, AfterValidator(_is_zero_or_within_bounds)]
PositiveMagnitude = Annotated[float, AfterValidator(_is_within_bounds)]
WindowCount = Annotated[int, Field(ge=1, le=10**12)]


class Range(Section):
    """A uniform distribution; equal bounds make a constant."""

    low: Magnitude
    high: Magnitude

    @field_validator("high")
    @classmethod
    def _is_not_below_low(cls, high: float, info: ValidationInfo) -> float:
        if high < info.data.get("low", high):
            raise ValueError(f"it should not be below low, {info.data['low']}")
        return high


class SplitSizes(Section):
    """The number of windows in each split."""

    train: WindowCount
    validation: WindowCount
    test: WindowCount


class GenerateParams(Section):
    """The `generate` section: the number of windows and their distribution."""

    seed: Seed
    windows: SplitSizes
    shard_windows: Annotated[int, Field(ge=1, le=2**20)]  # windows per file
    length: Annotated[int, Field(ge=2, le=2**11)]  # samples per window; least squares holds 72 * length**2 bytes
    span: PositiveMagnitude | None  # radians from first to last sample, at frequency 1; null: rate is set
    rate: PositiveMagnitude | None  # samples a second, and frequency is in Hz; null: span is set
    phase: Literal["uniform", "consecutive"]
    frequency: Range
    amplitude: Range
    noise_std: Magnitude
    noise_color: Annotated[float, Field(ge=0.0, le=2.0)]  # exponent of the noise's power spectrum, 1 / f^noise_color
    offset_std: Magnitude  # of a constant added to a window
    drift_std: Magnitude  # of a slope added to a window: its change from the first sample to the last
    harmonics: Annotated[list[Magnitude], Field(max_length=16)]  # of the 2nd, 3rd ... harmonic's components / amplitude
    chirp: Annotated[float, Field(ge=0.0, le=1.0)]  # largest change of a wave's frequency over the window / frequency

    @property
    def unit_angle(self) -> float:
        """Radians that a wave of frequency 1 turns from the first sample to the last."""
        return _unit_angle(self.length, self.span, self.rate)

    @field_validator("rate")
    @classmethod
    def _takes_the_place_of_span(cls, rate: float | None, info: ValidationInfo) -> float | None:
        if "span" in info.data and (rate is None) == (info.data["span"] is None):
            if rate is None:
                raise ValueError("so is span; set one of them")
            raise ValueError("span is set, too; make one of them null")
        return rate

    @field_validator("phase")
    @classmethod
    def _is_counted_in_spans(cls, phase: str, info: ValidationInfo) -> str:
        if phase == "consecutive" and info.data.get("rate") is not None:
            raise ValueError("window k then starts at k * span; set span in place of rate, or choose uniform")
        return phase

    @field_validator("frequency")
    @classmethod
    def _angles_are_resolved(cls, frequency: Range, info: ValidationInfo) -> Range:
        if {"length", "span", "rate"} <= info.data.keys():
            angle = frequency.high * _unit_angle(info.data["length"], info.data["span"], info.data["rate"])
            if angle > MAX_ANGLE:
                raise ValueError(f"a window then turns by {angle:.3g} radians; at most {MAX_ANGLE:g} are allowed")
        return frequency

    @field_validator("shard_windows")
    @classmethod
    def _shards_can_be_counted(cls, shard_windows: int, info: ValidationInfo) -> int:
        for split, windows in info.data.get("windows", ()):
            if (shards := -(-windows // shard_windows)) > MAX_SHARDS:
                raise ValueError(f"it makes {shards:,} shards of windows.{split}; at most {MAX_SHARDS:,} are allowed")
        return shard_windows

    @field_validator("length")
    @classmethod
    def _shard_fits_memory(cls, length: int, info: ValidationInfo) -> int:
        samples = length * info.data.get("shard_windows", 1)
        if samples > MAX_SHARD_SAMPLES:
            raise ValueError(
                f"times shard_windows it makes {samples:,} samples; at most {MAX_SHARD_SAMPLES:,} fit in memory"
            )
        return length


def _unit_angle(length: int, span: float | None, rate: float | None) -> float:
    if rate is not None:
        return 2.0 * math.pi * (length - 1) / rate
    assert span is not None  # noqa: S101, a validator holds it
    return span


def sine_and_cosine(
    phase: NDArray[np.float64],
    frequency: NDArray[np.float64],
    length: int,
    unit_angle: float,
    chirp: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the sine and the cosine of each wave at `length` equally spaced instants.

    phase, frequency and chirp are (count,), phase in radians; a wave of frequency 1 turns by `unit_angle` radians in
    all. Results are (count, length) float64. A chirp of c changes the frequency linearly from frequency * (1 - c / 2)
    at the first sample to frequency * (1 + c / 2) at the last.
    """
    angle = phase[:, None] + frequency[:, None] * np.linspace(0.0, unit_angle, length)
    if chirp is not None:
        angle += (frequency * chirp)[:, None] * bend(length, unit_angle)
    return np.sin(angle), np.cos(angle)


def in_units(params: GenerateParams, scale: float) -> GenerateParams:
    """Returns the parameters of the same windows divided by `scale`."""
    ends = {name: getattr(params.amplitude, name) / scale for name in ("low", "high")}
    stds = {name: getattr(params, name) / scale for name in ("noise_std", "offset_std", "drift_std")}
    return params.model_copy(update={"amplitude": params.amplitude.model_copy(update=ends), **stds})


def bend(length: int, unit_angle: float) -> NDArray[np.float64]:
    """Returns what a chirp of 1 adds to the angle of each sample of a wave of frequency 1, in radians."""
    passed = np.linspace(0.0, 1.0, length)
    return 0.5 * unit_angle * passed * (passed - 1.0)


def draw_shard(params: GenerateParams, split: str, shard: int) -> Mapping[str, NDArray[np.floating]]:
    """Draws the windows of one shard of a split, a pure function of the arguments.

    Returns the columns of the parquet file: input, target and in_phase (count, length) float32, phase in radians,
    frequency and amplitude (count,) float64. The target is the wave's quadrature component, in_phase the wave without
    noise or disturbance. Each quantity has its own random stream, so the last shard of a smaller split holds the
    first windows of the full shard.
    """
    first = shard * params.shard_windows
    count = min(params.shard_windows, getattr(params.windows, split) - first)
    sequence = np.random.SeedSequence(params.seed, spawn_key=(SPLITS.index(split), shard))
    streams = [np.random.default_rng(child) for child in sequence.spawn(8)]
    phases, frequencies, amplitudes, noises, offsets, drifts, harmonics, chirps = streams

    if params.phase == "consecutive":
        phase = params.unit_angle * np.arange(first, first + count, dtype=np.float64)
    else:
        phase = phases.uniform(0.0, 2.0 * np.pi, count)
    frequency = frequencies.uniform(params.frequency.low, params.frequency.high, count)
    amplitude = amplitudes.uniform(params.amplitude.low, params.amplitude.high, count)

    samples, target, in_phase = (np.empty((count, params.length), np.float32) for _ in range(3))
    for block in _blocks(count, params.length):
        waves = phase[block], frequency[block]
        chirp = chirps.uniform(-params.chirp, params.chirp, len(waves[0])) if params.chirp else None
        sine, cosine = sine_and_cosine(*waves, params.length, params.unit_angle, chirp)
        in_phase[block] = amplitude[block, None] * sine
        if params.harmonics:
            sine += draw_harmonics(harmonics, sine, cosine, params.harmonics)
        sine *= amplitude[block, None]
        cosine *= amplitude[block, None]
        if params.noise_std:
            sine += params.noise_std * draw_noise(noises, sine.shape, params.noise_color)
        if params.offset_std:
            sine += params.offset_std * offsets.standard_normal((len(sine), 1))
        if params.drift_std:
            sine += params.drift_std * drifts.standard_normal((len(sine), 1)) * drift_shape(params.length)
        samples[block], target[block] = sine, cosine
    numbers = {"phase": phase, "frequency": frequency, "amplitude": amplitude}
    return {"input": samples, "target": target, **numbers, "in_phase": in_phase}


def shard_count(params: GenerateParams, split: str) -> int:
    """Returns the number of files of a split."""
    return -(-int(getattr(params.windows, split)) // params.shard_windows)


def _blocks(count: int, length: int) -> Iterator[slice]:
    """Yields slices of windows that fit the processor's cache."""
    size = max(1, _BLOCK // length)
    for first in range(0, count, size):
        yield slice(first, first + size)
