"""Forks the project's programs that a checkout's commands start: `dvc repro` then costs half.

DVC starts `python -m stages.NAME` as ever. That Python finds sitecustomize.py, which hands its work over: the folder,
the environment, the words and the open files 0 to 2. A process that has imported torch is forked for it, and the
Python that was started ends as the fork does. Likewise with `python -m quadrature` and `python -m benchmarks.NAME`.

For tests of what is around the stages: experiments, queues, the documents' commands. Not for those of signals, or of
how a program starts, or of what it costs. Of `stages` and `quadrature` it runs the code that is tested, not a changed
copy in the checkout.
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
    """Has the project's programs forked that are started in a checkout; returns the checkout."""
    checkout.env |= variables()
    return checkout


def variables():
    """Returns the variables of the environment that have the project's programs forked."""
    return {"PYTHONPATH": str(Path(__file__).parent), "FORKED_PYTHON": f"{_listening()}/socket"}


@functools.cache
def _listening():
    """Returns the folder of the socket at which this process is asked for programs, to its end."""
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
    """Runs what is asked for in a process of its own; answers with its exit code."""
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
    """Does what `python -m` does with these words."""
    sys.path.insert(0, folder)
    sys.argv = words
    sys.modules.pop(words[0], None)  # imported already, but not as __main__
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
