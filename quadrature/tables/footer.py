"""How much memory a parquet file would take, by its footer, before any of it is decoded."""

import faulthandler
import os
import resource

import pyarrow as pa
import pyarrow.parquet as pq

from quadrature.runtime.errors import DataError

MAX_EXPANDED, MAX_EXPANSION = 2**27, 2048
"""Bytes that lists and pages of a row group may take, unless they are less than so many times their bytes on disk."""


def check_size(label: str, file: pq.ParquetFile) -> None:
    """Raises DataError if a row group's columns would take much more memory than any data of their bytes.

    A list of 10^9 equal numbers takes 618 bytes of a file, and pyarrow decodes a list as a whole. It decodes columns of
    numbers a part at a time. Raises ValueError if the footer contradicts itself.
    """
    if not any(pa.types.is_nested(field.type) for field in file.schema_arrow):
        return
    expanded = _expanded_bytes(file.metadata)
    if expanded > MAX_EXPANDED:
        raise DataError(
            f"{label}: a row group's lists or pages would grow to {expanded:,} bytes, more than "
            f"{MAX_EXPANSION:,} times their size; write it with row groups of fewer rows"
        )


def _expanded_bytes(metadata: pq.FileMetaData) -> int:
    """Returns the bytes in memory of the largest row group, counting only columns that take very little of the file.

    A child process reads the columns' metadata: where these contradict each other, pyarrow ends the process.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            groups = map(metadata.row_group, range(metadata.num_row_groups))
            largest = max(
                (sum(map(_expanded, map(group.column, range(group.num_columns)))) for group in groups), default=0
            )
            os.write(writing, str(largest).encode())
        finally:
            os._exit(os.EX_OK)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise ValueError("the metadata of its columns contradict each other")
    return int(answer)


def _expanded(chunk: pq.ColumnChunkMetaData) -> int:
    is_nested = "." in chunk.path_in_schema  # as a list is
    size: int = max(chunk.total_uncompressed_size, 4 * chunk.num_values if is_nested else 0)
    return size if size > MAX_EXPANSION * chunk.total_compressed_size else 0
