"""The posterior mean of the target given the noisy window: the estimate with the least expected error. numpy only.

Model. With instant_i the instants of a window, i = 1 ... window_length, and e_i independent standard normal numbers,

    window_i = amplitude sin(phase + frequency instant_i) + noise e_i          input
    target_i = amplitude cos(phase + frequency instant_i)

with the prior of quadrature/scoring/prior.py: frequency and amplitude are uniform, phase is uniform or one of a known
list. Under this prior no estimate has a smaller expected squared error than the posterior mean of the target (Kay,
Fundamentals of Statistical Signal Processing: Estimation Theory, 1993, chapter 10).

Cells. Phase and frequency are cut into cells, each represented by one wave. With sine_i and cosine_i those of the
wave's argument, and all sums over i,

    correlation = sum window_i sine_i
    energy      = sum sine_i^2
    likeliest   = correlation / energy, clipped to the range of amplitude
    residual    = sum (window_i - likeliest sine_i)^2
    slope       = sum (window_i - likeliest sine_i) sine_i

the sum of squares at another amplitude is, with step = amplitude - likeliest,

    squares(amplitude) = residual - 2 step slope + step^2 energy

Amplitude is integrated out of each cell. Its posterior is a normal distribution truncated to its range, integrated by
Gauss-Legendre quadrature (Abramowitz and Stegun, Handbook of Mathematical Functions, 25.4.30) over at most 7 standard
deviations, noise / sqrt(energy), either side of `likeliest`. A constant amplitude needs no integral:

    mass   = prior * integral           exp(-squares(amplitude) / (2 noise^2)) d amplitude
    moment = prior * integral amplitude exp(-squares(amplitude) / (2 noise^2)) d amplitude

    posterior mean of target_i = sum over cells (moment cosine_i) / sum over cells mass

Refinement. The width of a posterior is proportional to the noise, so small noise needs small cells, of which few
matter. They are found from coarse to fine: the cells of a coarse grid are weighed with the noise that their width
bears. Those less probable than the best cell by a factor of exp(-CUT) are dropped. The others are halved along each
axis and weighed with half that noise, until the noise is the true one. A weaker wave has a wider posterior: its cells
bear noise in proportion to their `likeliest` amplitude, and may settle before the last grid.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quadrature.scoring.cells import Cells, least_residual, split
from quadrature.scoring.prior import Floats, Grid, Prior

CUT = 18.0
"""Cells less probable than the window's best cell by this many nats are dropped; exp(-18) is 1.5e-8."""

CHUNK = 2**20
"""Pairs of window and cell weighed at a time, at a few arrays of 8 bytes each."""

MOST_PAIRS = 2**22
"""Pairs that a chunk may reach as its cells are halved. Beyond, the windows of the chunk are split in two."""

MOST_WORKERS = 4
"""Threads that weigh chunks at the same time, at most; each needs memory for MOST_PAIRS."""

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(20)


class NoFloorError(Exception):
    """Some windows have no floor, or the floor cannot be computed. The message says why, and what to change."""


class Estimate(NamedTuple):
    """Posterior means and their cost."""

    mean: Floats  # (count, window_length)
    operations: int  # arithmetic operations, approximately


