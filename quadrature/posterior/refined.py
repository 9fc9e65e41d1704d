"""The posterior mean by cells found for each window from coarse to fine. numpy only.

The symbols are those of quadrature/posterior/mean.py and amplitude.py. Phase and frequency are cut into cells, each
represented by one wave, with

    residual = sum (window_i - likeliest sine_i)^2

weighted by the precision where windows hold more than a wave and white noise, and mass and moment of a cell as
quadrature/posterior/amplitude.py defines them:

    posterior mean of target_i = sum over cells (moment cosine_i) / sum over cells mass

and that of in_phase_i with sine_i. The width of a posterior is proportional to the noise, so small noise needs small
cells, of which few matter. They are found from coarse to fine: the cells of a coarse grid are weighed with the noise
that their width bears. Those less probable than the best cell by a factor of exp(-CUT) are dropped. The others are
halved along each axis and weighed with half that noise, until the noise is the true one. A weaker wave has a wider
posterior: its cells bear noise in proportion to their `likeliest` amplitude, and may settle before the last grid.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.amplitude import NODES, likeliest_amplitude, over_amplitude
from quadrature.posterior.cells import Cells, least_residual, split
from quadrature.posterior.covariance import energy_of
from quadrature.posterior.prior import Floats, Grid, Prior

CUT = 18.0
"""Cells less probable than the window's best cell by this many nats are dropped; exp(-18) is 1.5e-8."""

CHUNK = 2**20
"""Pairs of window and cell weighed at a time, at a few arrays of 8 bytes each."""

MAX_PAIRS = 2**22
"""Pairs that a chunk may reach as its cells are halved. Beyond, the windows of the chunk are split in two."""

MAX_CELLS = 2**20
"""Cells of the coarsest grid, at most."""


class PosteriorError(Exception):
    """The posterior mean needs too many waves. The message says why, and what to change."""


