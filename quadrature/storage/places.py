"""Places for files: local folders, and object stores at s3://bucket/... and gs://bucket/... .

A store's credentials, region and endpoint come from the environment variables and files of its own tools, such as
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL and GOOGLE_APPLICATION_CREDENTIALS.
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
from quadrature.runtime.system_errors import naming, refuse_special
from quadrature.storage import files

Place = Path | str
"""A file or folder: a local path, or a URL in a store, without a trailing slash."""

_PATIENCE = 5.0  # seconds to wait for a store's answer
_PART = 2**26  # bytes per request


class StoreError(OSError):
    """A store is unreachable or refuses a request. Like a full disk, it is an OSError."""


def parse_place(text: str) -> Place:
    """Returns the place that a text names. Raises ParameterError for the URL of an unknown store."""
    scheme, mark, path = text.partition("://")
    if not mark:
        return Path(text)
    if scheme not in ("s3", "gs") or not path.strip("/"):
        raise ParameterError(
            f"{text} is not a path or a known URL; give a path, s3://bucket/folder or gs://bucket/folder"
        )
    return f"{scheme}://{path.strip('/')}"


def join(folder: Place, name: str) -> Place:
    """Returns the place of a file in a folder."""
    return folder / name if isinstance(folder, Path) else f"{folder}/{name}"


def is_folder(place: Place) -> bool:
    """Whether a place is a folder; in a store, whether any file's name begins with it."""
    if isinstance(place, Path):
        return place.is_dir()
    with _translating(place):
        system, path = _connect(place)
        return bool(system.get_file_info(path).type == pyarrow.fs.FileType.Directory)


def list_files(folder: Place) -> list[str]:
    """Returns the sorted names of the files in a folder; empty if there is no such folder."""
    if isinstance(folder, Path):
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []
    with _translating(folder):
        system, path = _connect(folder)
        found = system.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
    return sorted(entry.base_name for entry in found if entry.is_file)


def remove(place: Place) -> None:
    """Deletes a file."""
    if isinstance(place, Path):
        place.unlink(missing_ok=True)
        return
    with _translating(place):
        system, path = _connect(place)
        system.delete_file(path)


@contextmanager
def reading(place: Place, whole: bool = True) -> Iterator[pa.NativeFile]:
    """Yields an open file. A store's file is first fetched into memory, so that damage is told from a store's errors.

    Without `whole`, a store sends only the parts that are read. Raises FileNotFoundError, and StoreError for any other
    error of a store.
    """
    if isinstance(place, Path):
        refuse_special(place)
        with pa.OSFile(str(place)) as file:
            yield file
        return
    with _translating(place):
        system, path = _connect(place)
        with system.open_input_file(path) as source:
            if not whole:
                yield source
                return
            content = source.read_buffer()
    with pa.BufferReader(content) as file:
        yield file


def fetch(place: Place, folder: Path) -> Path:
    """Returns a local path of a file; a store's file is copied into `folder` first. Raises as `reading` does."""
    if isinstance(place, Path):
        refuse_special(place)
        return place
    copy = folder / place.rpartition("/")[2]
    with _translating(place):
        system, path = _connect(place)
        with system.open_input_file(path) as source, copy.open("wb") as file:
            while part := source.read_buffer(_PART):
                with naming(copy):
                    file.write(part)
    return copy


@contextmanager
def replacing(place: Place) -> Iterator[Path]:
    """Yields a local temporary path; its file appears at `place`, whole, if the block ends without an error."""
    if isinstance(place, Path):
        with files.replacing(place) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "object"
        with naming(temporary):
            yield temporary
        with _translating(place), ThreadPoolExecutor(1) as thread:
            # In a thread, where no signal is raised: pyarrow would close the interrupted stream and store the part.
            thread.submit(_upload, temporary, place).result()


def _upload(source: Path, place: str) -> None:
    system, path = _connect(place)
    with pa.memory_map(str(source)) as file, system.open_output_stream(path) as stream:
        while part := file.read_buffer(_PART):
            stream.write(part)


def _connect(place: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Returns a URL's store, and its path there."""
    scheme, _, path = place.partition("://")
    return _system(scheme), path


@cache
def _system(scheme: str) -> pyarrow.fs.FileSystem:
    if scheme == "gs":
        return pyarrow.fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_PATIENCE))
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")  # pyarrow ignores it
    return pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint,
        connect_timeout=_PATIENCE,
        request_timeout=_PATIENCE,
        retry_strategy=pyarrow.fs.AwsDefaultS3RetryStrategy(max_attempts=4),
        background_writes=False,  # they would hold all parts of a file at once
        allow_delayed_open=True,  # a small file then takes one request
    )


@contextmanager
def _translating(place: str) -> Iterator[None]:
    """Turns a store's errors into one-line StoreErrors."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.filename:  # of a local copy
            raise
        raise StoreError(f"{place}: {' '.join(str(error).split())}") from None
