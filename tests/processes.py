"""Waits for the programs that tests start."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import psutil

SECONDS = 300.0
"""Much more than a program needs to end: a shared machine may stand still for a minute."""


def rest_of(process):
    """Ends a program's input; returns the rest of its output and its errors, once all that write to them have ended.

    As `communicate` does, and with the lines that a `readline` has read ahead. If one of those does not end, fails with
    a list of them, and kills them, so that no other test finds them.
    """
    if process.stdin is not None:
        process.stdin.close()
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    deadline = time.monotonic() + SECONDS
    with ThreadPoolExecutor(2) as readers:
        texts = {pipe: readers.submit(pipe.read) for pipe in pipes}
        try:
            process.wait(SECONDS)
            for text in texts.values():
                text.result(deadline - time.monotonic())
        except BaseException as error:  # of any kind: nothing may be left
            left = _involved(process, pipes)
            told = "\n".join(map(_describe, left))
            for each in left:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired | TimeoutError):
                raise
            raise AssertionError(f"{process.args} has not ended after {SECONDS:g} seconds:\n{told}") from None
        finally:
            wait(texts.values())
            for pipe in pipes:
                pipe.close()
    return tuple(texts[pipe].result() if pipe else None for pipe in (process.stdout, process.stderr))


def _involved(process, pipes):
    """Returns a program's process, those that it started, and all others that have its pipes open."""
    files = {_identity(os.fstat(pipe.fileno())) for pipe in pipes}
    found = {each for each in psutil.process_iter() if each.pid != os.getpid() and _open_files(each.pid) & files}
    with suppress(psutil.NoSuchProcess):
        own = psutil.Process(process.pid)
        found |= {own, *own.children(recursive=True)}
    return sorted(found, key=lambda each: each.pid)


def _open_files(pid):
    """Returns the identities of a process's open files, as Linux tells them."""
    found = set()
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            found.add(_identity(path.stat()))
    return found


def _identity(status):
    return status.st_dev, status.st_ino


def _describe(process):
    with suppress(psutil.NoSuchProcess, OSError):
        threads = [path.read_text() for path in sorted(Path(f"/proc/{process.pid}").glob("task/*/wchan"))]
        command = " ".join(process.cmdline())
        return f"{process.pid}, child of {process.ppid()}: {command} ({process.status()}; {' '.join(threads)})"
    return f"{process.pid}: has ended"
