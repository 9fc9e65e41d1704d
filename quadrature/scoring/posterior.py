"""The best estimate there can be: the posterior mean of the target, given the noisy window. numpy only.

No estimate has a smaller expected squared error under the priors that windows are drawn from: phase, frequency and
amplitude uniform, noise Gaussian. The mean is integrated numerically over cells of phase x frequency; within a
cell, amplitude's posterior is a truncated normal distribution, integrated by Gauss-Legendre quadrature.

A posterior is as narrow as the noise is small, so the cells must be as narrow, and few of them matter. They are found
as one focuses a lens: the cells of a coarse grid are weighed with as much noise as their width bears, those that
hold no probability are dropped, the others are halved along each axis and weighed with half that noise, until the
noise is the true one.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quadrature.scoring.prior import Floats, Grid, Prior

CUT = 18.0
"""Cells less probable than a window's best by this many nats are dropped; e**-18 is 1.5e-8."""

CHUNK = 2**20
"""Pairs of window and cell that are weighed at a time, at 8 bytes and a few copies each."""

MOST_PAIRS = 2**22
"""Pairs that a chunk may come to as its cells are halved; with more, its windows are taken apart."""

MOST_WORKERS = 4
"""Threads that weigh chunks at once, each with memory for MOST_PAIRS."""

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(20)


class NoFloorError(Exception):
    """Some windows have no floor, or none that can be computed; the message says why, and what to do."""


class Estimate(NamedTuple):
    """Posterior means, (count, window_length), and about how many arithmetic operations they took."""

    mean: Floats
    operations: int


class Cells(NamedTuple):
    """Cells of some windows' posteriors, an array each of shape (cells,)."""

    window: NDArray[np.intp]  # row of the window
    middle: Floats  # of the cell, in phase
    frequency: Floats  # of its middle
    phase: Floats  # mean of the prior within the cell
    prior: Floats  # probability of the cell, up to a factor common to all
    amplitude: Floats  # the likeliest
    residual: Floats  # sum over the window of (input - amplitude * sine)**2
    slope: Floats  # sum over the window of (input - amplitude * sine) * sine
    energy: Floats  # sum over the window of sine**2

    def where(self, chosen: NDArray[np.bool_]) -> "Cells":
        """Returns some of the cells."""
        return Cells._make(values[chosen] for values in self)


