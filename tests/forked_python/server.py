"""Runs a checkout's programs in forks of a process that has imported torch, so that `dvc repro` takes half the time.

DVC starts `python -m stages.NAME` as usual. That Python imports sitecustomize.py, which sends the folder, the
environment, the command line and the open files 0 to 2 to this server. The server forks a process for the work, and
the started Python exits with the fork's code. The same holds for `python -m quadrature` and `python -m
benchmarks.NAME`.

Use it in tests of experiments, queues and the documents' commands. Do not use it in tests of signals, of the start of a
program, or of its time and memory. `stages` and `quadrature` are those of the working tree, not the checkout's copy.
"""

import atexit
import functools
import json
import os
import runpy
import shutil
import socket
import sys
import tempfile
import threading
from multiprocessing import get_context
from pathlib import Path

from tests import forks

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["tests.forks", *(f"stages.{name}" for name in forks.STAGES), "quadrature.commands.compare"]
)


def forking(checkout):
    """Makes the programs started in a checkout run in forks; returns the checkout."""
    checkout.env |= variables()
    return checkout


def variables():
    """Returns the environment variables with which programs run in forks."""
    return {"PYTHONPATH": str(Path(__file__).parent), "FORKED_PYTHON": f"{_listening()}/socket"}


@functools.cache
def _listening():
    """Starts the server in this process, once; returns the folder of its socket."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/socket")
    listener.listen()
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    return folder


def _accept(listener):
    while True:
        connection, _ = listener.accept()
        with connection:  # the fork has its own copy
            _FORKS.Process(target=_run, args=(connection,)).start()


def _run(connection):
    """Runs the requested program in a fork; answers with its exit code."""
    size, files, *_ = socket.recv_fds(connection, 4, 3)
    folder, environment, words = json.loads(connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
    program = os.fork()
    if program == 0:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        _become(folder, words)
        sys.exit()
    _, status = os.waitpid(program, 0)
    code = os.waitstatus_to_exitcode(status)
    connection.sendall(bytes([code if code >= 0 else 128 - code]))


def _become(folder, words):
    """Does the work of `python -m WORDS`."""
    sys.path.insert(0, folder)
    sys.argv = words
    sys.modules.pop(words[0], None)  # imported already, but not as __main__
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
