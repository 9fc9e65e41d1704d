"""Mean squared errors by sample, by frequency and by phase, and the sizes of errors, as tables. pandas, no torch.

The stage plot writes the first three to metrics/error_by_*.csv, for `dvc plots` and for the comparison of runs.

The column `excess` is the network's mean squared distance from the best possible estimate, relative to that estimate's
own error: two lines that nearly coincide in a picture of errors.

Windows are read part by part, twice: the bins of frequency and of phase must be known before errors are summed. If some
windows have a floor and others do not, only those with a floor count, so that all estimates are compared on the same
windows.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quadrature.storage.arrow import Columns
from quadrature.storage.files import write_bytes
from quadrature.storage.windows import ESTIMATE_COLUMNS

Floats = NDArray[np.float64]

SIZES = 10.0 ** np.arange(-4.0, 0.55, 0.1)
"""Sizes of errors, relative to the largest target."""

SUMMED = (*ESTIMATE_COLUMNS, "distance")
"""The squares that are summed: the error of each estimate, and the network's distance from the best one."""


def make_tables(read: Callable[[], Iterable[Columns]], bins: int) -> dict[str, pd.DataFrame]:
    """Returns the mean squared error of each estimate, as tables by `position`, `frequency` and `phase`.

    The table `size` has the share of samples whose error is larger than a size, in the signal's unit.

    read() yields the windows in parts, with the columns of data/predictions.parquet; it is called twice. Positions are
    the samples of a window, counted from 1. Frequency and phase, in radians within [0, 2 pi), are cut into `bins` equal
    intervals, or one if all values are equal; the index has the middle of each interval that holds a window.
    """
    ranges, only_known, largest = _survey(read())
    by_position, by_size = _ByPosition(), _BySize(largest)
    by_quantity = {name: _ByQuantity(*ranges[name], bins) for name in ranges}
    for part in read():
        windows = _with_floor(part) if only_known else part
        if len(windows["target"]):
            errors = _squares(windows)
            by_position.add(errors)
            by_size.add(errors[: len(ESTIMATE_COLUMNS)])
            for name, values in _quantities(windows).items():
                by_quantity[name].add(values, errors.mean(axis=2))
    by_quantities = {name: each.table(name) for name, each in by_quantity.items()}
    return {"position": by_position.table(), **by_quantities, "size": by_size.table()}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table as CSV. Floats have their shortest exact spelling; a cell is empty where there is no error."""
    write_bytes(path, table.to_csv(lineterminator="\n").encode())


def wrapped(phase: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns phases within [0, 2 pi). A phase that rounding left less than 1e-6 below a full turn becomes 0."""
    within = np.mod(phase, 2.0 * np.pi)
    return np.where(2.0 * np.pi - within < 1e-6, 0.0, within)


def _survey(parts: Iterable[Columns]) -> tuple[dict[str, tuple[float, float]], bool, float]:
    """Returns the range of each quantity over the windows that count, and whether these are only those with a floor.

    Also returns the largest target of all windows.
    """
    every: dict[str, tuple[float, float]] = {}
    known: dict[str, tuple[float, float]] = {}
    largest = 0.0
    for part in parts:
        _widen(every, part)
        _widen(known, _with_floor(part))
        largest = max(largest, float(np.abs(part["target"]).max()))
    return known or every, bool(known), largest


def _widen(ranges: dict[str, tuple[float, float]], windows: Columns) -> None:
    """Extends the range of each quantity to the values of some windows."""
    for name, values in _quantities(windows).items():
        if len(values):
            low, high = ranges.get(name, (np.inf, -np.inf))
            ranges[name] = min(low, values.min()), max(high, values.max())


def _with_floor(windows: Columns) -> Columns:
    """Returns the windows that have a floor."""
    known = ~np.isnan(windows["posterior_mean"]).any(axis=1)
    return windows if known.all() else {name: values[known] for name, values in windows.items()}


def _quantities(windows: Columns) -> dict[str, NDArray[np.floating]]:
    """Returns the quantities that errors are binned by, each (count,)."""
    return {"frequency": windows["frequency"], "phase": wrapped(windows["phase"])}


def _squares(windows: Columns) -> Floats:
    """Returns what is summed, (SUMMED, count, window_length); NaN for windows without an estimate."""
    found = np.stack([windows[name] for name in ESTIMATE_COLUMNS]).astype(np.float64)
    distance = found[ESTIMATE_COLUMNS.index("prediction")] - found[ESTIMATE_COLUMNS.index("posterior_mean")]
    squares: Floats = np.square(np.concatenate([found - windows["target"], distance[None]]))
    return squares