class PosteriorMean:
    """The posterior mean for windows drawn from `prior`; `spacing` scales the widths of the cells."""

    def __init__(self, prior: Prior, spacing: float = 1.0) -> None:
        self.prior = prior
        self.grids = prior.grids(spacing)

    @property
    def coarse_cells(self) -> int:
        """The number of cells of the coarsest grid."""
        return self.grids[0].phases * self.grids[0].frequencies

    def estimate(self, windows: NDArray[np.floating], threads: int = 1) -> Estimate:
        """Returns the posterior mean of the targets of windows, (count, window_length).

        Threads share the windows; the result does not depend on their number. Raises NoFloorError if the posterior of
        a window needs too many cells.
        """
        rows = max(1, CHUNK // self.coarse_cells)
        chunks = np.split(windows.astype(np.float64), range(rows, len(windows), rows))
        # One thread each for BLAS: more would compete, and could change the order of sums.
        workers = min(threads, MOST_WORKERS)
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
            return _joined(list(pool.map(self._chunk, chunks)))

    def _chunk(self, windows: Floats) -> Estimate:
        """Returns the estimate of windows that are weighed together."""
        window, middle, frequency = self._likely(windows)
        cells = self._weigh(windows, window, middle, frequency, self.grids[0])
        pairs, settled = len(window), []
        for grid, finer in itertools.pairwise(self.grids):
            # Cells that bear no more than the true noise are fine enough.
            wide = self._borne(cells.likeliest, grid) > self.prior.noise
            settled.append(cells.where(~wide))
            window, middle, frequency = split(cells.where(wide), grid, finer)
            pairs += len(window)
            if pairs > MOST_PAIRS:
                if len(windows) == 1:
                    raise NoFloorError(
                        f"a window's posterior fills more than {MOST_PAIRS:,} cells of phase and frequency; "
                        "raise generate.noise_std or generate.length"
                    )
                mean, operations = _joined([self._chunk(half) for half in np.array_split(windows, 2)])
                return Estimate(mean, operations + self._operations(len(windows), pairs, 0))
            cells = self._weigh(windows, window, middle, frequency, finer)
        settled.append(cells)
        cells = Cells._make(map(np.concatenate, zip(*settled, strict=True)))
        return Estimate(self._mean(cells, len(windows)), self._operations(len(windows), pairs, len(cells.window)))

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
        likeliest = self._likeliest(correlation, energy)
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
        correlation, energy, residual, slope, sample = np.zeros((5, len(window)))
        for column, (sine, _) in zip(windows.T, self._waves(phase, frequency), strict=True):
            np.take(column, window, out=sample, mode="clip")
            correlation += np.multiply(sample, sine, out=sample)
            energy += np.square(sine)
        likeliest = self._likeliest(correlation, energy)
        # A second pass: the difference of two large sums would lose the digits of a small noise.
        for column, (sine, _) in zip(windows.T, self._waves(phase, frequency), strict=True):
            np.take(column, window, out=sample, mode="clip")
            sample -= likeliest * sine
            slope += sample * sine
            residual += np.square(sample, out=sample)
        residual[prior == 0.0] = np.inf
        cells = Cells(window, middle, frequency, phase, prior, likeliest, residual, slope, energy)
        excess = residual - least_residual(cells, len(windows))
        return cells.where(excess <= 2.0 * CUT * np.square(self._borne(likeliest, grid)))

    def _waves(self, phase: Floats, frequency: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yields sine_i and cosine_i of the waves, (cells,), for each instant. The next one overwrites the arrays.

        Instants are equally spaced, so the argument advances by a constant step: by the addition theorems, without
        further calls of sin and cos.
        """
        instants = self.prior.instants
        argument, step = phase + frequency * instants[0], frequency * (instants[1] - instants[0])
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

    def _likeliest(self, correlation: Floats, energy: Floats) -> Floats:
        """Returns the amplitude of highest likelihood within its range."""
        low, high = self.prior.amplitude.low, self.prior.amplitude.high
        if low == high:
            return np.full_like(correlation, low)
        free = np.divide(correlation, energy, out=np.zeros_like(correlation), where=energy > 0.0)
        return np.clip(free, low, high, out=free)

    def _mean(self, cells: Cells, count: int) -> Floats:
        """Returns the posterior mean of the targets of `count` windows, (count, window_length)."""
        excess = cells.residual - least_residual(cells, count)
        near = excess <= 2.0 * CUT * self.prior.noise**2
        cells, excess = cells.where(near), excess[near]
        mass, moment = self._over_amplitude(cells, excess)
        total = np.bincount(cells.window, mass, count)
        waves = self._waves(cells.phase, cells.frequency)
        return np.stack([np.bincount(cells.window, moment * cosine, count) / total for _, cosine in waves], axis=1)

    def _over_amplitude(self, cells: Cells, excess: Floats) -> tuple[Floats, Floats]:
        """Returns mass and moment of each cell, up to a common factor for each window.

        `excess` is residual minus the least residual of the window, which keeps the exponentials in range.
        """
        noise, amplitudes = self.prior.noise, self.prior.amplitude
        if amplitudes.low == amplitudes.high:
            mass = cells.prior * np.exp(-excess / (2.0 * noise**2))
            return mass, mass * cells.likeliest
        with np.errstate(divide="ignore"):
            reach = 7.0 * noise / np.sqrt(cells.energy)
        low = np.maximum(cells.likeliest - reach, amplitudes.low)
        high = np.minimum(cells.likeliest + reach, amplitudes.high)
        mass, moment = np.zeros((2, len(low)))
        for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
            amplitude = 0.5 * (low + high) + 0.5 * (high - low) * node
            step = amplitude - cells.likeliest
            squares = excess - 2.0 * step * cells.slope + step**2 * cells.energy
            density = weight * np.exp(-squares / (2.0 * noise**2))
            mass += density
            moment += density * amplitude
        width = cells.prior * (high - low)
        return mass * width, moment * width

    def _operations(self, windows: int, pairs: int, settled: int) -> int:
        """Returns the approximate number of operations to weigh `pairs` cells and to integrate `settled` cells."""
        length = len(self.prior.instants)
        nodes = len(_NODES) if self.prior.amplitude.low < self.prior.amplitude.high else 1
        coarse = self.coarse_cells * (20 * length + windows * (length + 20))
        return coarse + 20 * pairs * (length + 8) + 20 * settled * nodes


def _joined(parts: list[Estimate]) -> Estimate:
    return Estimate(np.concatenate([part.mean for part in parts]), sum(part.operations for part in parts))