class PosteriorMean:
    """The best estimate for windows whose waves `prior` describes; `spacing` scales the cells, 1 suiting most."""

    def __init__(self, prior: Prior, spacing: float = 1.0) -> None:
        self.prior = prior
        self.grids = prior.grids(spacing)

    @property
    def coarse_cells(self) -> int:
        """How many cells the coarsest grid has."""
        return self.grids[0].phases * self.grids[0].frequencies

    def estimate(self, windows: NDArray[np.floating], threads: int = 1) -> Estimate:
        """Returns the posterior mean of the targets of windows, (count, window_length).

        The windows' chunks are shared among threads; the result is the same for any number of them.
        Raises NoFloorError.
        """
        rows = max(1, CHUNK // self.coarse_cells)
        chunks = np.split(windows.astype(np.float64), range(rows, len(windows), rows))
        # One thread each for BLAS: more would compete, and might add up in another order.
        workers = min(threads, MOST_WORKERS)
        with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
            return _joined(list(pool.map(self._chunk, chunks)))

    def _chunk(self, windows: Floats) -> Estimate:
        """Returns the estimate of windows that are weighed at once."""
        window, middle, frequency = self._likely(windows)
        cells = self._weigh(windows, window, middle, frequency, self.grids[0])
        pairs, settled = len(window), []
        for grid, finer in itertools.pairwise(self.grids):
            # A weak wave's posterior is wider in proportion: its cells are fine enough before the last grid.
            wide = self._borne(cells.amplitude, grid) > self.prior.noise
            settled.append(cells.where(~wide))
            window, middle, frequency = _split(cells.where(wide), grid, finer)
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
        """Returns window, middle and frequency of the coarsest grid's cells that may hold probability."""
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
        amplitude = self._likeliest(correlation, energy)
        # Half of what each cell's wave takes off the window's squares; in place, as new arrays cost most.
        gain = amplitude * energy
        gain *= -0.5
        gain += correlation
        gain *= amplitude
        loss = np.subtract(gain.max(axis=1, keepdims=True), gain, out=gain)
        window, cell = np.nonzero(loss <= CUT * np.square(self._borne(amplitude, grid)))
        return window, middle[cell], frequency[cell]

    def _weigh(self, windows: Floats, window: NDArray[np.intp], middle: Floats, frequency: Floats, grid: Grid) -> Cells:
        """Returns those of the cells that hold probability with a grid's noise."""
        prior, phase = self.prior.within(middle, grid)
        correlation, energy, residual, slope, sample = np.zeros((5, len(window)))
        for column, (sine, _) in zip(windows.T, self._waves(phase, frequency), strict=True):
            np.take(column, window, out=sample, mode="clip")
            correlation += np.multiply(sample, sine, out=sample)
            energy += np.square(sine)
        amplitude = self._likeliest(correlation, energy)
        # In a second pass, for the difference of large sums would lose a small noise's digits.
        for column, (sine, _) in zip(windows.T, self._waves(phase, frequency), strict=True):
            np.take(column, window, out=sample, mode="clip")
            sample -= amplitude * sine
            slope += sample * sine
            residual += np.square(sample, out=sample)
        residual[prior == 0.0] = np.inf
        cells = Cells(window, middle, frequency, phase, prior, amplitude, residual, slope, energy)
        excess = residual - _least(cells, len(windows))
        return cells.where(excess <= 2.0 * CUT * np.square(self._borne(amplitude, grid)))

    def _waves(self, phase: Floats, frequency: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yields the waves' sines and cosines at one instant after another, in arrays that the next overwrites."""
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

    def _borne(self, amplitude: Floats, grid: Grid) -> Floats:
        """Returns the noise that cells bear, less for a weak wave, whose posterior is wider; the true one at least."""
        return np.maximum(amplitude * (grid.noise / self.prior.amplitude.high), self.prior.noise)

    def _likeliest(self, correlation: Floats, energy: Floats) -> Floats:
        """Returns the amplitude of highest likelihood, within its range."""
        low, high = self.prior.amplitude.low, self.prior.amplitude.high
        if low == high:
            return np.full_like(correlation, low)
        free = np.divide(correlation, energy, out=np.zeros_like(correlation), where=energy > 0.0)
        return np.clip(free, low, high, out=free)

    def _mean(self, cells: Cells, count: int) -> Floats:
        """Integrates over the cells: the posterior mean of the cosine, (count, window_length)."""
        excess = cells.residual - _least(cells, count)
        near = excess <= 2.0 * CUT * self.prior.noise**2
        cells, excess = cells.where(near), excess[near]
        mass, moment = self._over_amplitude(cells, excess)
        total = np.bincount(cells.window, mass, count)
        waves = self._waves(cells.phase, cells.frequency)
        return np.stack([np.bincount(cells.window, moment * cosine, count) / total for _, cosine in waves], axis=1)

    def _over_amplitude(self, cells: Cells, excess: Floats) -> tuple[Floats, Floats]:
        """Returns each cell's integrals of the posterior, up to a factor for each window, and of amplitude times it."""
        noise, amplitudes = self.prior.noise, self.prior.amplitude
        if amplitudes.low == amplitudes.high:
            mass = cells.prior * np.exp(-excess / (2.0 * noise**2))
            return mass, mass * cells.amplitude
        with np.errstate(divide="ignore"):
            reach = 7.0 * noise / np.sqrt(cells.energy)  # seven standard deviations
        low = np.maximum(cells.amplitude - reach, amplitudes.low)
        high = np.minimum(cells.amplitude + reach, amplitudes.high)
        mass, moment = np.zeros((2, len(low)))
        for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
            amplitude = 0.5 * (low + high) + 0.5 * (high - low) * node
            step = amplitude - cells.amplitude
            squares = excess - 2.0 * step * cells.slope + step**2 * cells.energy
            density = weight * np.exp(-squares / (2.0 * noise**2))
            mass += density
            moment += density * amplitude
        width = cells.prior * (high - low)
        return mass * width, moment * width

    def _operations(self, windows: int, pairs: int, settled: int) -> int:
        """Returns about how many arithmetic operations it took to weigh pairs and to integrate what settled."""
        length = len(self.prior.instants)
        nodes = len(_NODES) if self.prior.amplitude.low < self.prior.amplitude.high else 1
        coarse = self.coarse_cells * (20 * length + windows * (length + 20))
        return coarse + 20 * pairs * (length + 8) + 20 * settled * nodes


def _split(cells: Cells, grid: Grid, finer: Grid) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Returns window, middle and frequency of the halves or quarters that a finer grid makes of cells."""
    window, middle, frequency = cells.window, cells.middle, cells.frequency
    if finer.phases > grid.phases:
        window, frequency = np.tile(window, 2), np.tile(frequency, 2)
        middle = np.concatenate([middle - finer.phase_width / 2.0, middle + finer.phase_width / 2.0])
    if finer.frequencies > grid.frequencies:
        window, middle = np.tile(window, 2), np.tile(middle, 2)
        frequency = np.concatenate([frequency - finer.frequency_width / 2.0, frequency + finer.frequency_width / 2.0])
    return window, middle, frequency


def _least(cells: Cells, windows: int) -> Floats:
    """Returns, for each cell, the least residual of its window's cells."""
    least = np.full(windows, np.inf)
    np.minimum.at(least, cells.window, cells.residual)
    return least[cells.window]


def _joined(parts: list[Estimate]) -> Estimate:
    return Estimate(np.concatenate([part.mean for part in parts]), sum(part.operations for part in parts))
