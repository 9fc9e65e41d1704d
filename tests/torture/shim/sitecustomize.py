"""Makes one call on files fail. Python imports this file when it starts, if PYTHONPATH has its folder.

    TORMENT        the kinds of call to count: open, write, fsync and replace, separated by commas
    TORMENT_AT     the number of the call that fails, from 1, over all kinds and threads; 0 for none
    TORMENT_BY     how it fails: the name of an errno, or SIGKILL
    TORMENT_IN     words in the command line of the processes to disturb
    TORMENT_COUNT  a file for the number of calls so far

Calls on files in the working directory, this project or QUADRATURE_STATE_DIR are counted, and every fsync. A failing
write has written half of its bytes. Calls that libraries make without Python are not seen.
"""

import builtins
import errno
import io
import os
import signal
import sys
import threading
from pathlib import Path

PROJECT = Path(__file__).parents[3]


class Torment:
    """Counts calls and makes one of them fail."""

    def __init__(self, kinds, at, by):
        self.seen = 0
        self.tally = None
        self.kinds, self.at, self.by = kinds, at, by
        self.lock = threading.Lock()
        self.places = tuple(map(os.path.realpath, filter(None, (".", PROJECT, os.environ.get("QUADRATURE_STATE_DIR")))))

    def install(self):
        builtins.open = io.open = self.instead_of("open", self.opening(io.open))
        os.open = self.instead_of("open", os.open)
        os.fsync = self.instead_of("fsync", os.fsync)
        os.replace = self.instead_of("replace", os.replace)

    def instead_of(self, kind, original):
        def tormented(target, *arguments, **options):
            self.count(kind, target)
            return original(target, *arguments, **options)

        return tormented

    def count(self, kind, target, before=lambda: None):
        if kind not in self.kinds or not (kind == "fsync" or self.is_ours(target)):
            return
        with self.lock:
            self.seen += 1
            if self.tally is not None:
                os.pwrite(self.tally, str(self.seen).encode(), 0)
            if self.seen != self.at:
                return
        before()
        if self.by == "SIGKILL":
            os.write(2, f"killed at {kind} {self.at}, of {target}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        code = getattr(errno, self.by)
        raise OSError(code, os.strerror(code), None if kind in ("fsync", "write") else target)

    def is_ours(self, target):
        return isinstance(target, (str, os.PathLike)) and os.path.realpath(target).startswith(self.places)

    def opening(self, original):
        """Returns a function that opens a file, and counts its writes if writes are counted."""
        torment = self

        class Writing(io.FileIO):
            def write(self, content):
                write = super().write
                torment.count("write", self.name, before=lambda: write(content[: len(content) // 2]))
                return write(content)

        def opened(target, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **options):
            if (
                "write" not in self.kinds
                or mode in ("r", "rb", "rt")
                or buffering != -1
                or options
                or not self.is_ours(target)
            ):
                return original(target, mode, buffering, encoding, errors, newline, **options)
            buffered = io.BufferedRandom if "+" in mode else io.BufferedWriter
            file = buffered(Writing(target, mode.replace("b", "").replace("t", "")))
            return file if "b" in mode else io.TextIOWrapper(file, encoding, errors, newline)

        return opened


if "TORMENT" in os.environ and os.environ.get("TORMENT_IN", "") in " ".join(sys.orig_argv):
    torment = Torment(
        os.environ["TORMENT"].split(","), int(os.environ.get("TORMENT_AT", "0")), os.environ.get("TORMENT_BY", "")
    )
    if "TORMENT_COUNT" in os.environ:
        torment.tally = os.open(os.environ["TORMENT_COUNT"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    torment.install()
