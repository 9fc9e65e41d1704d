"""Reads samples from a table's columns as float32, and turns estimates into columns.

A window is a list in the column `input`, or a row of the columns `input_0`, `input_1` and so on. A long signal is a
column with a sample a row. Columns with other content raise DataError with the file and the row.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from quadrature.prediction.tables import Table
from quadrature.runtime.errors import DataError

OUTPUTS = ("prediction", "amplitude", "phase")
"""The added columns: the estimate, and the amplitude and phase computed from it and the input."""

Read = Callable[[int, pa.Table], NDArray[np.float32]]
"""Returns the samples of rows of a table. The first argument is the number of rows before them."""

_NUMBERED = re.compile(r"input_(0|[1-9][0-9]*)")
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


def has_lists(table: Table) -> bool:
    """Whether a table's windows are lists. Raises DataError if it has both kinds of columns, or neither."""
    numbered = [name for name in table.schema.names if _NUMBERED.fullmatch(name)]
    if "input" in table.schema.names and not numbered:
        return True
    if numbered and "input" not in table.schema.names:
        return False
    both = "both a column input and" if numbered else "neither a column input nor"
    raise DataError(
        f"{table.label} has {both} columns input_0, input_1, ...; its windows should be in one or the other"
    )


def window_reader(table: Table, length: int) -> Read:
    """Returns a reader of windows, (count, length). Both raise DataError if the columns do not hold such windows."""
    if not has_lists(table):
        return _reader_of_columns(table, length)
    kind = table.schema.field("input").type
    if not _is_list(kind) or not _is_number(kind.value_type):
        advice = "; if it is a signal, a sample a row, give --hop" if _is_number(kind) or table.format == "csv" else ""
        raise DataError(f"{table.label}: input holds {_words(table, kind)}, not lists of {length} numbers{advice}")

    def read(first: int, rows: pa.Table) -> NDArray[np.float32]:
        lists = rows.column("input").combine_chunks()
        _refuse_nulls(lists, lambda row: f"{table.place(first + row)}: input")
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        if (wrong := np.flatnonzero(lengths != length)).size:
            place = table.place(first + int(wrong[0]))
            raise DataError(f"{place}: input holds {lengths[wrong[0]]} samples; the model reads windows of {length}")
        samples = _float32(lists.flatten(), lambda at: f"{table.place(first + at // length)}: input[{at % length}]")
        return samples.reshape(-1, length)

    return read


def signal_reader(table: Table, column: str) -> Read:
    """Returns a reader of a signal, (count,). Both raise DataError if the column does not hold numbers."""
    if column not in table.schema.names:
        raise DataError(f"{table.label} has no column {column}; it has {', '.join(table.schema.names)}")
    kind = table.schema.field(column).type
    if not _is_number(kind) and table.format == "parquet":
        advice = "; --hop is for a signal of one number a row, leave it out" if _is_list(kind) else ""
        raise DataError(f"{table.label}: {column} holds {_words(table, kind)}, not numbers{advice}")

    def read(first: int, rows: pa.Table) -> NDArray[np.float32]:
        return _read_numbers(table, first, rows, column)

    return read


def carried_names(table: Table, outputs: Sequence[str]) -> list[str]:
    """Returns the names of a table's columns in the output, with the prefix `given_` for those in `outputs`.

    Raises DataError if the table has a column of the prefixed name too.
    """
    names = [f"given_{name}" if name in outputs else name for name in table.schema.names]
    for name, count in Counter(names).items():
        if count > 1:
            given = name.removeprefix("given_")
            raise DataError(
                f"{table.label} has both {given} and {name}, but the output renames {given} to {name}; rename one"
            )
    return names


def as_column(values: NDArray[np.float32]) -> pa.Array:
    """Returns numbers, (count,), as an arrow array, or windows, (count, length), as an array of lists. No copy."""
    flat = pa.array(values.reshape(-1))
    if values.ndim == 1:
        return flat
    element = pa.field("element", flat.type, nullable=False)
    return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(element, values.shape[1]))


class Spread:
    """Spreads lists over numbered columns: the list `input` becomes the columns `input_0`, `input_1` and so on."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._widths: dict[str, int] = {}

    def __call__(self, first: int, rows: pa.Table) -> pa.Table:
        """Returns rows without lists; `first` rows precede them. Raises DataError if the lengths of lists differ."""
        columns: dict[str, pa.Array] = {}
        for name, column in zip(rows.column_names, rows.columns, strict=True):
            spread = self._columns(first, name, column) if _is_list(column.type) else {name: column}
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


def _reader_of_columns(table: Table, length: int) -> Read:
    given = set(table.schema.names)
    found = sum(_NUMBERED.fullmatch(name) is not None for name in given)
    names = [f"input_{position}" for position in range(found)]
    for name in names:
        if name not in given:
            raise DataError(
                f"{table.label} has no column {name}; the windows' samples are input_0 to input_{length - 1}"
            )
        kind = table.schema.field(name).type
        if not _is_number(kind) and table.format == "parquet":
            raise DataError(f"{table.label}: {name} holds {kind}, not numbers")
    if found != length:
        raise DataError(f"{table.label} holds windows of {found} samples; the model reads windows of {length}")

    def read(first: int, rows: pa.Table) -> NDArray[np.float32]:
        windows = np.empty((len(rows), length), np.float32)
        for position, name in enumerate(names):
            windows[:, position] = _read_numbers(table, first, rows, name)
        return windows

    return read


def _read_numbers(table: Table, first: int, rows: pa.Table, name: str) -> NDArray[np.float32]:
    return _float32(rows.column(name).combine_chunks(), lambda row: f"{table.place(first + row)}: {name}")


def _float32(values: pa.Array, place: Callable[[int], str]) -> NDArray[np.float32]:
    """Returns values as float32. `place` returns the file and row of the value at an index, for messages."""
    _refuse_nulls(values, place)
    if pa.types.is_string(values.type):
        values = _parse(values, place)
    exact = values.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        samples: NDArray[np.float32] = exact.astype(np.float32, copy=False)
    if (wrong := np.flatnonzero(~np.isfinite(samples))).size:
        value = exact[wrong[0]]
        if np.isfinite(value):
            raise DataError(f"{place(wrong[0])} is {value:g}, beyond float32's {_MAX_FLOAT32:.3g}; scale the signal")
        raise DataError(f"{place(wrong[0])} is {value}; leave the row out, or put a finite number there")
    return samples


def _parse(texts: pa.Array, place: Callable[[int], str]) -> pa.Array:
    try:
        return pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        for index, text in enumerate(texts):
            try:
                pc.cast(text, pa.float64())
            except pa.ArrowInvalid:
                raise DataError(f"{place(index)} is {text.as_py()!r}, which is not a number") from None
        raise


def _refuse_nulls(values: pa.Array, place: Callable[[int], str]) -> None:
    if values.null_count:
        index = pc.index(values.is_null(), True).as_py()
        raise DataError(f"{place(index)} is missing; leave the row out, or put a number there")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _words(table: Table, kind: pa.DataType) -> str:
    return "one value a row" if table.format == "csv" else str(kind)
