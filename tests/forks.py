"""Runs a stage in a fork of a process that has imported it, in 0.2 seconds. A new process would import for two."""

import hashlib
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
from dvc.utils.serialize import load_yaml

from quadrature.runtime import lifecycle
from quadrature.training.snapshots import Snapshots
from tests.processes import SECONDS

STAGES = load_yaml(str(Path(__file__).parent.parent / "dvc.yaml"))["stages"]
OPTIONS = {"train": ("--save-every", "0")}
"""Options that write the state of training after every step."""


def outputs(name):
    """Returns the files and folders that a stage writes."""
    stage = STAGES[name]
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def inputs(checkout, name):
    """Returns the files that a stage reads and an earlier stage has written; no stage reads data/checked.txt."""
    written_by_stages = ("data/", "metrics/", "models/")
    read = [path for path in STAGES[name]["deps"] if path != "data/checked.txt"]
    places = [checkout.path / path for path in read if path.startswith(written_by_stages)]
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return [str(file.relative_to(checkout.path)) for file in files]


def written(checkout, name):
    """Returns the digest of each file in a stage's outputs, by path."""
    paths = [checkout.path / output for output in outputs(name)]
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return {str(file.relative_to(checkout.path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def clear(checkout, name):
    """Removes a stage's outputs, as DVC does before it runs one."""
    for output in outputs(name):
        path = checkout.path / output
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, *(f"stages.{name}" for name in STAGES)])


def processor_seconds():
    """Returns the processor time of the fork server and its forks, 0 once it is stopped."""
    pid = multiprocessing.forkserver._forkserver._forkserver_pid
    return 0.0 if pid is None else sum(psutil.Process(pid).cpu_times()[:4])


def stop():
    """Ends the fork server, so that this process knows the processor time of the server and its forks."""
    multiprocessing.forkserver._forkserver._stop()


class Ended(NamedTuple):
    """A stage's exit code and standard error."""

    returncode: int
    stderr: str


def run_stage(checkout, name, *options, torment=nullcontext, seconds=SECONDS, **env):
    """Runs a stage as `python -m stages.NAME` does, except for its imports, within the context manager `torment`.

    Raises AssertionError if it is killed or takes more than `seconds`.
    """
    reader, writer = _FORKS.Pipe(duplex=False)
    arguments = (checkout.path, {**checkout.env, **env}, name, options, torment, writer)
    process = _FORKS.Process(target=_run, args=arguments)
    process.start()
    writer.close()
    too_long = threading.Timer(seconds, process.kill)
    too_long.start()
    with os.fdopen(os.dup(reader.fileno())) as log:
        said = log.read()  # to its end, so that the stage never blocks on a full pipe
    reader.close()
    process.join()
    too_long.cancel()
    if process.exitcode == -signal.SIGKILL:
        raise AssertionError(f"{name} was killed, or took more than {seconds} seconds\n{said}")
    return Ended(process.exitcode, said)


def _run(path, env, name, options, torment, writer):
    os.dup2(writer.fileno(), sys.stderr.fileno())
    writer.close()
    os.chdir(path)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [f"stages.{name}", *options]
    stage = importlib.import_module(f"stages.{name}")
    with torment():
        code = lifecycle.attempt(stage.main)
    sys.exit(code)


def after_step(step, act):
    """Returns a context manager in which training calls `act(network)` after a step, when it takes snapshots."""
    return partial(_after_step, step, act)


@contextmanager
def _after_step(at, act):
    take = Snapshots.take

    def take_and_act(self, network, step):
        take(self, network, step)
        if step == at:
            act(network)

    Snapshots.take = take_and_act
    yield


def interrupt(_network):
    os.kill(os.getpid(), signal.SIGTERM)
