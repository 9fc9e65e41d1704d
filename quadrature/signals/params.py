"""The `generate` section of params.yaml: the number of windows, and the priors that they are drawn from.

With `source` the windows are one's own instead, and no prior is known: quadrature/tables/source.py.
"""

import math
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from quadrature.runtime.params import Seed
from quadrature.runtime.settings import Section

SOURCES = PurePosixPath("data/source")
"""The folder of one's own windows. DVC watches it: the stage `generate` depends on it."""

SPLITS = ("train", "validation", "test")
"""The parts of the data set; a split's index here selects its stream of random numbers."""

MAX_SHARD_SAMPLES = 2**24
"""Largest number of samples in a shard, which is drawn in memory at about 16 bytes per sample."""

MAX_SHARDS = 2**24
"""Largest number of shards in a split; their sizes are held in memory."""

LEAST, MOST = 1e-30, 1e30
"""Bounds of every magnitude except zero, in any unit.

Windows are stored as float32, whose normal numbers go from 1.2e-38 to 3.4e38. So there is room for a sample that is a
ten-millionth of its amplitude, and for noise of many standard deviations. Errors are squared in float64.
"""

MAX_ANGLE = 1e12
"""Largest angle of a window's samples, and of consecutive windows' starts, in radians; float64 then resolves 1e-4."""


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

    source: str | None  # a file or folder of one's own windows, or a recording; null: windows are drawn
    hop: Annotated[int, Field(ge=1, le=2**24)] | None  # rows from a recording's window to the next; null: no recording
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

    @field_validator("source")
    @classmethod
    def _is_watched(cls, source: str | None) -> str | None:
        path = PurePosixPath(source or SOURCES / "file")
        if not path.is_relative_to(SOURCES) or ".." in path.parts or source == "":
            raise ValueError(f"it should begin with {SOURCES}/, a folder that DVC watches; copy the file there")
        return source

    @field_validator("hop")
    @classmethod
    def _is_of_a_source(cls, hop: int | None, info: ValidationInfo) -> int | None:
        if hop is not None and info.data.get("source", "") is None:
            raise ValueError("it is for a recording, and source is null; set source, or make hop null")
        return hop

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
        if phase == "consecutive" and {"windows", "span"} <= info.data.keys():
            last = max(size for _, size in info.data["windows"]) * info.data["span"]
            if last > MAX_ANGLE:
                raise ValueError(
                    f"the last window then starts at {last:.3g} radians; at most {MAX_ANGLE:g} are allowed"
                )
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


def in_units(params: GenerateParams, scale: float) -> GenerateParams:
    """Returns the parameters of the same windows divided by `scale`."""
    ends = {name: getattr(params.amplitude, name) / scale for name in ("low", "high")}
    stds = {name: getattr(params, name) / scale for name in ("noise_std", "offset_std", "drift_std")}
    return params.model_copy(update={"amplitude": params.amplitude.model_copy(update=ends), **stds})
