"""Runs the project's commands, each in a process with limits, without importing torch for each.

`python -m tests.torture.cage` reads a line of JSON for each command and answers with the exit of `python -m ARGUMENTS`.
Each command runs in a fork of a process that has imported the commands' modules and has started no threads.
"""

import contextlib
import importlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.checkout import PROJECT
from tests.processes import SECONDS

IMPORTED = (
    *(
        "quadrature.commands.predict",
        "quadrature.commands.gate",
        "quadrature.commands.compare",
        "quadrature.training.loop",
    ),
    *(
        "quadrature.training.batches",
        "quadrature.scoring.baselines",
        "quadrature.scoring.floor",
        "quadrature.reporting.page",
        "quadrature.plotting.animation",
    ),
    *("quadrature.commands.verify", "quadrature.commands.heal", "quadrature.training.checkpoint", "scipy.spatial"),
    *(
        "quadrature.plotting.figures",
        "quadrature.reporting.model_file",
        "quadrature.reporting.verdict",
        "quadrature.plotting.error_tables",
    ),
)
"""Modules that the commands and the stages import. None of them is run as a program."""


DEEDS = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "os.startfile"}
"""Audit events (docs.python.org/3/library/audit_events.html) of running code from a file or a name."""


class Ended(NamedTuple):
    """The end of a command."""

    code: int | None  # negative for a signal, None if it took too long
    output: str
    error: str
    deeds: list[str]  # the audit events of DEEDS, with arguments


class Cage:
    """Runs commands in forks of a process, until it is closed."""

    def __init__(self, folder):
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.cage"],
            cwd=PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments, cwd, seconds=10.0, more=10**9, env=None):
        """Runs `python -m ARGUMENTS` in a folder.

        Limits are `seconds` of processor time, and `more` bytes beyond those of the imports.
        """
        said = [self._folder / name for name in ("output", "error", "deeds")]
        asked = {
            "arguments": [os.fsencode(argument).decode("latin-1") for argument in arguments],
            "cwd": str(cwd), "seconds": seconds, "more": more, "env": env or {}, "said": [str(path) for path in said],
        }  # fmt: skip
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        output, error, deeds = (path.read_text(errors="backslashreplace") for path in said)
        return Ended(answer["code"], output, error, deeds.splitlines())

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def serve():
    """Answers each line of JSON with another one."""
    for name in IMPORTED:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.monotonic()
        process = os.fork()
        if not process:
            os._exit(become(asked))
        done, status = 0, 0
        while not done and used(process) < asked["seconds"] and time.monotonic() - started < SECONDS:
            time.sleep(0.002)
            done, status = os.waitpid(process, os.WNOHANG)
        if not done:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status) if done else None
        print(json.dumps({"code": code}), file=answers, flush=True)


def used(process):
    """Returns the seconds of processor time of a child: a busy machine does not stretch them."""
    with contextlib.suppress(psutil.NoSuchProcess):
        times = psutil.Process(process).cpu_times()
        return times.user + times.system
    return 0.0


def become(asked):
    """Does the work of `python -m`; returns the exit code."""
    output, error, deeds = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in asked["said"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(error, 2)
    sys.addaudithook(
        lambda event, said: event in DEEDS and os.write(deeds, ascii((event, *said[:2])).encode() + b"\n") and None
    )
    with contextlib.suppress(StopIteration, OSError):
        status = Path("/proc/self/status").read_text().splitlines()
        in_use = int(next(line for line in status if line.startswith("VmData")).split()[1]) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (in_use + asked["more"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ |= asked["env"]
    os.chdir(asked["cwd"])
    name, *arguments = (os.fsdecode(argument.encode("latin-1")) for argument in asked["arguments"])
    sys.argv = [name, *arguments]
    code = 0
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve()
