"""Reads users' tables, parquet, CSV or WAV, a part at a time. Needs no torch and no pandas.

`quadrature.storage.windows` reads the project's own files, which have digests. `quadrature.tables.columns`
interprets the columns.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from quadrature.runtime.errors import DataError
from quadrature.runtime.system_errors import refuse_special
from quadrature.storage.places import Place
from quadrature.tables.csv_rows import csv_schema, hint_of, read_csv
from quadrature.tables.dialect import Dialect
from quadrature.tables.footer import check_size
from quadrature.tables.refusing import check_names, refusing
from quadrature.tables.wav import Recording, open_wav, read_wav

Format = Literal["parquet", "csv"]
"""What is written."""

InputFormat = Literal["parquet", "csv", "wav"]
"""What is read."""

_BUFFER = 2**18  # bytes of each parquet column read at once


def format_of(place: Place) -> Format:
    """Returns a file's format by its suffix. Raises DataError if the suffix is of neither format."""
    name = str(place).lower()
    if name.endswith(".parquet"):
        return "parquet"
    if name.endswith((".csv", ".csv.gz", ".csv.zst")):
        return "csv"
    raise DataError(f"{place} ends in neither .parquet nor .csv; rename it")


def input_format_of(place: Place) -> InputFormat:
    """Returns the format of a file to read by its suffix. Raises DataError."""
    return "wav" if str(place).lower().endswith(".wav") else format_of(place)


def sniff_format(path: Path) -> Format:
    """Returns the format of a file without a suffix: parquet by its first four bytes, else CSV."""
    with path.open("rb") as file:
        return "parquet" if file.read(4) == b"PAR1" else "csv"


@dataclass(frozen=True)
class Table:
    """A parquet file, a folder of part-*.parquet as one table, a CSV or a WAV file. open_table makes it."""

    label: str  # its name in messages
    format: InputFormat
    files: Sequence[Path]
    starts: Sequence[int]  # the number of rows before each file
    rows: int | None  # None for CSV, whose rows are not counted in advance
    schema: pa.Schema
    dialect: Dialect = field(default_factory=Dialect)  # of CSV
    recording: Recording | None = None  # of WAV

    @property
    def hint(self) -> str:
        """What a message about missing columns ends with: the option that they suggest; mostly nothing."""
        return hint_of(self.label, self.files[0], self.dialect) if self.format == "csv" else ""

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
            yield from read_csv(self.label, self.files[0], self.schema, self.dialect)
            return
        if self.recording is not None:
            yield from read_wav(self.label, self.recording, size)
            return
        for path in self.files:
            with refusing(self.label if len(self.files) == 1 else str(path), "parquet"), _open_parquet(path) as file:
                yield from file.iter_batches(batch_size=size, use_threads=False)


def open_table(path: Path, kind: InputFormat, label: str, typed: bool, dialect: Dialect | None = None) -> Table:
    """Reads a table's columns. Raises DataError if it is missing, unreadable, or has two columns of one name.

    The columns of a CSV file are text. With `typed`, each is of the first type that fits all its values: whole numbers,
    numbers or text; the file is then read twice.
    """
    if kind == "parquet":
        table = _open_files(label, path)
        check_names(label, table.schema.names)
        return table
    if kind == "wav":
        recording = open_wav(label, path)
        return Table(label, kind, (path,), (0,), recording.rows, recording.schema, recording=recording)
    dialect = dialect or Dialect()
    return Table(label, kind, (path,), (0,), None, csv_schema(label, path, dialect, typed), dialect)


def _open_files(label: str, path: Path) -> Table:
    files = sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{label} holds no part-*.parquet; give a file, or a folder of these")
    starts, schema = [0], None
    for file in files:
        with refusing(label if len(files) == 1 else str(file), "parquet"), _open_parquet(file) as opened:
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
