"""Windows in parquet files: one row per window, written atomically, checked when read. Imports no torch and no pandas.

A split is a folder of shards, part-00000.parquet and so on; all but the last hold the same number of windows. It may
have further columns: `in_phase`, the sine without noise, which windows of one's own may lack. data/predictions.parquet
has the test split's rows plus estimates; data/snapshots.parquet repeats a few windows for each snapshot of training. A
file's footer holds, under the key `quadrature`, the file's place among the shards and its SHA-256. So a truncated,
edited or misplaced file is refused.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from quadrature.runtime.errors import REMAKE, DataError
from quadrature.runtime.system_errors import reraise_systems
from quadrature.storage import digest
from quadrature.storage.arrow import Columns, check_columns, open_writer, to_array, to_table
from quadrature.storage.places import Place, StoreError, join, reading, replacing

WINDOW_COLUMNS = ("input", "target", "phase", "frequency", "amplitude")
TARGET_COLUMNS = ("target",)
COMPONENTS = ("in_phase", "target")  # of the analytic signal: the target is its quadrature component
ESTIMATE_COLUMNS = ("prediction", "posterior_mean", "least_squares", "hilbert")
IN_PHASE_COLUMNS = ("in_phase_prediction", "in_phase")  # of data/predictions.parquet; the truth may not be known
SNAPSHOT_COLUMNS = ("step", "input", "target", "prediction")

_SHARD = re.compile(r"/\.?part-([0-9]+)\.parquet(?:\.tmp)?$")  # includes the temporary names of storage.files
_KEY = b"quadrature"


class _Footer(BaseModel):
    """The metadata of a file: its place among a split's shards, and its digest."""

    shard: int
    shards: Annotated[int, Field(le=2**24)]  # a split's sizes are held in memory
    sha256: str


def shard_path(folder: Place, shard: int) -> Place:
    """Returns the place of a split's shard."""
    return join(folder, f"part-{shard:05}.parquet")


def shard_number(place: Place) -> int | None:
    """Returns the number of a shard's file, finished or temporary; None for any other file."""
    found = _SHARD.search(str(place))
    return int(found[1]) if found else None


class WindowWriter:
    """Appends windows to a parquet file, one row group per call, holding only that in memory.

    The same arrays give the same bytes. zstd over byte-stream-split floats is the smallest of pyarrow's encodings for
    these values: 111 bytes a window of ten samples; snappy or lz4 take 119, zstd over plain floats 125, no codec 149.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pq.ParquetWriter | None = None

    def write(self, columns: Columns) -> None:
        """Appends a row group; every call needs the same columns."""
        table = to_table(columns)
        if self._file is None:
            self._file = open_writer(self._path, table.schema)
        self._file.write_table(table, row_group_size=table.num_rows)

    def close(self, shard: int, shards: int) -> None:
        """Writes the footer with a placeholder for the digest, which covers the whole file."""
        if self._file is not None:
            footer = _Footer(shard=shard, shards=shards, sha256=digest.ZEROS).model_dump_json()
            self._file.add_key_value_metadata({_KEY: footer.encode()})
            self._file.close()


@contextmanager
def writing(place: Place, shard: int = 0, shards: int = 1) -> Iterator[WindowWriter]:
    """Yields a writer; the file appears at `place`, whole, if the block ends without an error."""
    with replacing(place) as temporary:
        writer = WindowWriter(temporary)
        try:
            yield writer
        finally:
            writer.close(shard, shards)
        digest.write(temporary)


class Split:
    """A split's shards. Opening reads the footers of the first and the last; reading checks each shard."""

    window_length: int
    sizes: tuple[int, ...]  # windows in each shard
    columns: tuple[str, ...]  # of the first shard

    def __init__(self, folder: Place, length: int | None = None, leading: Sequence[str] = WINDOW_COLUMNS) -> None:
        """Opens a split of the columns `leading`, windows of `length` samples if given. Raises DataError as `read`."""
        self._folder, self._leading = folder, leading
        first = _read_header(shard_path(folder, 0), 0, None, leading[0])
        shards = first.footer.shards
        try:
            last = _read_header(shard_path(folder, shards - 1), shards - 1, shards, leading[0])
        except DataError:
            with _opening(shard_path(folder, 0)):
                pass  # raises the better error if it is the first shard that has changed
            raise
        self.window_length = length or first.window_length
        self.columns = first.columns
        self.sizes = (*(first.windows for _ in range(shards - 1)), last.windows)
        _check_length(shard_path(folder, 0), first.window_length, self.window_length)

    def read(self, shard: int, columns: Sequence[str]) -> dict[str, NDArray[np.floating]]:
        """Returns the named columns of a shard.

        Raises DataError naming the file if it is missing, damaged or foreign, holds a value that is not finite, or
        differs from the first shard in the windows' length or number.
        """
        path = shard_path(self._folder, shard)
        arrays = _read(path, columns, shard, len(self.sizes), self._leading)
        for name in columns:
            if len(arrays[name]) != self.sizes[shard]:
                raise DataError(f"{path} holds {len(arrays[name])} windows, not {self.sizes[shard]}; {REMAKE}")
            if arrays[name].ndim == 2:
                _check_length(path, arrays[name].shape[1], self.window_length)
        return arrays

    def digest(self) -> str:
        """Returns a digest of the digests in all shards' footers. Raises DataError."""
        count = len(self.sizes)
        paths = (shard_path(self._folder, shard) for shard in range(count))
        headers = (_read_header(path, shard, count, self._leading[0]) for shard, path in enumerate(paths))
        return hashlib.sha256("".join(header.footer.model_dump_json() for header in headers).encode()).hexdigest()


