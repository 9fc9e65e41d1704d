"""Makes one call among those that touch files go wrong; Python imports this as it starts, if PYTHONPATH leads here.

    TORMENT        the kinds of call that are counted, of open, write, fsync and replace, between commas
    TORMENT_AT     which of them goes wrong, counted from 1, over all kinds and threads; 0 for none
    TORMENT_BY     what becomes of it: the name of an errno, or SIGKILL
    TORMENT_IN     words of the command line of the processes that this is for
    TORMENT_COUNT  a file that the number of such calls so far is written to

Counted are calls on what lies in the working directory, in this project or in QUADRATURE_STATE_DIR; an fsync counts
whatever it is of. A write that goes wrong has written half. What libraries do without Python is not seen.
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
    """Counts calls; the one whose turn it is goes wrong."""

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
        """Returns what opens a file whose writes are counted, if it is to be written and they are."""
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
