"""What every command does around its work: log to people, stop on signals, end with the right exit code."""

import errno
import logging
import os
import re
import reprlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Literal, NoReturn, TextIO

from quadrature.runtime.errors import Interruption, ParameterError, QuadratureError

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_PARENT_SECONDS = 0.5
"""Between looks at whether the parent is there."""

_GRACE_SECONDS = 2.0
"""For what was signalled together with its parent: a second signal would end it before it has saved its state."""


def run(main: Callable[[], None]) -> NoReturn:
    """Runs main and exits: 0 when it is done, a QuadratureError's code and message in place of a traceback.

    At once, without Python's clearing up, which takes torch a quarter of a second. How the work ended is settled, so a
    signal must not deny it then; and DVC heeds no Ctrl-C while a stage is there, so that one would be lost on both.
    """
    os._exit(attempt(main))


def attempt(main: Callable[[], None]) -> int:
    """Runs main; returns the exit code that says how it ended. Signals are ignored from then on."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    _on_signals(_interrupt)
    code = os.EX_OK
    try:
        try:
            _check_arguments(sys.argv[1:])
            if "DVC_ROOT" in os.environ:
                threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
            main()
            if sys.stdout is not None:  # as where it was closed
                sys.stdout.flush()
        finally:
            _on_signals(signal.SIG_IGN)  # before anything is logged: a signal then would be a traceback
    except (QuadratureError, Interruption) as error:
        logging.error("%s", error)
        code = error.exit_code
    except OSError as error:
        # The files a command reads are checked where they are read; what is left is the disk and its permissions.
        logging.error("%s", f"{error.filename}: {error.strerror}" if error.filename else error)
        code = os.EX_IOERR
    return code


@contextmanager
def held_back() -> Iterator[Callable[[], str | None]]:
    """Keeps the first signal for the block to ask about, so that it ends where it is safe to; a second ends it at once.

    Yields what returns the signal's name once it came.
    """
    came: list[str] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(signal.Signals(number).name)
        _on_signals(_interrupt)

    _on_signals(hold)
    try:
        yield lambda: came[0] if came else None
    finally:
        _on_signals(_interrupt)


def standard(name: Literal["input", "output"]) -> TextIO:
    """Returns standard input or output. Raises OSError where whoever started the command has closed it."""
    stream = sys.stdin if name == "input" else sys.stdout
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), f"standard {name}")
    return stream


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuses line breaks, a terminal's escapes and what is no UTF-8: arrow takes none of it, nor can a line say it."""
    for argument in arguments:
        if _UNPRINTABLE.search(argument):
            raise ParameterError(
                f"{reprlib.repr(argument)} is no name for a file here: it cannot be printed; rename it"
            )
        if argument.startswith("--") and argument.endswith("=--"):  # of which argparse makes an empty list
            raise ParameterError(f"{argument} names nothing; a file named so is ./--")


def _end_with(parent: int) -> None:
    """Interrupts this process once its parent is gone: a DVC that is killed leaves its stage running.

    Else it would go on to write its outputs beside those of whatever runs next. Whoever adopts an orphan is of another
    session, which tells those that were orphans from the first; but a launcher gives each process a session of its own.
    """
    with suppress(OSError):  # it is gone by now, or its session is not ours to ask about
        if "RANK" in os.environ or os.getsid(parent) == os.getsid(0):
            while os.getppid() == parent:
                time.sleep(_PARENT_SECONDS)
            time.sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise Interruption(f"interrupted by {signal.Signals(number).name}; nothing half-written was left")
