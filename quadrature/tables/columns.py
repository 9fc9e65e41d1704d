"""Reads samples from a table's columns as float32.

A window is a list in a column such as `input`, or a row of the columns `input_0`, `input_1` and so on. A long signal is
a column with a sample a row. Columns with other content raise DataError with the file and the row. A missing sample is
null, NaN, or in CSV a blank field or NA: NaN is returned for it, or DataError raised.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from quadrature.runtime.errors import DataError
from quadrature.tables.table import Table

Read = Callable[[int, pa.Table], NDArray[np.float32]]
"""Returns the samples of rows of a table. The first argument is the number of rows before them."""

Gaps = Literal["refuse", "interpolate", "null"]
"""What a missing sample is: an error, the straight line between its neighbours, or the end of the estimates."""

_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Advice(NamedTuple):
    """What to do about samples without a number."""

    missing: str
    nan: str
    infinite: str


class Terms(NamedTuple):
    """How messages speak of who reads the samples: what its windows' length is set by, and its options."""

    length: str  # comes before the number
    give_hop: str
    leave_hop: str
    signals: Advice


PREDICT = Terms(
    length="the model reads windows of",
    give_hop="give --hop",
    leave_hop="--hop is for a signal of one number a row, leave it out",
    signals=Advice(  # a row that is left out would shift the time of all later ones
        missing="give --gaps interpolate or --gaps null, or put a number there",
        nan="give --gaps interpolate or --gaps null, or put a finite number there",
        infinite="put a finite number there, or none and give --gaps interpolate or --gaps null",
    ),
)

_OF_WINDOWS = Advice(
    missing="leave the row out, or put a number there",
    nan="leave the row out, or put a finite number there",
    infinite="leave the row out, or put a finite number there",
)


class _Source(NamedTuple):
    """Where samples come from, and what is done where one is missing."""

    table: Table
    advice: Advice
    gaps: Gaps

    def read(self, first: int, rows: pa.Table, name: str) -> NDArray[np.float32]:
        """Returns the samples of a column with a number a row."""
        return _float32(
            rows.column(name).combine_chunks(), lambda row: f"{self.table.place(first + row)}: {name}", self
        )


def has_lists(table: Table, name: str = "input") -> bool:
    """Whether a table's windows are lists. Raises DataError if it has both kinds of columns, or neither."""
    numbered = _numbered(table, name)
    if name in table.schema.names and not numbered:
        return True
    if numbered and name not in table.schema.names:
        return False
    both = f"both a column {name} and" if numbered else f"neither a column {name} nor"
    raise DataError(
        f"{table.label} has {both} columns {name}_0, {name}_1, ...; "
        f"its windows should be in one or the other{table.hint}"
    )


def has_windows(table: Table, name: str) -> bool:
    """Whether a table has any column of windows of this name."""
    return name in table.schema.names or bool(_numbered(table, name))


def window_reader(
    table: Table, length: int, gaps: Gaps = "refuse", name: str = "input", terms: Terms = PREDICT
) -> Read:
    """Returns a reader of windows, (count, length). Both raise DataError if the columns do not hold such windows."""
    source = _Source(table, _OF_WINDOWS, gaps)
    if not has_lists(table, name):
        return _reader_of_columns(source, length, name, terms)
    kind = table.schema.field(name).type
    if not is_list(kind) or not is_number(kind.value_type):
        is_signal = is_number(kind) or table.format == "csv"
        advice = f"; if it is a signal, a sample a row, {terms.give_hop}" if is_signal else ""
        raise DataError(f"{table.label}: {name} holds {_words(table, kind)}, not lists of {length} numbers{advice}")

    def read(first: int, rows: pa.Table) -> NDArray[np.float32]:
        lists = rows.column(name).combine_chunks()
        if gaps == "refuse":
            _refuse_nulls(lists, lambda row: f"{table.place(first + row)}: {name}", _OF_WINDOWS)
        present = np.flatnonzero(lists.is_valid())
        lists = lists.drop_null()
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        if (wrong := np.flatnonzero(lengths != length)).size:
            place = table.place(first + int(present[wrong[0]]))
            raise DataError(f"{place}: {name} holds {lengths[wrong[0]]} samples; {terms.length} {length}")
        samples = _float32(
            lists.flatten(),
            lambda at: f"{table.place(first + int(present[at // length]))}: {name}[{at % length}]",
            source,
        ).reshape(-1, length)
        if len(samples) == len(rows):
            return samples
        windows = np.full((len(rows), length), np.nan, np.float32)
        windows[present] = samples
        return windows

    return read


