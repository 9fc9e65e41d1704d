"""Windows of sine and cosine, drawn from the priors in the `generate` section of params.yaml.

A window holds `length` samples of one wave at equally spaced instants. The input is amplitude * sin(angle) plus noise,
the target amplitude * cos(angle). The angle of sample i is phase + frequency * unit_angle * i / (length - 1), without
chirp, where unit_angle is `span`, or 2 pi (length - 1) / rate, which makes frequency the number of periods a second.
quadrature/signals/disturbances.py draws what else the input may hold. It needs only numpy; files and networks are left
to other modules.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from quadrature.signals.disturbances import draw_harmonics, draw_noise, drift_shape
from quadrature.signals.params import SPLITS, GenerateParams

_BLOCK = 2**16  # samples computed at a time, which fit a processor's cache


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
