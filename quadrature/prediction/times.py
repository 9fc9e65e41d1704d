"""Checks that a signal's times are evenly spaced: a row that is missing altogether shifts all later ones."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from quadrature.runtime.errors import DataError
from quadrature.tables.columns import check_column, is_number
from quadrature.tables.table import Table

TOLERANCE = 0.1
"""How far a step from one row to the next may be from the usual step, as a fraction of it.

Steps that vary at random by up to this much raise the default model's error by 5 %. A missing row is ten times that.
"""


_STAMPS: Sequence[Callable[[pa.Array], pa.Array]] = (
    lambda texts: pc.cast(pc.ascii_trim_whitespace(texts), pa.timestamp("ns")),
    lambda texts: pc.cast(pc.ascii_trim_whitespace(texts), pa.timestamp("ns", "UTC")),  # of texts with a time zone
    lambda texts: pc.cast(
        pc.binary_join_element_wise("1970-01-01", pc.ascii_trim_whitespace(texts), " "), pa.timestamp("ns")
    ),
)


class EvenTimes:
    """Checks a column of times, numbers or timestamps, in the order of the rows.

    The usual step is the median of the steps in the first rows that are checked. Raises DataError if the column does
    not hold times.
    """

    def __init__(self, table: Table, column: str) -> None:
        check_column(table, column)
        kind = table.schema.field(column).type
        is_time = pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind)
        if not (is_time or is_number(kind)) and table.format == "parquet":
            raise DataError(f"{table.label}: {column} holds {kind}, not times; name a column of numbers or timestamps")
        self._table, self._column = table, column
        self._last: pa.Array | None = None
        self._step: float | None = None

    def check(self, first: int, rows: pa.Table) -> None:
        """Raises DataError for a time that is missing or not one step after the time before. `first` rows precede."""
        times = self._times(first, rows.column(self._column).combine_chunks())
        if self._last is not None and self._last.type != times.type:
            text = rows.column(self._column)[0].as_py()
            raise DataError(f"{self._place(first)} is {text!r}, which is not a time like those before")
        joined = times if self._last is None else pa.concat_arrays([self._last, times])
        self._last = times.slice(len(times) - 1)
        steps, unit = _steps(joined)
        if not len(steps):
            return
        if self._step is None:
            self._step = float(np.median(steps))
            if self._step <= 0.0:
                raise DataError(
                    f"{self._table.label}: {self._column} does not increase; sort the rows, or name a column of times"
                )
        wrong = np.flatnonzero(~(np.abs(steps - self._step) <= TOLERANCE * self._step))
        if wrong.size:
            row = first + int(wrong[0]) + len(times) - len(steps)
            raise DataError(
                f"{self._place(row)} is {steps[wrong[0]]:.6g}{unit} after the row before, where {self._step:.6g}{unit} "
                "was expected; put rows that are missing back, with an empty sample, and give --gaps"
            )

    def _times(self, first: int, values: pa.Array) -> pa.Array:
        if pa.types.is_string(values.type):
            self._refuse_missing(first, pc.or_kleene(values.is_null(), pc.equal(pc.ascii_trim_whitespace(values), "")))
            values = self._parse(first, values)
        elif pa.types.is_decimal(values.type):
            values = pc.cast(values, pa.float64())
        if pa.types.is_time(values.type):  # of a day
            values = pc.cast(pc.cast(pc.cast(values, pa.time64("ns")), pa.int64()), pa.duration("ns"))
        self._refuse_missing(first, values.is_null(nan_is_null=True))
        return values

    def _refuse_missing(self, first: int, missing: pa.Array) -> None:
        if missing.true_count:
            raise DataError(f"{self._place(first + pc.index(missing, True).as_py())} is missing; put its time there")

    def _parse(self, first: int, texts: pa.Array) -> pa.Array:
        """Returns texts as what the first of them is: numbers, or timestamps or times of the day, as in ISO 8601."""
        dialect = self._table.dialect
        for read in (lambda texts: dialect.numbers(texts, pa.float64()), *_STAMPS):
            if not _can(read, texts.slice(0, 1)):
                continue
            if _can(read, texts):
                return read(texts)
            row = next(row for row in range(len(texts)) if not _can(read, texts.slice(row, 1)))
            raise DataError(
                f"{self._place(first + row)} is {texts[row].as_py()!r}, which is not a time like those before"
            )
        text = texts[0].as_py()
        raise DataError(
            f"{self._place(first)} is {text!r}, which is neither a number nor a time such as 2026-01-31 12:00:00.125"
            f"{dialect.hint_number(text, first == 0)}"
        )

    def _place(self, row: int) -> str:
        return f"{self._table.place(row)}: {self._column}"


def _steps(times: pa.Array) -> tuple[NDArray[np.float64], str]:
    """Returns the differences of successive times, and their unit."""
    values = times.to_numpy(zero_copy_only=False)
    if values.dtype.kind in "mM":
        return np.diff(values) / np.timedelta64(1, "s"), " s"
    if values.dtype.kind == "u":  # differences of unsigned numbers are never negative
        return np.diff(values.astype(np.uint64)).view(np.int64).astype(np.float64), ""
    return np.diff(values).astype(np.float64), ""


def _can(read: Callable[[pa.Array], pa.Array], texts: pa.Array) -> bool:
    try:
        read(texts)
    except pa.ArrowInvalid:
        return False
    return True
