"""The life of a command: set up logging, stop on signals, end with the right exit code."""

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

from quadrature.runtime.errors import Interruption, ParameterError, QuadratureError, printable
from quadrature.runtime.system_errors import explain, naming
from quadrature.runtime.unchanged import watch_inputs

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_TABS = ("\t", "--delimiter=\t")
"""Arguments that separate the fields of a CSV file."""

_PARENT_SECONDS = 0.5
"""Seconds between checks that the parent process is alive."""

_GRACE_SECONDS = 2.0
"""Seconds to wait after the parent has gone: if both were signalled, a second signal would end a save of the state."""

_REPEATED = (signal.SIGHUP, signal.SIGXCPU)
"""A terminal closes, or the processor time is over: the system may send these again, which is no call for haste."""


class _Formatter(logging.Formatter):
    """Escapes unprintable characters in each line: names and other people's texts reach the terminal here."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes a record above the progress bars, which are drawn again below it."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" not in sys.modules:  # importing it takes time, and without it there are no bars
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def run(main: Callable[[], None]) -> NoReturn:
    """Runs main and exits with 0, or with a QuadratureError's exit code and its message in place of a traceback.

    Exits at once, without Python's cleanup, which takes a quarter of a second with torch loaded. A signal in that time
    would hide how the work ended; and DVC ignores Ctrl-C while a stage is alive, so both would miss it.
    """
    os._exit(attempt(main))


def attempt(main: Callable[[], None]) -> int:
    """Runs main and returns the exit code. Afterwards signals are ignored."""
    if sys.stderr is None:  # it was closed
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115, it stays open: no output may become file 2
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    _on_signals(_interrupt)
    code = os.EX_OK
    try:
        try:
            _check_arguments(sys.argv[1:])
            if {"DVC_ROOT", "TORCHELASTIC_RUN_ID"} & os.environ.keys():  # started by DVC, or by torchrun
                threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
            inputs = watch_inputs()
            main()
            if inputs is not None:
                inputs.check()
            if sys.stdout is not None:  # None if it was closed
                with standard("output"):
                    pass  # flushes it
        finally:
            _on_signals(signal.SIG_IGN)  # before logging: a signal there would print a traceback
    except (QuadratureError, Interruption) as error:
        logging.error("%s", error)
        code = error.exit_code
    except (OSError, MemoryError, RuntimeError) as error:
        # Commands check the files they read. What remains is the disk and its permissions, memory and threads.
        if (told := explain(error)) is None:
            raise
        logging.error("%s", told)
        code = told.exit_code
    return code


@contextmanager
def held_back() -> Iterator[Callable[[], str | None]]:
    """Holds the first signal back, so that the block can end at a safe point; a second signal ends it at once.

    Yields a function that returns the name of the signal held back, or None.
    """
    held: list[str] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(signal.Signals(number).name)
        _on_signals(_interrupt)
        _ignore_repeated()

    _on_signals(hold)
    try:
        yield lambda: held[0] if held else None
    finally:
        _on_signals(_interrupt)


@contextmanager
def standard(name: Literal["input", "output"]) -> Iterator[TextIO]:
    """Yields standard input or output, flushed at the end. Raises OSError if the stream is closed or fails.

    If the reader of the output has left, as `head` does, the process ends without a word, as `cat` does.
    """
    stream = sys.stdin if name == "input" else sys.stdout
    with naming(f"standard {name}"):
        if stream is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if name == "input":
            os.set_blocking(stream.fileno(), True)  # another program may share it: a pause would look like its end
        try:
            yield stream
            if name == "output":
                stream.flush()
        except BrokenPipeError:
            if name == "output" and hasattr(signal, "SIGPIPE"):
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                signal.raise_signal(signal.SIGPIPE)
            raise


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuses control characters and bytes that are not UTF-8: arrow takes neither, and a log line cannot show them."""
    for argument in arguments:
        if _UNPRINTABLE.search(argument) and argument not in _TABS:
            raise ParameterError(f"{reprlib.repr(argument)} holds characters that cannot be printed; rename the file")
        if argument.startswith("--") and argument.endswith("=--"):  # argparse makes an empty list of it
            raise ParameterError(f"{argument} names nothing; write ./-- for a file of that name")


def _end_with(parent: int) -> None:
    """Interrupts this process when its parent dies: a killed DVC leaves its stage running, a launcher its processes.

    An orphaned stage would write its outputs beside those of the next run. A process that was an orphan from the start
    is recognized by its parent's session, which differs from its own. Launchers, too, start each rank in a new session.
    """
    with suppress(OSError):  # the parent has gone, or its session is not ours to query
        if "RANK" in os.environ or os.getsid(parent) == os.getsid(0):
            while os.getppid() == parent:
                time.sleep(_PARENT_SECONDS)
            time.sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
    for number in _REPEATED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP, and _ignore_repeated does
            signal.signal(number, handler)


def _ignore_repeated() -> None:
    for number in _REPEATED:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _ignore_repeated()
    raise Interruption(f"interrupted by {signal.Signals(number).name}; nothing half-written was left")