def signal_reader(table: Table, column: str, gaps: Gaps = "refuse", terms: Terms = PREDICT) -> Read:
    """Returns a reader of a signal, (count,). Both raise DataError if the column does not hold numbers."""
    check_column(table, column)
    kind = table.schema.field(column).type
    if not is_number(kind) and table.format == "parquet":
        advice = f"; {terms.leave_hop}" if is_list(kind) else ""
        raise DataError(f"{table.label}: {column} holds {_words(table, kind)}, not numbers{advice}")
    source = _Source(table, terms.signals, gaps)
    return lambda first, rows: source.read(first, rows, column)


def check_column(table: Table, column: str) -> None:
    """Raises DataError if a table has no such column."""
    if column not in table.schema.names:
        names = ", ".join(table.schema.names)
        raise DataError(f"{table.label} has no column {column}; it has {names}{table.hint}")


def _numbered(table: Table, name: str) -> list[str]:
    """Returns the columns of a table that are called `name` with a number."""
    pattern = re.compile(rf"{re.escape(name)}_(0|[1-9][0-9]*)")
    return [each for each in table.schema.names if pattern.fullmatch(each)]


def _reader_of_columns(source: _Source, length: int, name: str, terms: Terms) -> Read:
    table = source.table
    given = set(table.schema.names)
    found = len(_numbered(table, name))
    names = [f"{name}_{position}" for position in range(found)]
    for each in names:
        if each not in given:
            raise DataError(
                f"{table.label} has no column {each}; the windows' samples are {name}_0 to {name}_{length - 1}"
            )
        kind = table.schema.field(each).type
        if not is_number(kind) and table.format == "parquet":
            raise DataError(f"{table.label}: {each} holds {kind}, not numbers")
    if found != length:
        raise DataError(f"{table.label} holds windows of {found} samples; {terms.length} {length}")

    def read(first: int, rows: pa.Table) -> NDArray[np.float32]:
        windows = np.empty((len(rows), length), np.float32)
        for position, each in enumerate(names):
            windows[:, position] = source.read(first, rows, each)
        return windows

    return read


def _float32(values: pa.Array, place: Callable[[int], str], source: _Source) -> NDArray[np.float32]:
    """Returns values as float32. `place` returns the file and row of the value at an index, for messages."""
    if pa.types.is_string(values.type):
        values = _parse(values, place, source.table, skip_na=source.gaps != "refuse")
    elif pa.types.is_decimal(values.type):
        values = pc.cast(values, pa.float64())
    if source.gaps == "refuse":
        _refuse_nulls(values, place, source.advice)
    exact = values.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        samples: NDArray[np.float32] = exact.astype(np.float32, copy=False)
    is_wrong = ~np.isfinite(samples) if source.gaps == "refuse" else np.isinf(samples)
    if (wrong := np.flatnonzero(is_wrong)).size:
        value = exact[wrong[0]]
        if np.isfinite(value):
            raise DataError(f"{place(wrong[0])} is {value:g}, beyond float32's {_MAX_FLOAT32:.3g}; scale the signal")
        advice = source.advice.nan if np.isnan(value) else source.advice.infinite
        raise DataError(f"{place(wrong[0])} is {value}; {advice}")
    return samples


def _parse(texts: pa.Array, place: Callable[[int], str], table: Table, skip_na: bool = False) -> pa.Array:
    """Returns the numbers of a CSV column, null for blank texts and, with `skip_na`, for NA. Raises DataError."""
    if skip_na:
        texts = pc.if_else(pc.equal(pc.ascii_trim_whitespace(texts), "NA"), pa.scalar(None, texts.type), texts)
    try:
        return table.dialect.numbers(texts, pa.float64())
    except pa.ArrowInvalid:
        for index in range(len(texts)):
            try:
                table.dialect.numbers(texts.slice(index, 1), pa.float64())
            except pa.ArrowInvalid:
                text, where = texts[index].as_py(), place(index)
                hint = table.dialect.hint_number(text, is_first=", row 1: " in where)
                raise DataError(f"{where} is {text!r}, which is not a number{hint}") from None
        raise


def _refuse_nulls(values: pa.Array, place: Callable[[int], str], advice: Advice) -> None:
    if values.null_count:
        index = pc.index(values.is_null(), True).as_py()
        raise DataError(f"{place(index)} is missing; {advice.missing}")


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _words(table: Table, kind: pa.DataType) -> str:
    return "one value a row" if table.format == "csv" else str(kind)
