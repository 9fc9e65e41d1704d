"""Waits for the programs that tests start."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

SECONDS = 300.0
"""Much more than a program needs to end: a shared machine may stand still for a minute."""


def rest_of(process):
    """Returns the rest of what a program prints, as `communicate` does, once all that write to its pipes have ended.

    If one does not, fails with a list of them, and kills them, so that no other test finds them.
    """
    try:
        return process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        left = _family(process.pid)
        told = "\n".join(map(_describe, left))
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.communicate()
        raise AssertionError(f"{process.args} has not ended after {SECONDS:g} seconds:\n{told}") from None


def _family(pid):
    """Returns the process of an id, those that it started, and those in the session that it leads."""
    found = {each for each in psutil.process_iter() if _session(each.pid) == pid}
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        found |= {process, *process.children(recursive=True)}
    return sorted(found, key=lambda each: each.pid)


def _session(pid):
    with suppress(OSError):
        return os.getsid(pid)
    return None


def _describe(process):
    with suppress(psutil.NoSuchProcess, OSError):
        threads = [path.read_text() for path in sorted(Path(f"/proc/{process.pid}").glob("task/*/wchan"))]
        command = " ".join(process.cmdline())
        return f"{process.pid}, child of {process.ppid()}: {command} ({process.status()}; {' '.join(threads)})"
    return f"{process.pid}: has ended"
