"""The prior distribution of a window's wave, and grids of cells over phase and frequency. numpy only.

The symbols are those of quadrature/posterior/mean.py and covariance.py. A cell is fit for a noise if its widths are at
most the Cramer-Rao bounds of phase and of frequency, each with the other parameters known, for the highest amplitude:

    phase_width     = noise / (amplitude.high sqrt(window_length))
    frequency_width = noise / (amplitude.high sqrt(sum_i instant_i^2))

Neither width changes the argument of the sine by more than half a radian. The bounds hold for any phase: they replace
cos^2 by 1 in the Fisher information (Kay, Fundamentals of Statistical Signal Processing: Estimation Theory, 1993,
chapter 3). Where a window holds more than a wave and white noise, sums over i are weighted by the precision.

Amplitudes, noise and disturbances are in units of the highest amplitude, so that the posterior does not depend on the
signal's unit and no square leaves the range of float32. quadrature/posterior/mean.py divides the windows by `scale`.
"""

import copy
import math
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.covariance import (
    MAX_EXPONENT,
    information,
    largest_sample,
    precision_of,
    relative_covariance,
    why_unknown,
)
from quadrature.signals.params import GenerateParams, in_units
from quadrature.signals.waves import bend

Floats = NDArray[np.float64]

COARSE_CELLS = 2**15
"""Cells of the coarsest grid, at most, unless the limit of half a radian requires more."""

PRIOR_PHASES = 2**20
"""Consecutive windows whose phases make the discrete prior, at most. Only these windows can have a floor."""


class Grid(NamedTuple):
    """Cells of one size over all phases and frequencies."""

    noise: float  # that the cells are fit for
    phases: int  # cells along phase
    frequencies: int  # cells along frequency
    phase_width: float  # radians
    frequency_width: float  # radians per radian; 0 for a constant frequency


