"""What is known of a window's wave before the window is seen, and grids of cells over it. numpy only.

The wave is amplitude * sin(phase + frequency * instant). Phase and frequency are cut into cells; amplitude, of which
a cell's likelihood is a normal density, is integrated within each.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrature.signals.waves import GenerateParams

Floats = NDArray[np.float64]

COARSE_CELLS = 2**15
"""Cells of the coarsest grid, at most, unless the wave's turning within a cell asks for more whatever the noise."""

PRIOR_PHASES = 2**20
"""Consecutive windows whose phases make a discrete prior; what builds on it is for windows among these."""


class Grid(NamedTuple):
    """Cells of one size: the noise they are fit for, how many there are in phase and in frequency, and their widths.

    The widths are in radians, and in radians per radian; a single frequency is a cell of width 0.
    """

    noise: float
    phases: int
    frequencies: int
    phase_width: float
    frequency_width: float


class Prior:
    """The distribution that `params` draws the test split's waves from, and the noise in their windows."""

    def __init__(self, params: GenerateParams) -> None:
        # Windows are stored in float32; its rounding, uniform within half a unit in the last place, is noise too.
        rounding = params.amplitude.high * 2.0**-24 / math.sqrt(12.0)
        self.noise = math.hypot(params.noise_std, rounding)
        self.amplitude = params.amplitude
        self.frequency = params.frequency
        self.instants = np.linspace(0.0, params.span, params.length)
        self.phases: Floats | None = None
        if params.phase == "consecutive":
            starts = params.span * np.arange(min(params.windows.test, PRIOR_PHASES))
            self.phases = np.sort(np.mod(starts, 2.0 * np.pi))
            self._sums = np.concatenate([[0.0], np.cumsum(self.phases)])
        else:
            # Phase is uniform at any instant; at the middle one it is uncorrelated with frequency.
            self.instants -= params.span / 2.0

    def grids(self, spacing: float) -> list[Grid]:
        """Returns grids from the coarsest to the finest, which is fit for the true noise; each halves the one before.

        A cell fit for a noise is as wide, times `spacing`, as the Cramer-Rao bound on phase or on frequency alone for
        a wave of the highest amplitude, and at most so wide that it turns the wave's argument by half a radian.
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
        """Returns the phase and the frequency of the middle of each cell that the prior allows, both (cells,)."""
        phase = grid.phase_width * (np.arange(grid.phases, dtype=np.float64) + 0.5)
        phase = phase[self.within(phase, grid)[0] > 0.0]
        frequency = self.frequency.low + grid.frequency_width * (np.arange(grid.frequencies, dtype=np.float64) + 0.5)
        phases, frequencies = np.meshgrid(phase, frequency)
        return phases.ravel(), frequencies.ravel()

    def within(self, middle: Floats, grid: Grid) -> tuple[Floats, Floats]:
        """Returns how probable the cells around some phases are, up to a common factor, and their mean phase."""
        if self.phases is None:
            return np.full(len(middle), grid.phase_width * (grid.frequency_width or 1.0)), middle
        # A cell's edges are multiples of the width, so that neighbours, and grids, agree on each edge to the bit.
        number = np.rint(middle / grid.phase_width - 0.5)
        first = np.searchsorted(self.phases, grid.phase_width * number)
        last = np.searchsorted(self.phases, grid.phase_width * (number + 1.0))
        last[number == grid.phases - 1.0] = len(self.phases)
        count = last - first
        mean = (self._sums[last] - self._sums[first]) / np.maximum(count, 1)
        return count.astype(np.float64) * (grid.frequency_width or 1.0), np.where(count > 0, mean, middle)

    def _counts(self, noise: float, spacing: float) -> tuple[int, int]:
        """Returns how many cells of phase and of frequency are fit for a noise."""
        bound = noise / self.amplitude.high
        phase = min(bound / math.sqrt(len(self.instants)), 0.5)
        if self.phases is not None:
            phase /= 2.0  # a cell's mean stands for a few discrete phases, which is coarser than for a density
        frequency = min(bound / math.sqrt(np.square(self.instants).sum()), 0.5 / np.abs(self.instants).max())
        spread = self.frequency.high - self.frequency.low
        return (
            math.ceil(2.0 * np.pi / (spacing * phase)),
            max(math.ceil(4.0 / spacing), math.ceil(spread / (spacing * frequency))) if spread else 1,
        )
