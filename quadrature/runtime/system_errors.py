"""Failures of the operating system, each told in one line: which file, what happened and what to do.

Reads, writes and some libraries raise errors that do not name the file, and libraries tell of a lack of memory in the
same way as of a damaged file. Imports neither torch nor pyarrow.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quadrature.runtime.errors import DataError, QuadratureError

_REMEDIES = {
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs: the whole system has too many files open",
    errno.EROFS: "choose a place that may be written",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link leads to itself: remove it",
    errno.EIO: "the disk or its connection fails: check it, then run the command again",
    errno.ESTALE: "its file server has replaced it: run the command again",
}
_MEMORY = ("cannot allocate memory", "can't allocate memory", "not enough memory", "out of memory", "bad_alloc")
_THREADS = ("can't start new thread", "can't allocate lock", "launch worker thread", "resource temporarily unavailable")


class InputOutputError(QuadratureError):
    """A file or a stream cannot be read or written."""

    exit_code = 74


class ExhaustedError(QuadratureError):
    """The process may not have more memory, or more threads."""

    exit_code = 71


def explain(error: Exception) -> QuadratureError | None:
    """Returns a failure of the operating system in words, None for any other error."""
    code = error.errno if isinstance(error, OSError) else None
    text = "" if isinstance(error, OSError | ValueError) else str(error).lower()  # these may quote names and contents
    if isinstance(error, MemoryError) or code == errno.ENOMEM or any(each in text for each in _MEMORY):
        return ExhaustedError(
            f"memory ran out{_reason(error)}; free some, or raise its limit, or lower shard_windows and batch_size in "
            "params.yaml (--batch-size of predict)"
        )
    is_named = isinstance(error, OSError) and error.filename
    if not is_named and (code == errno.EAGAIN or any(each in text for each in _THREADS)):
        return ExhaustedError(
            f"no other thread or process can be started{_reason(error)}; raise the limits of processes and memory "
            "(ulimit -u, ulimit -v), or lower train.threads in params.yaml (--threads of predict)"
        )
    if not isinstance(error, OSError):
        return None
    reason = (f"{error.filename}: " if is_named else "") + (error.strerror or str(error))
    return InputOutputError(f"{reason}; {_REMEDIES[code]}" if code in _REMEDIES else reason)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f" ({lines[0]})" if lines else ""


def reraise_systems(error: Exception, path: Path | str) -> None:
    """Raises an operating system's error again, with the file's name.

    Returns for other errors: a library's OSError about a file's content has no errno, and a folder has no content.
    """
    if isinstance(told := explain(error), ExhaustedError):
        raise told from None
    if isinstance(error, OSError) and error.errno and not isinstance(error, IsADirectoryError):
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None


def refuse_special(path: Path) -> None:
    """Raises DataError for a FIFO, a device or a socket: a read would wait for ever, or never come to an end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise DataError(f"{path} is not a regular file but a device or a pipe; copy its content to a file first")


@contextmanager
def naming(path: Path | str, instead_of: Path | None = None) -> Iterator[None]:
    """Adds a file's name to the operating system's errors that name none, or a temporary file `instead_of` it."""
    try:
        yield
    except OSError as error:
        if error.filename in (None, str(instead_of)) and error.errno not in (None, errno.ENOMEM, errno.EAGAIN):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        raise
