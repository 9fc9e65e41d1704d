"""Runs DVC's command line as a process that does not outlive this one."""

import subprocess
import sys
from contextlib import suppress

from quadrature.experiments.git import git
from quadrature.runtime.errors import QuadratureError

PATIENCE = 3.0
"""Seconds that DVC has to end by itself after an interruption: a terminal's Ctrl-C reaches DVC and its stage, too."""


def dvc(*arguments: str, captured: bool = False) -> str:
    """Runs a command of DVC's. Returns what it printed, if captured. Raises QuadratureError if it fails.

    DVC's errors, and what a stage logs, go to standard error, captured or not. An interruption ends DVC, and the stage
    that it runs ends after it: quadrature/runtime/lifecycle.py.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    # The arguments are not read by a shell, and a parameter that begins with a dash is a part of an argument.
    with subprocess.Popen(command, stdout=subprocess.PIPE if captured else None, text=True) as process:  # noqa: S603
        try:
            printed, _ = process.communicate()
        except BaseException:
            try:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
            finally:
                process.terminate()
            raise
    if process.returncode:
        raise QuadratureError(f"`dvc {' '.join(arguments[:2])}` failed, and says why above")
    return printed or ""


def refuse_shallow() -> None:
    """Raises QuadratureError in a shallow clone, where DVC loses the experiments of its queue and exits with 0."""
    if git("rev-parse", "--is-shallow-repository").decode().strip() == "true":
        raise QuadratureError("this clone is shallow, and DVC loses experiments in one: git fetch --unshallow")