def read_split(
    folder: Place, columns: Sequence[str], length: int | None = None
) -> Iterator[dict[str, NDArray[np.floating]]]:
    """Yields the named columns of each shard of a split, in order. Raises DataError as Split does."""
    split = Split(folder, length)
    for shard in range(len(split.sizes)):
        yield split.read(shard, columns)


def read_windows(
    path: Path, columns: Sequence[str], leading: Sequence[str] = WINDOW_COLUMNS
) -> dict[str, NDArray[np.floating]]:
    """Returns the named columns of a single file, which begins with `leading`. Raises DataError as read_split does."""
    return _read(path, columns, 0, 1, leading)


def read_row_groups(path: Path, columns: Sequence[str]) -> Iterator[dict[str, NDArray[np.floating]]]:
    """Yields what read_windows returns, a row group at a time, once the digest of the whole file is checked."""
    with _opening(path) as file:
        _check_place(path, _footer(path, file), 0, 1)
        check_columns(path, file.schema_arrow.names, file.metadata.num_rows, [*WINDOW_COLUMNS, *columns])
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=list(columns), use_threads=False)
            yield {name: to_array(f"{path}, row group {number}", name, table.column(name)) for name in columns}


def is_whole(place: Place, shard: int, shards: int) -> bool:
    """Whether a file is undamaged and is that one of so many shards."""
    try:
        with _opening(place) as file:
            _check_place(place, _footer(place, file), shard, shards)
    except DataError:
        return False
    return True


class _Header(NamedTuple):
    """A shard's footer, the number and length of its windows, and its columns."""

    footer: _Footer
    windows: int
    window_length: int
    columns: tuple[str, ...]


def _read_header(place: Place, shard: int, shards: int | None, column: str) -> _Header:
    """Reads the header of a shard; `shards` is None for the first, which names their number. `column` holds lists."""
    with _opening(place, whole=False) as file:
        footer = _footer(place, file)
        _check_place(place, footer, shard, shards or footer.shards)
        names = file.schema_arrow.names
        kind = file.schema_arrow.field(names.index(column)).type if column in names else None
        if not (kind and pa.types.is_fixed_size_list(kind)):
            raise DataError(f"{place} has no column `{column}` of windows; {REMAKE}")
        return _Header(footer, file.metadata.num_rows, kind.list_size, tuple(names))


def _read(
    place: Place, columns: Sequence[str], shard: int, shards: int, leading: Sequence[str] = WINDOW_COLUMNS
) -> dict[str, NDArray[np.floating]]:
    """Returns the named columns of a file that begins with the columns `leading`."""
    with _opening(place) as file:
        footer, names = _footer(place, file), file.schema_arrow.names
        table = file.read(columns=list(columns), use_threads=False)

    _check_place(place, footer, shard, shards)
    check_columns(place, names, table.num_rows, [*leading, *columns])
    return {name: to_array(place, name, table.column(name)) for name in columns}


@contextmanager
def _opening(place: Place, whole: bool = True) -> Iterator[pq.ParquetFile]:
    """Yields an open parquet file; with `whole`, after a check of its digest. Turns reading errors into DataError."""
    try:
        with reading(place, whole) as source:
            if whole:
                digest.check(source)
                source.seek(0)
            with pq.ParquetFile(source) as file:
                yield file
    except FileNotFoundError:
        raise DataError(f"{place} is missing; run `dvc repro` to make it") from None
    except StoreError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a column's name is not UTF-8
        reraise_systems(error, place)
        raise DataError(
            f"{place} is not a parquet file of this project ({' '.join(str(error).split())}); {REMAKE}"
        ) from None


def _footer(place: Place, file: pq.ParquetFile) -> _Footer:
    text = (file.metadata.metadata or {}).get(_KEY, b"")
    try:
        return _Footer.model_validate_json(text)
    except ValidationError:
        raise DataError(f"{place} was not written by this project (its footer lacks the mark); {REMAKE}") from None


def _check_place(place: Place, footer: _Footer, shard: int, shards: int) -> None:
    if (footer.shard, footer.shards) != (shard, shards):
        written = f"shard {footer.shard} of {footer.shards}"
        raise DataError(f"{place} was written as {written}, but its name says {shard} of {shards}; {REMAKE}")


def _check_length(place: Place, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(f"{place} holds windows of {found} samples, not {expected}; {REMAKE}")
