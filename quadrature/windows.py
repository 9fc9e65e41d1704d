"""Windows in parquet files: one row a window, written whole, checked when read. No torch, no pandas.

A split is a folder of shards, part-00000.parquet onwards; data/predictions.parquet has the same rows plus
estimates of the target; data/snapshots.parquet has the same few windows again for each snapshot of training.
A file's footer holds, under the key `quadrature`, its place among the split's shards and a SHA-256 of each column's
values, so a file that was truncated, reordered, edited or put in another's place is refused, however it came about,
at the cost of one hash over the columns that are read.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from quadrature.errors import DataError
from quadrature.files import replacing

Columns = Mapping[str, NDArray[np.floating]]
"""Arrays by column name: (count, length) float32 for a list column, (count,) float64 for a number."""

WINDOW_COLUMNS = ("input", "target", "phase", "frequency", "amplitude")
ESTIMATE_COLUMNS = ("prediction", "posterior_mean", "least_squares", "hilbert")
SNAPSHOT_COLUMNS = ("step", "input", "target", "prediction")
_NULLABLE = ("posterior_mean",)  # null where a row has none, not a number in the array
_KEY = b"quadrature"
_REMEDY = "run `dvc repro` to make it again"


class _Footer(BaseModel):
    """What a file says of itself: its place among a split's shards, and its columns in order with their digests."""

    shard: int
    shards: int
    sha256: dict[str, str]


def shard_path(folder: Path, shard: int) -> Path:
    """Returns where a split's shard lies."""
    return folder / f"part-{shard:05}.parquet"


class WindowWriter:
    """Appends windows to a parquet file, a row group a call, holding no more than that in memory.

    The same arrays give the same bytes. zstd over byte-stream-split floats is the smallest of the encodings
    that pyarrow offers for these values: see benchmarks/parquet.py.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pq.ParquetWriter | None = None
        self._digests: dict[str, hashlib._Hash] = {}

    def write(self, columns: Columns) -> None:
        """Appends one row group; every call brings the same columns."""
        table = _table(columns)
        if self._file is None:
            self._file = _open_writer(self._path, table.schema)
            self._digests = {name: hashlib.sha256() for name in columns}
        for name, values in columns.items():
            known = values[~np.isnan(values[:, 0])] if name in _NULLABLE else values
            self._digests[name].update(np.ascontiguousarray(known).data)
        self._file.write_table(table, row_group_size=table.num_rows)

    def close(self, shard: int, shards: int) -> None:
        """Writes the footer."""
        if self._file is not None:
            sha256 = {name: digest.hexdigest() for name, digest in self._digests.items()}
            footer = _Footer(shard=shard, shards=shards, sha256=sha256).model_dump_json()
            self._file.add_key_value_metadata({_KEY: footer.encode()})
            self._file.close()


@contextmanager
def writing(path: Path, shard: int = 0, shards: int = 1) -> Iterator[WindowWriter]:
    """Yields a writer to a file that appears at `path` whole, or not at all."""
    with replacing(path) as temporary:
        writer = WindowWriter(temporary)
        try:
            yield writer
        finally:
            writer.close(shard, shards)


def read_split(
    folder: Path, columns: Sequence[str], length: int | None = None
) -> Iterator[dict[str, NDArray[np.floating]]]:
    """Yields the named columns of each shard of a split, in order.

    Raises DataError naming the file when a shard is missing, damaged or foreign, when it holds a value that is not
    finite, or windows of another length: than the one given, or else than the first shard's.
    """
    for path, shard, shards in _shards(folder):
        arrays = _read(path, columns, shard, shards)
        found = arrays["input"].shape[1] if "input" in arrays else None
        if found != (length := length or found):
            raise DataError(f"{path} holds windows of {found} samples, not of {length}; {_REMEDY}")
        yield arrays


def read_windows(path: Path, columns: Sequence[str]) -> dict[str, NDArray[np.floating]]:
    """Returns the named columns of a file that stands alone. Raises DataError as read_split does."""
    return _read(path, columns, 0, 1)


def read_snapshots(path: Path) -> dict[str, NDArray[np.floating]]:
    """Returns the columns of data/snapshots.parquet. Raises DataError as read_split does."""
    return _read(path, SNAPSHOT_COLUMNS, 0, 1, leading=())


def _table(columns: Columns) -> pa.Table:
    """Returns an arrow table over the arrays, without copying them."""
    arrays, fields = [], []
    for name, values in columns.items():
        array = pa.array(values.reshape(-1))
        if values.ndim == 2:
            element = pa.field("element", array.type, nullable=False)
            missing = pa.array(np.isnan(values[:, 0])) if name in _NULLABLE else None
            array = pa.FixedSizeListArray.from_arrays(array, type=pa.list_(element, values.shape[1]), mask=missing)
        arrays.append(array)
        fields.append(pa.field(name, array.type, nullable=name in _NULLABLE))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    leaves = [
        f"{field.name}.list.element" if pa.types.is_fixed_size_list(field.type) else field.name for field in schema
    ]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=False,
        column_encoding=dict.fromkeys(leaves, "BYTE_STREAM_SPLIT"),
        write_statistics=False,
    )


def _shards(folder: Path) -> Iterator[tuple[Path, int, int]]:
    """Yields each shard's path and number, and their count."""
    shards = len(list(folder.glob("part-*.parquet")))
    if shards == 0:
        raise DataError(f"{folder} holds no part-*.parquet; run `dvc repro generate`")
    for shard in range(shards):
        yield shard_path(folder, shard), shard, shards


