"""Forked processes that compute beside this one.

A fork begins at once, with what this process has loaded, and needs no lock of Python's. Where work is thousands of
calls of a few microseconds, threads spend their time waiting for that lock.
"""

import atexit
import multiprocessing
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection

from quadrature.runtime.errors import QuadratureError

_PATIENCE = 0.003
"""Seconds for which a process looks for a message again and again, before it sleeps until there is one."""

_INTERRUPTED = 0.00005
"""Seconds between two such looks if another process was given the core in between."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU)

_connections: set[Connection] = set()
"""This process's ends of the connections to its helpers."""


class LostHelperError(QuadratureError):
    """A helper ended before its time."""

    exit_code = 75


class Helper:
    """A forked process that calls a function with each message it is sent. Ends with this process."""

    def __init__(self, work: Callable[[object], None], prepare: Callable[[], None]) -> None:
        """Forks; the helper first calls `prepare`. Raises OSError if no process can be started."""
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        _connections.add(self._connection)

        def run() -> None:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # this process decides, and closes the connection
            for inherited in _connections:
                inherited.close()  # or no helper would see this process go
            prepare()
            _serve(theirs, work)

        self._process = context.Process(target=run, daemon=True)
        with warnings.catch_warnings():
            # Python warns of a fork beside other threads. Ours hold none of the locks that a helper takes.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        theirs.close()
        atexit.register(self.end)  # before multiprocessing's own, which sends signals and waits

    def send(self, message: object) -> None:
        """Sends a message; before the next one, `wait`."""
        try:
            self._connection.send(message)
        except ConnectionError:
            raise self._lost() from None

    def wait(self) -> None:
        """Waits until the work is done. Raises the error that it met, and LostHelperError if the helper has ended."""
        try:
            error = _receive(self._connection)
        except (EOFError, ConnectionError):
            raise self._lost() from None
        if isinstance(error, Exception):
            raise error

    def end(self) -> None:
        """Ends the process, after the work it may be doing."""
        atexit.unregister(self.end)
        _connections.discard(self._connection)
        self._connection.close()
        self._process.join()

    def _lost(self) -> LostHelperError:
        self._process.join()
        code = self._process.exitcode
        how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return LostHelperError(f"a process that shares the work has ended ({how}); is memory short? Run again")


def _serve(connection: Connection, work: Callable[[object], None]) -> None:
    while True:
        try:
            message = _receive(connection)
        except (EOFError, ConnectionError):
            return
        answer = None
        try:
            work(message)
        except Exception as error:  # of any kind: `wait` raises it in the main process
            answer = error
        try:
            connection.send(answer)
        except ConnectionError:
            return


def _receive(connection: Connection) -> object:
    """Returns the next message. Does not sleep at once, unless the core is needed: waking up takes 0.1 milliseconds."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    last = start = time.perf_counter()
    while not poll.poll(0):
        os.sched_yield()
        now = time.perf_counter()
        if now - last > _INTERRUPTED or now - start > _PATIENCE:
            break  # another process runs on this core, or the message takes long
        last = now
    return connection.recv()
