"""Places for files: folders of this machine, and object stores at s3://bucket/... and gs://bucket/... .

A store's credentials, region and endpoint come from the environment and files that its own tools read, among them
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL, and GOOGLE_APPLICATION_CREDENTIALS.
"""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.fs

from quadrature.runtime.errors import ParameterError
from quadrature.storage import files

Place = Path | str
"""A file or folder: a path here, or the URL of one in a store, without a slash at its end."""

_PATIENCE = 5.0  # seconds until a store that does not answer is given up
_PART = 2**26  # bytes sent or fetched at a time


class StoreError(OSError):
    """A store cannot be reached, or refuses: a file error, as a full disk is one."""


def parse_place(text: str) -> Place:
    """Returns the place that a person named. Raises ParameterError for a URL of no store known here."""
    scheme, mark, path = text.partition("://")
    if not mark:
        return Path(text)
    if scheme not in ("s3", "gs") or not path.strip("/"):
        raise ParameterError(f"{text} is no place known here; give a path, s3://bucket/folder or gs://bucket/folder")
    return f"{scheme}://{path.strip('/')}"


def join(folder: Place, name: str) -> Place:
    """Returns the place of a name in a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder}/{name}"


def is_folder(place: Place) -> bool:
    """Whether there is a folder at a place, which in a store means files whose names begin so."""
    if isinstance(place, Path):
        return place.is_dir()
    with _telling(place):
        system, path = _connect(place)
        return bool(system.get_file_info(path).type == pyarrow.fs.FileType.Directory)


def list_files(folder: Place) -> list[str]:
    """Returns the names of the files in a folder, in order; of none where there is no such folder."""
    if isinstance(folder, Path):
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []
    with _telling(folder):
        system, path = _connect(folder)
        found = system.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
    return sorted(entry.base_name for entry in found if entry.is_file)


def remove(place: Place) -> None:
    """Removes a file."""
    if isinstance(place, Path):
        place.unlink(missing_ok=True)
        return
    with _telling(place):
        system, path = _connect(place)
        system.delete_file(path)


@contextmanager
def reading(place: Place, whole: bool = True) -> Iterator[pa.NativeFile]:
    """Yields a file to read from; a store's is in memory by then, so that its damage is not taken for the store's.

    Not `whole`, a store is asked for the parts that are read.

    Raises FileNotFoundError, and StoreError for whatever else a store may say.
    """
    if isinstance(place, Path):
        with pa.OSFile(str(place)) as file:
            yield file
        return
    with _telling(place):
        system, path = _connect(place)
        with system.open_input_file(path) as source:
            if not whole:
                yield source
                return
            content = source.read_buffer()
    with pa.BufferReader(content) as file:
        yield file


def fetch(place: Place, folder: Path) -> Path:
    """Returns where a file can be read here: where it is, or, if that is a store, in a folder it is copied to.

    Raises as `reading` does.
    """
    if isinstance(place, Path):
        return place
    copy = folder / place.rpartition("/")[2]
    with _telling(place):
        system, path = _connect(place)
        with system.open_input_file(path) as source, copy.open("wb") as file:
            while part := source.read_buffer(_PART):
                file.write(part)
    return copy


@contextmanager
def replacing(place: Place) -> Iterator[Path]:
    """Yields a temporary path here, whose file appears at `place` when the block ends well: whole, or not at all."""
    if isinstance(place, Path):
        with files.replacing(place) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "object"
        yield temporary
        with _telling(place), ThreadPoolExecutor(1) as thread:
            # A signal raises in the main thread only. Here it would find a stream that pyarrow, closing it, makes an
            # object of, however little was written.
            thread.submit(_upload, temporary, place).result()


def _upload(source: Path, place: str) -> None:
    system, path = _connect(place)
    with pa.memory_map(str(source)) as file, system.open_output_stream(path) as stream:
        while part := file.read_buffer(_PART):
            stream.write(part)


def _connect(place: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Returns the store of a URL, and the path in it."""
    scheme, _, path = place.partition("://")
    return _system(scheme), path


@cache
def _system(scheme: str) -> pyarrow.fs.FileSystem:
    if scheme == "gs":
        return pyarrow.fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_PATIENCE))
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")  # which pyarrow passes over
    return pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint,
        connect_timeout=_PATIENCE,
        request_timeout=_PATIENCE,
        retry_strategy=pyarrow.fs.AwsDefaultS3RetryStrategy(max_attempts=4),
        background_writes=False,  # they hold all of a file's parts at once
        allow_delayed_open=True,  # a small file is then one request
    )


@contextmanager
def _telling(place: str) -> Iterator[None]:
    """Turns what a store may raise into a StoreError of one line."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"{place}: {' '.join(str(error).split())}") from None