class Refined:
    """The posterior mean for windows drawn from `prior`; `spacing` scales the widths of the cells.

    Raises PosteriorError if the coarsest grid has more than MAX_CELLS cells.
    """

    def __init__(self, prior: Prior, spacing: float) -> None:
        self.prior = prior
        self.grids = prior.grids(spacing)
        self._coarse_cells = self.grids[0].phases * self.grids[0].frequencies
        if self._coarse_cells > MAX_CELLS:
            raise PosteriorError(
                f"it would take {self._coarse_cells:,} cells of phase and frequency, and {MAX_CELLS:,} are the most; "
                "lower generate.span, raise generate.rate, or narrow generate.frequency"
            )
        self.rows = max(1, CHUNK // self._coarse_cells)
        """Windows for one call of `estimate`."""

    def estimate(self, windows: NDArray[np.floating]) -> tuple[Floats, int]:
        """Returns the posterior means of windows, (count, 2, window_length), and the operations, approximately.

        Raises PosteriorError if the posterior of a window needs more than MAX_PAIRS cells.
        """
        samples = windows.astype(np.float64)
        window, middle, frequency = self._likely(self._weighted(samples))
        cells = self._weigh(samples, window, middle, frequency, self.grids[0])
        pairs, settled = len(window), []
        for grid, finer in itertools.pairwise(self.grids):
            # Cells that bear no more than the true noise are fine enough.
            wide = self._borne(cells.likeliest, grid) > self.prior.noise
            settled.append(cells.where(~wide))
            window, middle, frequency = split(cells.where(wide), grid, finer)
            pairs += len(window)
            if pairs > MAX_PAIRS:
                if len(windows) == 1:
                    raise PosteriorError(
                        f"a window's posterior fills more than {MAX_PAIRS:,} cells of phase and frequency; "
                        "raise generate.noise_std or generate.length"
                    )
                means, operations = zip(*map(self.estimate, np.array_split(windows, 2)), strict=True)
                return np.concatenate(means), sum(operations) + self._operations(len(windows), pairs, 0)
            cells = self._weigh(samples, window, middle, frequency, finer)
        settled.append(cells)
        cells = Cells._make(map(np.concatenate, zip(*settled, strict=True)))
        return self._mean(cells, len(windows)), self._operations(len(windows), pairs, len(cells.window))

    def _likely(self, windows: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Returns window, middle and frequency of the cells of the coarsest grid that may hold probability."""
        grid = self.grids[0]
        middle, frequency = self.prior.middles(grid)
        _, phase = self.prior.within(middle, grid)
        correlation, energy = np.empty((len(windows), len(phase))), np.empty(len(phase))
        width = max(1, CHUNK // len(self.prior.instants))
        for start in range(0, len(phase), width):
            block = slice(start, start + width)
            sine = np.sin(phase[block] + frequency[block] * self.prior.instants[:, None])  # (window_length, cells)
            np.matmul(windows, sine, out=correlation[:, block])
            np.square(sine, out=sine).sum(axis=0, out=energy[block])
        if self.prior.precision is not None:
            energy = energy_of(self.prior.instants, self.prior.precision, phase, frequency)
        likeliest = likeliest_amplitude(self.prior, correlation, energy)
        # gain = (sum window_i^2 - residual) / 2 = likeliest (correlation - likeliest energy / 2). Computed in place:
        # allocating arrays would dominate the time.
        gain = likeliest * energy
        gain *= -0.5
        gain += correlation
        gain *= likeliest
        loss = np.subtract(gain.max(axis=1, keepdims=True), gain, out=gain)
        window, cell = np.nonzero(loss <= CUT * np.square(self._borne(likeliest, grid)))
        return window, middle[cell], frequency[cell]

    def _weigh(self, windows: Floats, window: NDArray[np.intp], middle: Floats, frequency: Floats, grid: Grid) -> Cells:
        """Returns the cells that hold probability with the noise that the grid bears."""
        prior, phase = self.prior.within(middle, grid)
        compare = self._compare if self.prior.precision is None else self._compare_weighted
        likeliest, residual, slope, energy = compare(windows, window, phase, frequency)
        residual[prior == 0.0] = np.inf
        cells = Cells(window, middle, frequency, phase, prior, likeliest, residual, slope, energy)
        excess = residual - least_residual(cells, len(windows))
        return cells.where(excess <= 2.0 * CUT * np.square(self._borne(likeliest, grid)))

    def _compare(
        self, windows: Floats, window: NDArray[np.intp], phase: Floats, frequency: Floats
    ) -> tuple[Floats, ...]:
        """Returns likeliest, residual, slope and energy of pairs of window and wave, each (pairs,)."""
        correlation, energy, residual, slope, sample = np.zeros((5, len(window)))
        for column, (sine, _) in zip(windows.T, self._waves(phase, frequency), strict=True):
            np.take(column, window, out=sample, mode="clip")
            correlation += np.multiply(sample, sine, out=sample)
            energy += np.square(sine)
        likeliest = likeliest_amplitude(self.prior, correlation, energy)
        # A second pass: the difference of two large sums would lose the digits of a small noise.
        for column, (sine, _) in zip(windows.T, self._waves(phase, frequency), strict=True):
            np.take(column, window, out=sample, mode="clip")
            sample -= likeliest * sine
            slope += sample * sine
            residual += np.square(sample, out=sample)
        return likeliest, residual, slope, energy

    def _compare_weighted(
        self, windows: Floats, window: NDArray[np.intp], phase: Floats, frequency: Floats
    ) -> tuple[Floats, ...]:
        """Returns what _compare does, with sums weighted by the precision; MAX_EXPONENT keeps the digits."""
        assert self.prior.precision is not None  # noqa: S101, ours to keep
        weighted = self._weighted(windows)
        correlation, sample = np.zeros((2, len(window)))
        for column, (sine, _) in zip(weighted.T, self._waves(phase, frequency), strict=True):
            np.take(column, window, out=sample, mode="clip")
            correlation += np.multiply(sample, sine, out=sample)
        energy = energy_of(self.prior.instants, self.prior.precision, phase, frequency)
        likeliest = likeliest_amplitude(self.prior, correlation, energy)
        power = (weighted * windows).sum(axis=1)
        slope = correlation - likeliest * energy
        return likeliest, power[window] - likeliest * (correlation + slope), slope, energy

    def _weighted(self, windows: Floats) -> Floats:
        """Returns windows times the precision; windows themselves with white noise."""
        return windows if self.prior.precision is None else windows @ self.prior.precision

    def _waves(self, phase: Floats, frequency: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yields sine_i and cosine_i of the waves, (cells,), for each instant. The next one overwrites the arrays.

        Instants are equally spaced, so the argument advances by a constant step: by the addition theorems, without
        further calls of sin and cos.
        """
        instants = self.prior.instants
        argument, step = phase + frequency * instants[0], frequency * self.prior.step
        sine, cosine, turn_sine, turn_cosine = np.sin(argument), np.cos(argument), np.sin(step), np.cos(step)
        spare, other = np.empty((2, len(phase)))
        for _ in instants:
            yield sine, cosine
            np.multiply(sine, turn_sine, out=spare)
            np.multiply(cosine, turn_sine, out=other)
            sine *= turn_cosine
            sine += other
            cosine *= turn_cosine
            cosine -= spare

    def _borne(self, likeliest: Floats, grid: Grid) -> Floats:
        """Returns the noise that cells bear: the grid's, in proportion to amplitude, and at least the true noise."""
        return np.maximum(likeliest * (grid.noise / self.prior.amplitude.high), self.prior.noise)

    def _mean(self, cells: Cells, count: int) -> Floats:
        """Returns the posterior mean of the components of `count` windows, (count, 2, window_length)."""
        excess = cells.residual - least_residual(cells, count)
        near = excess <= 2.0 * CUT * self.prior.noise**2
        cells, excess = cells.where(near), excess[near]
        density = cells.prior * np.exp(-excess / (2.0 * self.prior.noise**2))
        mass, moment = over_amplitude(self.prior, density, cells.likeliest, cells.slope, cells.energy)
        total = np.bincount(cells.window, mass, count)
        mean = np.empty((count, 2, self.prior.length))
        for instant, components in enumerate(self._waves(cells.phase, cells.frequency)):
            for place, component in enumerate(components):
                mean[:, place, instant] = np.bincount(cells.window, moment * component, count) / total
        return mean

    def _operations(self, windows: int, pairs: int, settled: int) -> int:
        """Returns the approximate number of operations to weigh `pairs` cells and to integrate `settled` cells."""
        length = len(self.prior.instants)
        nodes = 1 if self.prior.has_constant_amplitude else NODES
        coarse = self._coarse_cells * (20 * length + windows * (length + 20))
        return coarse + 20 * pairs * (length + 8) + 20 * settled * nodes
