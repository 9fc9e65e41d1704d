"""Runs DVC's command line, which ends with this process."""

import signal
import subprocess
import sys

from quadrature.experiments.git import git
from quadrature.runtime.errors import QuadratureError


def dvc(*arguments: str, captured: bool = False) -> str:
    """Runs a command of DVC's. Returns what it printed, if captured. Raises QuadratureError if it fails.

    An interruption is passed on to DVC, and waits until DVC has ended.
    """
    command = [sys.executable, "-m", "dvc", *arguments]
    # The arguments are not read by a shell, and a parameter that begins with a dash is a part of an argument.
    with subprocess.Popen(command, stdout=subprocess.PIPE if captured else None, text=True) as process:  # noqa: S603
        try:
            printed, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    if process.returncode:
        raise QuadratureError(f"`dvc {' '.join(arguments[:2])}` failed, and says why above")
    return printed or ""


def refuse_shallow() -> None:
    """Raises QuadratureError in a shallow clone, where DVC loses the experiments of its queue and exits with 0."""
    if git("rev-parse", "--is-shallow-repository").decode().strip() == "true":
        raise QuadratureError("this clone is shallow, and DVC loses experiments in one: git fetch --unshallow")
