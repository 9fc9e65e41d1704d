"""Conversion of window columns between numpy and arrow, without copies and without pandas."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from quadrature.runtime.errors import REMAKE, DataError
from quadrature.storage.places import Place

Columns = Mapping[str, NDArray[np.floating]]
"""Arrays by column name: (count, length) float32 for a list column, (count,) float64 for a number."""


NULLABLE = ("posterior_mean",)  # null in arrow, NaN in numpy


def to_table(columns: Columns) -> pa.Table:
    """Returns an arrow table that shares the arrays' memory."""
    arrays, fields = [], []
    for name, values in columns.items():
        array = _flat_array(values)
        if values.ndim == 2:
            element = pa.field("element", array.type, nullable=False)
            missing = _flat_array(values[:, 0]).is_null(nan_is_null=True) if name in NULLABLE else None
            array = pa.FixedSizeListArray.from_arrays(array, type=pa.list_(element, values.shape[1]), mask=missing)
        arrays.append(array)
        fields.append(pa.field(name, array.type, nullable=name in NULLABLE))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _flat_array(values: NDArray[np.floating]) -> pa.Array:
    """Returns pyarrow.array(values) without its import of pandas, which takes 0.25 s and 40 MB."""
    flat = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), flat.size, [None, pa.py_buffer(flat)])


def stack(columns: Columns, names: Sequence[str]) -> NDArray[np.floating]:
    """Returns columns of windows as one array, (count, columns, window_length)."""
    return np.stack([columns[name] for name in names], axis=1)


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    leaves = [
        f"{field.name}.list.element" if pa.types.is_fixed_size_list(field.type) else field.name for field in schema
    ]
    return pq.ParquetWriter(
        str(path.absolute()),  # pyarrow would take a path like s3:/x for a URL
        schema,
        compression="zstd",
        use_dictionary=False,
        column_encoding=dict.fromkeys(leaves, "BYTE_STREAM_SPLIT"),
        write_statistics=False,
    )


def check_columns(place: Place, names: Sequence[str], rows: int, expected: Sequence[str]) -> None:
    """Raises DataError unless a file has rows, and unique columns that begin with those expected, repeats aside."""
    first = list(dict.fromkeys(expected))
    if list(names[: len(first)]) != first or len(set(names)) < len(names):
        raise DataError(f"{place} has the columns {', '.join(names)}, not {', '.join(first)}; {REMAKE}")
    if rows == 0:
        raise DataError(f"{place} holds no windows; {REMAKE}")


def to_array(place: Place, name: str, column: pa.ChunkedArray) -> NDArray[np.floating]:
    """Returns a column as an array. Raises DataError for a wrong type, a null, or a value that is not finite."""
    rows = column.combine_chunks()
    flat = rows.flatten() if pa.types.is_fixed_size_list(rows.type) else rows  # leaves out null lists
    nulls = flat.null_count if name in NULLABLE else max(flat.null_count, rows.null_count)
    if flat.type not in (pa.float32(), pa.float64()) or nulls:
        raise DataError(f"{place}: {name} holds {column.type} with {nulls} nulls, not floats; {REMAKE}")
    values = cast("NDArray[np.floating]", np.from_dlpack(flat))  # to_numpy would import pandas
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0, 0]) // (getattr(rows.type, "list_size", 1))
        raise DataError(f"{place}, row {row}: {name} is not finite; {REMAKE}")
    if not pa.types.is_fixed_size_list(rows.type):
        return values
    values = values.reshape(-1, rows.type.list_size)
    if rows.null_count:
        spread = np.full((len(rows), rows.type.list_size), np.nan, values.dtype)
        spread[rows.is_valid().to_numpy(zero_copy_only=False)] = values
        return spread
    return values
