"""Writes tables with estimates, parquet or CSV, a part at a time."""

import csv
import io
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from quadrature.runtime.errors import DataError
from quadrature.runtime.system_errors import reraise_systems
from quadrature.tables.refusing import error_text
from quadrature.tables.table import Format


def compressed(file: BinaryIO, compression: str | None) -> AbstractContextManager[BinaryIO]:
    """Returns a file that compresses what is written to another; the other itself for no compression."""
    return nullcontext(file) if compression is None else pa.CompressedOutputStream(file, compression)


class TableWriter:
    """Writes tables of the same columns to a parquet or CSV file, a row group each. Numbers keep every bit."""

    def __init__(self, file: BinaryIO, kind: Format, label: str) -> None:
        self._file, self._kind, self._label = file, kind, label
        self._parquet: pq.ParquetWriter | None = None
        self._has_header = False

    def write(self, table: pa.Table) -> None:
        """Appends rows. Raises DataError if the format cannot hold a column."""
        try:
            if self._kind == "csv":
                self._write_csv(table)
            else:
                self._parquet = self._parquet or _open_writer(self._file, table.schema)
                self._parquet.write_table(table, row_group_size=len(table))
        except pa.ArrowException as error:
            reraise_systems(error, self._label)
            advice = "; write parquet" if self._kind == "csv" else ""
            raise DataError(f"{self._label} cannot hold all columns ({error_text(error)}){advice}") from None

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
        except pa.ArrowInvalid:  # a text needs quotes; pyarrow then quotes every text
            rows = _csv_rows(table, "needed")
        self._file.write(rows)


def _open_writer(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """Opens a writer: floats are encoded as in quadrature.storage.windows, other columns with dictionaries."""
    floats = {field.name: field.type for field in schema if _is_float(field.type)}
    others = [name for name in schema.names if name not in floats]
    leaves = [name if pa.types.is_floating(floats[name]) else f"{name}.list.element" for name in floats]
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=others,
        column_encoding={leaf: "BYTE_STREAM_SPLIT" for leaf in leaves if leaf not in others},  # one of the two
        write_statistics=False,
    )


def _is_float(kind: pa.DataType) -> bool:
    """Whether a column, or the lists in it, are floats that parquet's BYTE_STREAM_SPLIT encodes."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return kind in (pa.float32(), pa.float64())


def _csv_rows(table: pa.Table, quotes: str) -> memoryview:
    rows = pa.BufferOutputStream()
    pa.csv.write_csv(table, rows, pa.csv.WriteOptions(include_header=False, quoting_style=quotes))
    return memoryview(rows.getvalue())
