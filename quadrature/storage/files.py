"""Atomic writing of files, and canonical JSON."""

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from quadrature.runtime.system_errors import naming


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; its file replaces `path` if the block ends without an error.

    Otherwise the temporary file is deleted, and `path` stays as it was. Waits for another process that writes to the
    same path, so that both files are whole and the later one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name, so that the next process replaces the file that a killed one left.
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path, instead_of=temporary):
        descriptor = _open_locked(temporary)
        try:
            try:
                yield temporary
                os.fsync(descriptor)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync(path.parent)
        finally:
            os.close(descriptor)


def _open_locked(path: Path) -> int:
    """Creates or empties a file and locks it; returns a descriptor, which holds the lock until it is closed."""
    while True:
        if path.is_symlink():
            path.unlink()  # a link would redirect the writing
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logging.info("another process writes %s; waiting for it to end", path)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:
                pass  # some file systems, NFS among them, have no locks; nobody waits there
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                os.ftruncate(descriptor, 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the other process has moved or deleted the file


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


def canonical_json(value: object) -> str:
    """Returns the canonical JSON of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)
