"""Atomic writing of files, and canonical JSON."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; its file replaces `path` if the block ends without an error.

    The temporary file is always removed. `path` stays as it was until the block has ended without an error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that the next process replaces the file that a killed one left.
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # a link would redirect the writing
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def move_into(folder: Path, paths: Iterable[Path]) -> None:
    """Moves files into a folder of the same disk and syncs the folder."""
    for path in paths:
        path.replace(folder / path.name)
    _sync(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Writes indented JSON, keys in the given order. Raises ValueError on NaN or infinity."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def reraise_systems(error: Exception, path: Path | str) -> None:
    """Raises an operating system's error again, with the file's name, which reads and some libraries leave out.

    Returns for other errors: a library's OSError about a file's content has no errno, and a folder has no content.
    """
    if isinstance(error, OSError) and error.errno and not isinstance(error, IsADirectoryError):
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None


def canonical_json(value: object) -> str:
    """Returns the canonical JSON of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
