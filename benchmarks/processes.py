"""Runs a command as a measured process: its answer, its seconds from start to exit and its peak memory.

Every script here that measures the memory of a process uses `run`. A script that does so must not import numpy or
torch itself: Linux counts the memory of the process that starts a program as that program's own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).parent.parent


class Outcome(NamedTuple):
    """The result of a process that succeeded."""

    answer: dict[str, Any]  # its last line of output, where that is JSON
    seconds: float  # from its start to its exit
    peak_mb: float  # of its largest process: a DataLoader's workers share most of their memory with their parent
    log: str  # its standard error


def run(command: Sequence[str | Path], cwd: Path, cpus: int | None = None, **env: str) -> Outcome:
    """Runs a command to its end, on the given number of processors or on all of them.

    If the command fails, exits with the end of its standard error. `env` adds to the environment.
    """
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory() as states:
        common = {"QUADRATURE_STATE_DIR": states}  # empty, so that no timed training resumes an earlier one
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "", **common, **env},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=None if cpus is None else lambda: _stay_on(cpus),
        )
        try:
            assert process.stdout
            with process.stdout as output:
                lines = output.read().splitlines()
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        said = log.read()
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))} exited {process.returncode}:\n{said[-3000:]}")
    answer = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in kibibytes on Linux
    return Outcome(answer, seconds, usage.ru_maxrss * unit / 1e6, said)


def options(**values: object) -> list[str]:
    """Returns the values as options of a command line."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def described(interpreter: Path, packages: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Returns the versions of Python and of the packages in an interpreter's environment."""
    program = (
        "import importlib.metadata as m, json, platform, sys\n"
        "found = {d.name: d.version for d in m.distributions() if d.name in sys.argv[1:]}\n"
        "print(json.dumps({'python': platform.python_version(), **dict(sorted(found.items()))}))"
    )
    return run([interpreter, "-c", program, *packages], PROJECT).answer


def machine() -> dict[str, object]:
    """Returns the processor, cores, memory and system of this machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else os.uname().machine,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": f"{os.uname().sysname} {os.uname().release}",
    }


def _stay_on(cpus: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
