"""Tables that others made, in parquet or CSV: read and written as a stream, a part at a time. No torch, no pandas.

`quadrature.storage.windows` has the project's own files, which carry digests; of these here nothing is known but their
columns' names. What the columns mean is left to `quadrature.prediction.columns`.
"""

import csv
import io
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from quadrature.runtime.errors import DataError
from quadrature.storage.places import Place

Format = Literal["parquet", "csv"]

_BLOCK = 2**20  # bytes of a CSV file held at once; a line may be as long
_BUFFER = 2**18  # bytes of each column of a parquet file read at once


def format_of(place: Place) -> Format:
    """Returns a file's format by its suffix. Raises DataError where that says nothing."""
    match Path(place).suffix.lower():
        case ".parquet":
            return "parquet"
        case ".csv":
            return "csv"
    raise DataError(f"{place} ends in neither .parquet nor .csv; rename it")


def sniff_format(path: Path) -> Format:
    """Returns the format of a file without a name: parquet by its first four bytes, else CSV."""
    with path.open("rb") as file:
        return "parquet" if file.read(4) == b"PAR1" else "csv"


@dataclass(frozen=True)
class Table:
    """A parquet file, a folder's part-*.parquet one after another, or a CSV file; made by open_table."""

    label: str  # what its user calls it
    format: Format
    files: Sequence[Path]
    starts: Sequence[int]  # the rows before each file
    rows: int | None  # None where only reading on would tell
    schema: pa.Schema

    def place(self, row: int) -> str:
        """Returns the file, and the row in it from 1, of the table's row from 0."""
        file = bisect_right(self.starts, row) - 1
        label = self.label if len(self.files) == 1 else self.files[file]
        return f"{label}, row {row - self.starts[file] + 1}"

    def slabs(self, size: int) -> Iterator[tuple[int, pa.Table]]:
        """Yields the table in parts of `size` rows, the last with what is left, each after the count of rows before it.

        Raises DataError where a file cannot be read on, and where the table has no row at all.
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
    """Looks at a table's columns. Raises DataError if it is missing, unreadable, or has two columns of one name.

    A CSV file says nothing of types, so its columns are text. With `typed`, each is what all its values can be, whole
    numbers, numbers or text, at the price of reading the file twice.
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


class TableWriter:
    """Appends tables of the same columns to a parquet or CSV file, a row group a call. Numbers keep every bit."""

    def __init__(self, file: BinaryIO, kind: Format, label: str) -> None:
        self._file, self._kind, self._label = file, kind, label
        self._parquet: pq.ParquetWriter | None = None
        self._has_header = False

    def write(self, table: pa.Table) -> None:
        """Appends rows. Raises DataError if they hold what the format cannot."""
        try:
            if self._kind == "csv":
                self._write_csv(table)
            else:
                self._parquet = self._parquet or _open_writer(self._file, table.schema)
                self._parquet.write_table(table, row_group_size=len(table))
        except pa.ArrowException as error:
            advice = "; write parquet" if self._kind == "csv" else ""
            raise DataError(f"{self._label} cannot hold all columns ({_one_line(error)}){advice}") from None

    def close(self) -> None:
        """Writes parquet's footer."""
        if self._parquet is not None:
            self._parquet.close()

    def _write_csv(self, table: pa.Table) -> None:
        if not self._has_header:
            header = io.StringIO()
            csv.writer(header, lineterminator="\n").writerow(table.column_names)
            self._file.write(header.getvalue().encode())
            self._has_header = True
        try:
            rows = _csv_rows(table, "none")
        except pa.ArrowInvalid:  # text that needs quotes, in which case pyarrow gives them to all text
            rows = _csv_rows(table, "needed")
        self._file.write(rows)


def _open_files(label: str, path: Path) -> Table:
    files = sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{label} holds no part-*.parquet; give a file, or a folder of these")
    starts, schema = [0], None
    for file in files:
        with _refusing(label if len(files) == 1 else str(file), "parquet"), _open_parquet(file) as opened:
            starts.append(starts[-1] + opened.metadata.num_rows)
            found = opened.schema_arrow
        schema = schema or found
        if not found.equals(schema):
            raise DataError(f"{file} has other columns than {files[0]}; give them one by one")
    return Table(label, "parquet", files, starts[:-1], starts[-1], schema)


def _open_parquet(path: Path) -> pq.ParquetFile:
    # Buffered, and nothing fetched ahead: otherwise pyarrow holds a row group, or all of them.
    # Absolute, as of one like s3:/x pyarrow would make a store's URL.
    return pq.ParquetFile(path.absolute(), pre_buffer=False, buffer_size=_BUFFER)


def _open_writer(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """Opens a writer of the project's encoding, as in quadrature.storage.windows; dictionaries for all but floats."""
    floats = {field.name: field.type for field in schema if _is_float(field.type)}
    others = [name for name in schema.names if name not in floats]
    leaves = [name if pa.types.is_floating(floats[name]) else f"{name}.list.element" for name in floats]
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=others,
        column_encoding={leaf: "BYTE_STREAM_SPLIT" for leaf in leaves if leaf not in others},  # or it takes neither
        write_statistics=False,
    )


def _is_float(kind: pa.DataType) -> bool:
    """Whether a column, or the lists in it, are floats for which parquet has an encoding of their own."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return kind in (pa.float32(), pa.float64())


def _text_schema(label: str, path: Path) -> pa.Schema:
    with _refusing(label, "CSV"), path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    if not names:
        raise DataError(f"{label} is empty or begins with an empty line; its first line should name its columns")
    return pa.schema([(name, pa.string()) for name in names])


def _infer_types(label: str, path: Path, text: pa.Schema) -> pa.Schema:
    """Returns for each column the first of whole numbers, numbers and text that all its values can be."""
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
    """Yields a CSV file's rows, blank fields as nulls."""
    ragged: list[pa.csv.InvalidRow] = []

    def note(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    read = pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK)  # threads would lose the rows' numbers
    parse = pa.csv.ParseOptions(
        newlines_in_values=True,
        ignore_empty_lines=False,  # in a signal, a blank line is a sample that is missing
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


def _csv_rows(table: pa.Table, quotes: str) -> memoryview:
    rows = pa.BufferOutputStream()
    pa.csv.write_csv(table, rows, pa.csv.WriteOptions(include_header=False, quoting_style=quotes))
    return memoryview(rows.getvalue())


@contextmanager
def _refusing(label: str, kind: str) -> Iterator[None]:
    """Turns what reading may raise into a DataError of one line."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{label} is missing") from None
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"{label} is no readable {kind} file ({_one_line(error)})") from None


def _one_line(error: Exception) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error)).split())
