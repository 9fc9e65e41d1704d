"""The columns of an output: those of the input under names that stay free, and those that are added."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from quadrature.prediction.derived import phase
from quadrature.runtime.errors import DataError
from quadrature.tables.columns import is_list
from quadrature.tables.table import Table

Array = NDArray[np.float32]

OUTPUTS = ("in_phase", "quadrature", "prediction", "amplitude", "phase", "frequency")
"""The added columns: the estimated components (`prediction` is an older name of `quadrature`), and what follows."""

HERTZ = "frequency_hz"
"""The frequency in Hz, added if the rate of the samples is given."""


class Channel(NamedTuple):
    """What the names of a channel's columns end with, the estimates, shaped alike, and which rows have one, (count,).

    The frequency is in radians a sample, NaN where it is not defined.
    """

    suffix: str
    in_phase: Array
    quadrature: Array
    frequency: Array
    known: NDArray[np.bool_]


def carried_names(table: Table, outputs: Sequence[str]) -> list[str]:
    """Returns the names of a table's columns in the output, with the prefix `given_` for those in `outputs`.

    Raises DataError if the table has a column of the prefixed name too, or if two of the `outputs` have one name.
    """
    for name, count in Counter(outputs).items():
        if count > 1:  # as frequency_hz_a, of the channel hz_a in radians a sample, and of the channel a in Hz
            raise DataError(
                f"{table.label} has two channels whose estimates would both have the column {name}; rename one"
            )
    names = [f"given_{name}" if name in outputs else name for name in table.schema.names]
    for name, count in Counter(names).items():
        if count > 1:
            given = name.removeprefix("given_")
            raise DataError(
                f"{table.label} has both {given} and {name}, but the output renames {given} to {name}; rename one"
            )
    return names


def as_column(values: Array, known: NDArray[np.bool_], has_gaps: bool = False) -> pa.Array:
    """Returns numbers, (count,), as an arrow array, or windows, (count, length), as an array of lists.

    Rows that are not `known`, (count,), are null. With `has_gaps`, so are single NaNs.
    """
    missing = None if known.all() else ~known
    gaps = np.isnan(values) if has_gaps else None
    if values.ndim == 1:
        return pa.array(values, mask=missing if gaps is None else gaps | ~known)
    flat = pa.array(values.reshape(-1), mask=None if gaps is None else gaps.reshape(-1))
    kind = pa.list_(pa.field("element", flat.type, nullable=has_gaps), values.shape[1])
    mask = None if missing is None else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=mask)


def derive(first: int, channel: Channel, table: Table, rate: float | None) -> dict[str, pa.Array]:
    """Returns the added columns of a channel; `first` rows precede. Raises DataError if a value is not finite."""
    _, in_phase, quadrature, advance, known = channel
    with np.errstate(over="ignore", invalid="ignore"):
        amplitude = np.hypot(in_phase, quadrature)
    finite = np.isfinite(amplitude)
    if not finite.all() and (wrong := np.flatnonzero(known & ~finite.reshape(len(known), -1).all(axis=1))).size:
        place = table.place(first + int(wrong[0]))
        raise DataError(f"{place}: the estimate is not finite; scale the samples to the size of those in training")
    values = {
        "in_phase": in_phase, "quadrature": quadrature, "prediction": quadrature,
        "amplitude": amplitude, "phase": phase(in_phase, quadrature), "frequency": advance,
    }  # fmt: skip
    if rate is not None:
        values[HERTZ] = (advance * (rate / (2.0 * np.pi))).astype(np.float32)
    return {
        f"{name}{channel.suffix}": as_column(value, known, has_gaps=name.startswith("frequency"))
        for name, value in values.items()
    }


class Spread:
    """Spreads lists over numbered columns: the list `input` becomes the columns `input_0`, `input_1` and so on."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._widths: dict[str, int] = {}

    def __call__(self, first: int, rows: pa.Table) -> pa.Table:
        """Returns rows without lists; `first` rows precede them. Raises DataError if the lengths of lists differ."""
        columns: dict[str, pa.Array] = {}
        for name, column in zip(rows.column_names, rows.columns, strict=True):
            spread = self._columns(first, name, column) if is_list(column.type) else {name: column}
            if twice := spread.keys() & columns.keys():
                raise DataError(
                    f"{self._table.label} has a list whose values would be the CSV column {min(twice)}, "
                    "which is a column already; rename one"
                )
            columns |= spread
        return pa.table(columns)

    def _columns(self, first: int, name: str, column: pa.ChunkedArray) -> dict[str, pa.Array]:
        lengths = pc.list_value_length(column).to_numpy()
        known = np.flatnonzero(~np.isnan(lengths))  # a row without a list is null in all its columns
        if name not in self._widths:
            self._widths[name] = self._width(first, name, column.type, lengths[known])
        width = self._widths[name]
        if (wrong := known[lengths[known] != width]).size:
            place = self._table.place(first + int(wrong[0]))
            found = int(lengths[wrong[0]])
            raise DataError(
                f"{place}: {name} holds {found} values, not {width} as before; CSV cannot hold both, parquet can"
            )
        return {f"{name}_{position}": pc.list_element(column, position) for position in range(width)}

    def _width(self, first: int, name: str, kind: pa.DataType, lengths: NDArray[np.floating]) -> int:
        """Returns the number of columns for a column's lists: from its type, or else from the first list."""
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        if not lengths.size:
            place = self._table.place(first)
            raise DataError(
                f"{place}: {name} has no list in these rows, so its number of CSV columns is unknown; write parquet"
            )
        return int(lengths[0])