def _with_excess(means: pd.DataFrame) -> pd.DataFrame:
    """Returns the means of squares with the excess in place of the distance; empty where the floor is 0."""
    floor = means["posterior_mean"]
    return means.drop(columns="distance").assign(excess=means["distance"] / floor.where(floor > 0.0))


class _ByPosition:
    """Means over windows at each sample. Squares are added in the order of the windows, however these are divided."""

    def __init__(self) -> None:
        self._windows = 0
        self._sums: Floats | None = None  # (SUMMED, window_length)

    def add(self, errors: Floats) -> None:
        """Adds squares, (SUMMED, count, window_length)."""
        self._windows += errors.shape[1]
        rows = errors if self._sums is None else np.concatenate([self._sums[:, None], errors], axis=1)
        self._sums = np.stack([each.sum(axis=0) for each in rows])  # over the outer axis: row after row, not pairwise

    def table(self) -> pd.DataFrame:
        assert self._sums is not None  # noqa: S101, a file holds windows
        index = pd.RangeIndex(1, self._sums.shape[1] + 1, name="position")
        return _with_excess(pd.DataFrame(dict(zip(SUMMED, self._sums / self._windows, strict=True)), index=index))


class _BySize:
    """Counts of samples by the size of their error."""

    def __init__(self, largest: float) -> None:
        self._sizes = SIZES * (largest or 1.0)
        self._larger = np.zeros((len(ESTIMATE_COLUMNS), len(SIZES)), np.int64)
        self._samples = 0

    def add(self, squares: Floats) -> None:
        """Adds squared errors, (estimates, count, window_length); NaN is larger than nothing."""
        self._samples += squares[0].size
        for larger, each in zip(self._larger, squares, strict=True):
            known = np.sort(each[~np.isnan(each)])
            larger += len(known) - np.searchsorted(known, self._sizes**2, side="right")

    def table(self) -> pd.DataFrame:
        index = pd.Index(self._sizes, name="size")
        return pd.DataFrame(self._larger.T / self._samples, index=index, columns=[*ESTIMATE_COLUMNS])


class _ByQuantity:
    """Means over the windows of each bin of a quantity, from `low` to `high`."""

    def __init__(self, low: float, high: float, bins: int) -> None:
        self._edges = np.linspace(low, high, (bins if high > low else 1) + 1)
        self._windows = np.zeros(len(self._edges) - 1, np.intp)
        self._sums = [[_Sum() for _ in SUMMED] for _ in self._windows]

    def add(self, values: NDArray[np.floating], errors: Floats) -> None:
        """Adds the mean squares of some windows, (SUMMED, count), by the quantity's values, (count,)."""
        number = np.clip(np.searchsorted(self._edges, values, side="right") - 1, 0, len(self._windows) - 1)
        order = np.argsort(number, kind="stable")
        counts = np.bincount(number, minlength=len(self._windows))
        self._windows += counts
        for sums, each in zip(self._sums, np.split(errors[:, order], np.cumsum(counts)[:-1], axis=1), strict=True):
            for total, added in zip(sums, each, strict=True):
                total.add(added)

    def table(self, name: str) -> pd.DataFrame:
        middles = (self._edges[:-1] + self._edges[1:]) / 2.0
        sums = np.array([[total.value for total in sums] for sums in self._sums])  # (bins, SUMMED)
        filled = self._windows > 0
        means = sums[filled] / self._windows[filled, None]
        return _with_excess(pd.DataFrame(means, index=pd.Index(middles[filled], name=name), columns=[*SUMMED]))


class _Sum:
    """A compensated sum: it does not depend on the division into parts, and rounding does not grow with their number.

    W. Kahan, Further remarks on reducing truncation errors, Communications of the ACM 8 (1965) 40. pandas adds up the
    values of a group in the same way.
    """

    def __init__(self) -> None:
        self.value = 0.0
        self._rounding = 0.0  # of `value`: its difference from the exact sum

    def add(self, values: Floats) -> None:
        value, rounding = self.value, self._rounding
        for added in values.tolist():
            corrected = added - rounding
            following = value + corrected
            rounding = (following - value) - corrected
            value = following
        self.value, self._rounding = value, rounding