def _read(
    path: Path, columns: Sequence[str], shard: int, shards: int, leading: Sequence[str] = WINDOW_COLUMNS
) -> dict[str, NDArray[np.floating]]:
    """Returns the named columns of a file whose first ones are `leading`."""
    try:
        with pq.ParquetFile(path) as file:
            footer = _footer(path, file)
            names = tuple(file.schema_arrow.names)
            table = file.read(columns=list(columns), use_threads=False)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; {_REMEDY}") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is no readable parquet file ({' '.join(str(error).split())}); {_REMEDY}") from None

    if (footer.shard, footer.shards) != (shard, shards):
        place = f"shard {footer.shard} of {footer.shards}"
        raise DataError(f"{path} was written as {place}, but is found as {shard} of {shards}; {_REMEDY}")
    expected = (*leading, *(name for name in columns if name not in leading))
    if names != tuple(footer.sha256) or names[: len(expected)] != expected:
        raise DataError(f"{path} has the columns {', '.join(names)}, not {', '.join(expected)}; {_REMEDY}")
    if table.num_rows == 0:
        raise DataError(f"{path} holds no windows; {_REMEDY}")
    return {name: _values(path, name, table.column(name), footer.sha256[name]) for name in columns}


def _footer(path: Path, file: pq.ParquetFile) -> _Footer:
    text = (file.metadata.metadata or {}).get(_KEY, b"")
    try:
        return _Footer.model_validate_json(text)
    except ValidationError:
        raise DataError(f"{path} was not written by this project (its footer lacks digests); {_REMEDY}") from None


def _values(path: Path, name: str, column: pa.ChunkedArray, sha256: str) -> NDArray[np.floating]:
    """Returns a column as an array, after checking its type, its digest and that every value there is finite."""
    rows = column.combine_chunks()
    flat = rows.flatten() if pa.types.is_fixed_size_list(rows.type) else rows  # without the lists that are null
    if flat.type not in (pa.float32(), pa.float64()) or flat.null_count:
        raise DataError(f"{path}: {name} holds {column.type} with {flat.null_count} nulls, not floats; {_REMEDY}")
    values: NDArray[np.floating] = flat.to_numpy()
    if hashlib.sha256(values.data).hexdigest() != sha256:
        raise DataError(f"{path}: the values of {name} are not the ones written there; {_REMEDY}")
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0, 0]) // (getattr(rows.type, "list_size", 1))
        raise DataError(f"{path}, row {row}: {name} is not finite; {_REMEDY}")
    if not pa.types.is_fixed_size_list(rows.type):
        return values
    values = values.reshape(-1, rows.type.list_size)
    if rows.null_count:
        spread = np.full((len(rows), rows.type.list_size), np.nan, values.dtype)
        spread[rows.is_valid().to_numpy(zero_copy_only=False)] = values
        return spread
    return values
