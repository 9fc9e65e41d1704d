"""Where the errors are: mean squared errors by sample, by frequency and by phase, as tables. pandas, no torch.

The tables stand in metrics/error_by_*.csv, where `dvc plots` and the comparison of runs lay them over one another.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quadrature.storage.arrow import Columns
from quadrature.storage.files import write_bytes
from quadrature.storage.windows import ESTIMATE_COLUMNS


def error_by_position(columns: Columns) -> pd.DataFrame:
    """Returns each estimate's error at each sample, counted from 1; columns as in data/predictions.parquet."""
    columns = _comparable(columns)
    errors = {name: _squared_error(columns, name).mean(axis=0) for name in ESTIMATE_COLUMNS}
    return pd.DataFrame(errors, index=pd.RangeIndex(1, columns["target"].shape[1] + 1, name="position"))


def error_by_frequency(columns: Columns, bins: int) -> pd.DataFrame:
    """Returns each estimate's error over windows alike in frequency, by the middles of equal intervals."""
    columns = _comparable(columns)
    return _binned(columns, pd.Series(columns["frequency"], name="frequency"), bins)


def error_by_phase(columns: Columns, bins: int) -> pd.DataFrame:
    """Returns the same by the phase of the first sample, in radians within [0, 2 pi)."""
    columns = _comparable(columns)
    return _binned(columns, pd.Series(wrapped(columns["phase"]), name="phase"), bins)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table as CSV, each float in its shortest exact spelling, nothing where there is no error to tell."""
    write_bytes(path, table.to_csv(lineterminator="\n").encode())


def wrapped(phase: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns phases within [0, 2 pi); one that rounding left a hair below a full turn is 0."""
    within = np.mod(phase, 2.0 * np.pi)
    return np.where(2.0 * np.pi - within < 1e-6, 0.0, within)


def _binned(columns: Columns, quantity: pd.Series, bins: int) -> pd.DataFrame:
    """Returns each bin's mean errors by its middle; a quantity that does not vary has one bin."""
    errors = pd.DataFrame({name: _squared_error(columns, name).mean(axis=1) for name in ESTIMATE_COLUMNS})
    lowest, highest = quantity.min(), quantity.max()
    edges = np.linspace(lowest, highest, (bins if highest > lowest else 1) + 1)
    number = np.clip(np.searchsorted(edges, quantity, side="right") - 1, 0, len(edges) - 2)
    means = errors.groupby(number).mean()
    middles = (edges[:-1] + edges[1:]) / 2.0
    return means.set_axis(pd.Index(middles[means.index], name=quantity.name))


def _comparable(columns: Columns) -> Columns:
    """Returns the windows that have a floor, where some but not all do, so that every line is of the same ones."""
    known = ~np.isnan(columns["posterior_mean"]).any(axis=1)
    return {name: values[known] for name, values in columns.items()} if known.any() else columns


def _squared_error(columns: Columns, name: str) -> NDArray[np.float64]:
    """Returns the squared errors of an estimate, (windows, window_length), not numbers where a window has none."""
    error: NDArray[np.float64] = columns[name].astype(np.float64) - columns["target"]
    return np.square(error)