class Prior:
    """The distribution of the waves in a split of `windows` windows, and of what disturbs these."""

    def __init__(self, params: GenerateParams, windows: int) -> None:
        # Windows are stored as float32. The rounding is noise too, uniform within half a unit in the last place.
        self.scale = params.amplitude.high
        """The highest amplitude, in the signal's unit. It is not 0."""
        params = in_units(params, self.scale)
        self.largest = largest_sample(params)
        rounding = self.largest * 2.0**-24 / math.sqrt(12.0)
        self.noise = math.hypot(params.noise_std, rounding)
        self.unknown = why_unknown(params)  # why the posterior mean is not computed; None if it is
        self.covariance = relative_covariance(params, self.noise)  # without harmonics; None for white noise alone
        self.harmonics = np.array(params.harmonics, np.float64)  # standard deviations, relative to the amplitude
        self.amplitude = params.amplitude
        self.frequency = params.frequency
        self.instants = np.linspace(0.0, params.unit_angle, params.length)  # of the samples, radians at frequency 1
        self.step = params.unit_angle / (params.length - 1)  # from one instant to the next
        self.chirp = params.chirp
        self.bend = bend(params.length, params.unit_angle)  # added to an instant by a chirp of 1
        self.phases: Floats | None = None
        if params.phase == "consecutive":
            starts = params.unit_angle * np.arange(min(windows, PRIOR_PHASES))
            self.phases = np.sort(np.mod(starts, 2.0 * np.pi))
            self._sums = np.concatenate([[0.0], np.cumsum(self.phases)])
        else:
            self._center()
        self._weigh()

    def _weigh(self) -> None:
        """Computes the precision, and the information on phase, frequency and chirp."""
        self.precision: Floats | None = None
        self._least_variance = 1.0  # of any direction in the space of windows, relative to noise^2
        self._information = float(self.length), float(np.square(self.instants).sum()), 0.0
        if self.covariance is not None and self.unknown is None:
            self._least_variance = float(np.linalg.eigvalsh(self.covariance)[0])
            if self.exponent > MAX_EXPONENT:
                self.unknown = "the disturbances are too large beside the noise; raise generate.noise_std"
                return
            self.precision = precision_of(self.covariance)
            self._information = information(self, self.precision)

    def _center(self) -> None:
        """Measures instants from the middle, where the posteriors of phase and frequency are uncorrelated.

        A uniform phase is uniform at any instant.
        """
        self.instants -= self.instants.mean()
        self.bend -= self.bend.mean()

    def prefix(self, length: int) -> Self:
        """Returns the prior of the first `length` samples of a window."""
        prior = copy.copy(self)
        prior.instants, prior.bend = self.instants[:length].copy(), self.bend[:length].copy()
        if self.phases is None:
            prior._center()
        if self.covariance is not None:
            prior.covariance = self.covariance[:length, :length]
        prior._weigh()
        return prior

    @property
    def length(self) -> int:
        """The number of samples in a window."""
        return len(self.instants)

    @property
    def has_constant_amplitude(self) -> bool:
        """Whether amplitude is known."""
        return self.amplitude.low == self.amplitude.high

    @property
    def has_harmonics(self) -> bool:
        """Whether the precision depends on frequency."""
        return bool(self.harmonics.any())

    @property
    def needs_dense(self) -> bool:
        """Whether only posterior/dense.py computes the posterior mean."""
        return self.has_harmonics or self.chirp > 0.0

    @property
    def exponent(self) -> float:
        """About the largest logarithm of a likelihood, which decides how many digits the computation needs."""
        if self._least_variance <= 0.0:  # by rounding
            return math.inf
        return self.length * (self.largest / self.noise) ** 2 / 2.0 / self._least_variance

    @property
    def least_deviations(self) -> tuple[float, float]:
        """The least standard deviations of phase and frequency: their Cramer-Rao bounds, at most half a radian."""
        return self._deviations(self.noise)

    @property
    def least_chirp_deviation(self) -> float:
        """The least standard deviation of chirp, which changes no argument by more than half a radian."""
        norm, most = math.sqrt(self._information[2]), self.frequency.high * float(np.abs(self.bend).max())
        return min(self.noise / self.amplitude.high / norm, 0.5 / most) if norm and most else math.inf

    def grids(self, spacing: float) -> list[Grid]:
        """Returns grids from the coarsest to the finest; the finest is fit for the true noise.

        Each grid halves the cells of the one before along phase, along frequency, or both. `spacing` scales all widths.
        """
        noises = [self.noise]
        while math.prod(counts := self._counts(noises[0], spacing)) > COARSE_CELLS:
            if self._counts(2.0 * noises[0], spacing) == counts:
                break
            noises.insert(0, 2.0 * noises[0])
        grids = []
        phases, frequencies = counts
        for noise in noises:
            most_phases, most_frequencies = self._counts(noise, spacing)
            phases *= 2 if phases < most_phases else 1
            frequencies *= 2 if frequencies < most_frequencies else 1
            spread = self.frequency.high - self.frequency.low
            grids.append(Grid(noise, phases, frequencies, 2.0 * np.pi / phases, spread / frequencies))
        return grids

    def middles(self, grid: Grid) -> tuple[Floats, Floats]:
        """Returns phase and frequency of the middle of each cell with prior probability, both (cells,)."""
        phase = grid.phase_width * (np.arange(grid.phases, dtype=np.float64) + 0.5)
        phase = phase[self.within(phase, grid)[0] > 0.0]
        frequency = self.frequency.low + grid.frequency_width * (np.arange(grid.frequencies, dtype=np.float64) + 0.5)
        phases, frequencies = np.meshgrid(phase, frequency)
        return phases.ravel(), frequencies.ravel()

    def within(self, middle: Floats, grid: Grid) -> tuple[Floats, Floats]:
        """Returns the prior probability of cells, up to a common factor, and the mean phase within them.

        `middle` is the phase of the middle of each cell, (cells,); so are the results.
        """
        if self.phases is None:
            return np.full(len(middle), grid.phase_width * (grid.frequency_width or 1.0)), middle
        # Edges are multiples of the width: neighbouring cells, and cells of two grids, share an edge bit for bit.
        number = np.rint(middle / grid.phase_width - 0.5)
        first = np.searchsorted(self.phases, grid.phase_width * number)
        last = np.searchsorted(self.phases, grid.phase_width * (number + 1.0))
        last[number == grid.phases - 1.0] = len(self.phases)
        count = last - first
        mean = (self._sums[last] - self._sums[first]) / np.maximum(count, 1)
        return count.astype(np.float64) * (grid.frequency_width or 1.0), np.where(count > 0, mean, middle)

    def _counts(self, noise: float, spacing: float) -> tuple[int, int]:
        """Returns the numbers of cells along phase and along frequency that are fit for a noise."""
        phase, frequency = self._deviations(noise)
        if self.phases is not None:
            phase /= 2.0  # the mean of a few discrete phases represents a cell less well than the mean of a density
        spread = self.frequency.high - self.frequency.low
        return (
            math.ceil(2.0 * np.pi / (spacing * phase)),
            max(math.ceil(4.0 / spacing), math.ceil(spread / (spacing * frequency))) if spread else 1,
        )

    def _deviations(self, noise: float) -> tuple[float, float]:
        bound = noise / self.amplitude.high
        farthest = float(np.abs(self.instants).max())  # 0 for a single sample, which says nothing of frequency
        phase, frequency, _ = map(math.sqrt, self._information)
        return min(bound / phase, 0.5), min(bound / frequency, 0.5 / farthest) if farthest else math.inf
