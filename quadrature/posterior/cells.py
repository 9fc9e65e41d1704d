"""Cells of phase and frequency in the posteriors of some windows, and how a finer grid divides them. numpy only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadrature.posterior.prior import Floats, Grid


class Cells(NamedTuple):
    """Cells of some windows' posteriors; each array is (cells,).

    quadrature/posterior/amplitude.py and refined.py define likeliest, residual, slope and energy.
    """

    window: NDArray[np.intp]  # row of the window
    middle: Floats  # phase of the cell's middle
    frequency: Floats  # frequency of the cell's middle, and of its wave
    phase: Floats  # phase of the cell's wave: the mean of the prior within the cell
    prior: Floats  # probability of the cell, up to a common factor
    likeliest: Floats
    residual: Floats
    slope: Floats
    energy: Floats

    def where(self, chosen: NDArray[np.bool_]) -> "Cells":
        """Returns the chosen cells; `chosen` is (cells,)."""
        return Cells._make(values[chosen] for values in self)


def split(cells: Cells, grid: Grid, finer: Grid) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Returns window, middle and frequency of the halves or quarters of cells in a finer grid."""
    window, middle, frequency = cells.window, cells.middle, cells.frequency
    if finer.phases > grid.phases:
        window, frequency = np.tile(window, 2), np.tile(frequency, 2)
        middle = np.concatenate([middle - finer.phase_width / 2.0, middle + finer.phase_width / 2.0])
    if finer.frequencies > grid.frequencies:
        window, middle = np.tile(window, 2), np.tile(middle, 2)
        frequency = np.concatenate([frequency - finer.frequency_width / 2.0, frequency + finer.frequency_width / 2.0])
    return window, middle, frequency


def least_residual(cells: Cells, windows: int) -> Floats:
    """Returns for each cell the least residual among the cells of its window."""
    least = np.full(windows, np.inf)
    np.minimum.at(least, cells.window, cells.residual)
    return least[cells.window]
