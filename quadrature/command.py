"""What every command does around its work: log to people, stop on signals, end with the right exit code."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from quadrature.errors import InterruptionError, QuadratureError


def run(main: Callable[[], None]) -> None:
    """Runs main and exits: 0 when it is done, a QuadratureError's code and message in place of a traceback."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        main()
    except QuadratureError as error:
        logging.error("%s", error)
        sys.exit(error.exit_code)
    except OSError as error:
        # The files a command reads are checked where they are read; what is left is the disk and its permissions.
        logging.error("%s", f"{error.filename}: {error.strerror}" if error.filename else error)
        sys.exit(os.EX_IOERR)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # A second signal must not cut short the clean-up that the first began.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise InterruptionError(f"interrupted by {signal.Signals(number).name}; nothing unfinished was kept")
