"""Reads users' tables, parquet or CSV, a part at a time. Needs no torch and no pandas.

`quadrature.storage.windows` reads the project's own files, which have digests. `quadrature.prediction.columns`
interprets the columns.
"""

import csv
import io
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from quadrature.prediction.footer import check_size
from quadrature.runtime.errors import DataError
from quadrature.runtime.system_errors import refuse_special, reraise_systems
from quadrature.storage.places import Place

Format = Literal["parquet", "csv"]

_BLOCK = 2**20  # bytes of a CSV file held at once, and the longest line
_BUFFER = 2**18  # bytes of each parquet column read at once


def format_of(place: Place) -> Format:
    """Returns a file's format by its suffix. Raises DataError if the suffix is of neither format."""
    match Path(place).suffix.lower():
        case ".parquet":
            return "parquet"
        case ".csv":
            return "csv"
    raise DataError(f"{place} ends in neither .parquet nor .csv; rename it")


def sniff_format(path: Path) -> Format:
    """Returns the format of a file without a suffix: parquet by its first four bytes, else CSV."""
    with path.open("rb") as file:
        return "parquet" if file.read(4) == b"PAR1" else "csv"


@dataclass(frozen=True)
class Table:
    """A parquet file, a folder of part-*.parquet as one table, or a CSV file. open_table makes it."""

    label: str  # its name in messages
    format: Format
    files: Sequence[Path]
    starts: Sequence[int]  # the number of rows before each file
    rows: int | None  # None for CSV, whose rows are not counted in advance
    schema: pa.Schema

    def place(self, row: int) -> str:
        """Returns the file and the row in it, counted from 1, of a row of the table, counted from 0."""
        file = bisect_right(self.starts, row) - 1
        label = self.label if len(self.files) == 1 else self.files[file]
        return f"{label}, row {row - self.starts[file] + 1}"

    def slabs(self, size: int) -> Iterator[tuple[int, pa.Table]]:
        """Yields parts of `size` rows, the last with the rest, each with the number of rows before it.

        Raises DataError if a file cannot be read, or if the table has no rows.
        """
        first, waiting, count = 0, list[pa.RecordBatch](), 0
        for batch in self._batches(size):
            waiting.append(batch)
            count += len(batch)
            while count >= size:
                rows = pa.Table.from_batches(waiting)
                yield first, rows.slice(0, size)
                waiting = rows.slice(size).to_batches()
                first, count = first + size, count - size
        if first + count == 0:
            raise DataError(f"{self.label} holds no rows, so there is nothing to estimate")
        if count:
            yield first, pa.Table.from_batches(waiting)

    def _batches(self, size: int) -> Iterator[pa.RecordBatch]:
        if self.format == "csv":
            yield from _read_csv(self.label, self.files[0], self.schema)
            return
        for path in self.files:
            with _refusing(self.label if len(self.files) == 1 else str(path), "parquet"), _open_parquet(path) as file:
                yield from file.iter_batches(batch_size=size, use_threads=False)


def open_table(path: Path, kind: Format, label: str, typed: bool) -> Table:
    """Reads a table's columns. Raises DataError if it is missing, unreadable, or has two columns of one name.

    The columns of a CSV file are text. With `typed`, each is of the first type that fits all its values: whole numbers,
    numbers or text; the file is then read twice.
    """
    if kind == "parquet":
        table = _open_files(label, path)
    else:
        schema = _text_schema(label, path)
        table = Table(label, kind, (path,), (0,), None, _infer_types(label, path, schema) if typed else schema)
    for name, count in Counter(table.schema.names).items():
        if count > 1:
            raise DataError(f"{label} has two columns named {name}; rename one")
    return table


def _open_files(label: str, path: Path) -> Table:
    files = sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{label} holds no part-*.parquet; give a file, or a folder of these")
    starts, schema = [0], None
    for file in files:
        with _refusing(label if len(files) == 1 else str(file), "parquet"), _open_parquet(file) as opened:
            check_size(label if len(files) == 1 else str(file), opened)
            starts.append(starts[-1] + opened.metadata.num_rows)
            found = opened.schema_arrow
        schema = schema or found
        if not found.equals(schema):
            raise DataError(f"{file} and {files[0]} have different columns; give the files one at a time")
    return Table(label, "parquet", files, starts[:-1], starts[-1], schema)


def _open_parquet(path: Path) -> pq.ParquetFile:
    refuse_special(path)
    # With other values, pyarrow holds a row group, or all of them. It would take a relative path like s3:/x for a URL.
    return pq.ParquetFile(path.absolute(), pre_buffer=False, buffer_size=_BUFFER)


def _text_schema(label: str, path: Path) -> pa.Schema:
    with _refusing(label, "CSV"), path.open(encoding="utf-8-sig", newline="") as file:
        head = file.read(_BLOCK + 1)
        if len(head) > _BLOCK and "\n" not in head and "\r" not in head:
            raise ValueError(f"its first line is longer than {_BLOCK:,} characters")
        names = next(csv.reader(io.StringIO(head, newline="")), [])
    if not names:
        raise DataError(f"{label} is empty or begins with an empty line; its first line should name its columns")
    return pa.schema([(name, pa.string()) for name in names])


def _infer_types(label: str, path: Path, text: pa.Schema) -> pa.Schema:
    """Returns each column with the first type that fits all its values: whole numbers, numbers or text."""
    types = [pa.int64() for _ in text.names]
    for batch in _read_csv(label, path, text):
        for index, column in enumerate(batch.columns):
            while not _can_be(column, types[index]):
                types[index] = pa.float64() if types[index] == pa.int64() else pa.string()
    return pa.schema(zip(text.names, types, strict=True))


def _can_be(column: pa.Array, kind: pa.DataType) -> bool:
    try:
        pc.cast(column, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _read_csv(label: str, path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yields a CSV file's rows, with blank fields as nulls."""
    ragged: list[pa.csv.InvalidRow] = []

    def note(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    read = pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK)  # with threads, invalid rows have no numbers
    parse = pa.csv.ParseOptions(
        newlines_in_values=True,
        ignore_empty_lines=False,  # in a signal, a blank line is a missing sample
        invalid_row_handler=note,
    )
    convert = pa.csv.ConvertOptions(column_types=schema, null_values=[""], strings_can_be_null=True)
    try:
        with _refusing(label, "CSV"), pa.csv.open_csv(path, read, parse, convert) as reader:
            yield from reader
    except DataError:
        if not ragged:
            raise
        found, expected = ragged[0].actual_columns, ragged[0].expected_columns
        row = ragged[0].number - 1  # arrow counts the header
        raise DataError(f"{label}, row {row} has {found} fields, but the header has {expected}") from None


@contextmanager
def _refusing(label: str, kind: str) -> Iterator[None]:
    """Turns errors from reading into a DataError of one line."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{label} is missing") from None
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        reraise_systems(error, label)
        raise DataError(f"{label} is not a readable {kind} file ({error_text(error)})") from None


def error_text(error: Exception) -> str:
    """Returns an error's message in one line, without the path of a system error."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())
