"""Too little memory, and no more threads: one line that says so, and no good file is called damaged."""

import ctypes
import os
import resource
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.forks import OPTIONS, STAGES, run_stage, written
from tests.torture.test_disk import RIGHTS_DO_NOT_BIND

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """A project after all its stages: a further run of any stage replaces its outputs."""
    return tiny.copy(tmp_path_factory.mktemp("limits") / "project")


@contextmanager
def little_memory(more):
    """Allows this process a number of bytes beyond those it has."""
    status = Path("/proc/self/status").read_text().splitlines()
    in_use = int(next(line for line in status if line.startswith("VmData")).split()[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (in_use + more, in_use + more))
    yield


@contextmanager
def no_more_threads():
    """Allows this process no more threads. Root, whom the limit does not bind, becomes a user who may open any file."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(8, 1, 0, 0, 0) == 0  # keeps the permitted capabilities of the user before
        os.setresuid(65534, 65534, 65534)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        words = (ctypes.c_uint32 * 6)(RIGHTS_DO_NOT_BIND, RIGHTS_DO_NOT_BIND)
        assert libc.capset(header, words) == 0, os.strerror(ctypes.get_errno())
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    yield


LIMITS = {
    "memory": (partial(little_memory, 10**6), "memory ran out"),
    "threads": (no_more_threads, "no other thread or process can be started"),
}


BY_DAY = [("memory", "evaluate"), ("threads", "train")]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=() if (kind, name) in BY_DAY else pytest.mark.nightly)
        for kind in LIMITS
        for name in STAGES
    ],
)
def test_what_runs_out_is_told_in_a_line_and_no_file_is_called_damaged(done, tally, name, kind):
    golden = written(done, name)
    torment, told = LIMITS[kind]
    with tally.trying(f"{name}: {kind} run out"):
        code, log = run_stage(done, name, *OPTIONS.get(name, ()), torment=torment)
        if (kind, name) not in (("threads", "check"), ("threads", "report")):  # they start none
            assert code == 71, log
            assert log.splitlines()[-1].startswith(told), log
        else:
            assert code == 0, log
        assert "Traceback" not in log
        assert "remove it" not in log
        assert written(done, name).items() <= golden.items()
    assert run_stage(done, name, *OPTIONS.get(name, ())).returncode == 0
    assert written(done, name) == golden
