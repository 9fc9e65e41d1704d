"""One measured process: what a command answers, its seconds from start to exit, and the memory it took.

No numpy, no torch here: Linux counts the memory of whoever starts a program as that program's own.
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
    """What became of a process that ended well."""

    answer: dict[str, Any]  # its last line of output, where that is JSON
    seconds: float  # from its start to its exit
    peak_mb: float  # of the largest of its processes: those of a DataLoader share most of their memory with it
    log: str  # what it said on standard error


def run(command: Sequence[str | Path], cwd: Path, cpus: int | None = None, **env: str) -> Outcome:
    """Runs a command to its end, on so many processors or on all; ends the bench with its words when it fails."""
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory() as states:
        common = {"QUADRATURE_STATE_DIR": states}  # of its own, so that nothing that is timed goes on where another was
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
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes here
    return Outcome(answer, seconds, usage.ru_maxrss * unit / 1e6, said)


def options(**values: object) -> list[str]:
    """Returns a command line's options."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def described(interpreter: Path, packages: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Returns the versions that an environment has of Python and of the packages."""
    program = (
        "import importlib.metadata as m, json, platform, sys\n"
        "found = {d.name: d.version for d in m.distributions() if d.name in sys.argv[1:]}\n"
        "print(json.dumps({'python': platform.python_version(), **dict(sorted(found.items()))}))"
    )
    return run([interpreter, "-c", program, *packages], PROJECT).answer


def machine() -> dict[str, object]:
    """Returns what runs the bench: processor, cores, memory, system."""
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
