"""Reads the rows of a CSV file, a block at a time."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from quadrature.runtime.errors import DataError
from quadrature.tables.csv_text import open_text
from quadrature.tables.dialect import Dialect
from quadrature.tables.refusing import check_names, refusing

_BLOCK = 2**20  # bytes of a CSV file held at once, and the longest line
_LEADING_ZERO = r"^\s*[-+]?0[0-9xX]"  # a number would lose it, as in a serial number
_LONG = r"^\s*[-+]?[0-9]{16,}\s*$"  # float64 would round it


def csv_schema(label: str, path: Path, dialect: Dialect, typed: bool) -> pa.Schema:
    """Returns the columns of a CSV file, as text; with `typed`, of the first type that keeps all their values.

    The types are whole numbers, numbers and text; the file is read once to find them. A file without a header has the
    columns input_0, input_1 and so on, or input if it has only one. Raises DataError.
    """
    fields = _first_fields(label, path, dialect)
    names = fields
    if not dialect.header:
        names = [f"input_{index}" for index in range(len(fields))] if len(fields) > 1 else ["input"]
    check_names(label, names, dialect.hint(fields))
    text = pa.schema([(name, pa.string()) for name in names])
    return _infer_types(label, path, text, dialect) if typed else text


def hint_of(label: str, path: Path, dialect: Dialect) -> str:
    """Returns the option that a CSV file's first line suggests, as the end of a message; mostly none."""
    return dialect.hint(_first_fields(label, path, dialect))


def read_csv(label: str, path: Path, schema: pa.Schema, dialect: Dialect) -> Iterator[pa.RecordBatch]:
    """Yields a CSV file's rows, with blank fields as nulls. Raises DataError."""
    ragged: list[pa.csv.InvalidRow] = []

    def note(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    read = pa.csv.ReadOptions(
        use_threads=False,  # with threads, invalid rows have no numbers
        block_size=_BLOCK,
        column_names=schema.names,
        skip_rows_after_names=int(dialect.header),
    )
    parse = pa.csv.ParseOptions(
        delimiter=dialect.delimiter,
        newlines_in_values=True,
        ignore_empty_lines=False,  # in a signal, a blank line is a missing sample
        invalid_row_handler=note,
    )
    types = dict.fromkeys(schema.names, pa.string())
    convert = pa.csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    try:
        with refusing(label, "CSV"), pa.csv.open_csv(open_text(path, dialect), read, parse, convert) as reader:
            for batch in reader:
                yield _typed(batch, schema, dialect)
    except DataError:
        if not ragged:
            raise
        found, expected = ragged[0].actual_columns, ragged[0].expected_columns
        row = ragged[0].number - dialect.header
        hint = dialect.hint([ragged[0].text or ""] * found) or hint_of(label, path, dialect)
        header = "the header" if dialect.header else "the first row"
        raise DataError(f"{label}, row {row} has {found} fields, but {header} has {expected}{hint}") from None


def _first_fields(label: str, path: Path, dialect: Dialect) -> list[str]:
    with refusing(label, "CSV"):
        head = open_text(path, dialect).read(_BLOCK + 1).decode(errors="ignore")  # it may end inside a character
        if len(head) > _BLOCK and "\n" not in head and "\r" not in head:
            raise ValueError(f"its first line is longer than {_BLOCK:,} characters")
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=dialect.delimiter)
        fields = [field.strip() for field in next(rows, [])]
    if not fields:
        should = "name its columns" if dialect.header else "hold samples"
        raise DataError(f"{label} is empty or begins with an empty line; its first line should {should}")
    return fields


def _infer_types(label: str, path: Path, text: pa.Schema, dialect: Dialect) -> pa.Schema:
    types = [pa.int64() for _ in text.names]
    for batch in read_csv(label, path, text, dialect):
        for index, column in enumerate(batch.columns):
            while not _can_be(column, types[index], dialect):
                types[index] = pa.float64() if types[index] == pa.int64() else pa.string()
    return pa.schema(zip(text.names, types, strict=True))


def _can_be(column: pa.Array, kind: pa.DataType, dialect: Dialect) -> bool:
    if kind == pa.string():
        return True
    lost = _LEADING_ZERO if kind == pa.int64() else f"{_LEADING_ZERO}|{_LONG}"
    if pc.any(pc.match_substring_regex(column, lost)).as_py():
        return False
    try:
        dialect.numbers(column, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _typed(batch: pa.RecordBatch, schema: pa.Schema, dialect: Dialect) -> pa.RecordBatch:
    columns = [
        column if kind == pa.string() else dialect.numbers(column, kind)
        for column, kind in zip(batch.columns, schema.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
