"""A full disk, and files that the system does not read or write: one clear line, and no half-written file."""

import ctypes
import errno
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.checkout import PROJECT
from tests.forks import OPTIONS, STAGES, clear, inputs, outputs, run_stage, written
from tests.processes import rest_of
from tests.torture.test_faults import assert_harmless

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="mounts, and reads /proc")]

OWN_DISK = ("unshare", "--user", "--map-root-user", "--mount")


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """A project after all its stages."""
    return tiny.copy(tmp_path_factory.mktemp("disk") / "project")


@pytest.fixture(scope="module")
def own_disk(done, tmp_path_factory):
    """Returns `run(name, free)`, which runs a stage for each number of free bytes and once with room: full_disk.py."""
    tried = subprocess.run([*OWN_DISK, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip("users may not mount a disk of their own here")
    driver = [*OWN_DISK, sys.executable, "-m", "tests.torture.full_disk", tmp_path_factory.mktemp("own"), done.path]
    process = subprocess.Popen(
        driver, cwd=PROJECT, env=done.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(name, free):
        print(json.dumps([name, *free]), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    yield run
    rest_of(process)
    assert process.returncode == 0


RIGHTS_DO_NOT_BIND = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of Linux: a process with them, such as root's, may open every file."""


@contextmanager
def bound_by_rights():
    """Takes these capabilities from this process, so that file permissions apply as to any user."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the call, with two words each; this process
    words = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same for capabilities from 32 on
    assert libc.capget(header, words) == 0
    for kind in range(3):
        words[kind] &= ~RIGHTS_DO_NOT_BIND
    assert libc.capset(header, words) == 0, os.strerror(ctypes.get_errno())
    yield


def refusal(done, name):
    """Returns the line with which a stage without these capabilities refuses to work."""
    ended = run_stage(done, name, *OPTIONS.get(name, ()), torment=bound_by_rights)
    assert ended.returncode in (65, 74)
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", STAGES)
def test_a_disk_has_too_little_room(done, own_disk, tally, chosen, name):
    golden = written(done, name)
    size = sum((done.path / file).stat().st_size for file in golden)
    free = sorted(chosen(range(0, size, max(1, size // 20))))
    tried, last = own_disk(name, free)
    assert len(tried) == len(free)
    for code, log, found in tried:
        with tally.trying(f"{name}: a disk has too little room"):
            assert_harmless((code, log), os.strerror(errno.ENOSPC), found, golden)
    assert last == [0, last[1], golden]


@pytest.mark.parametrize("name", [name for name in STAGES if name not in ("check", "generate")])
def test_a_file_may_not_be_read_or_cannot(done, tally, chosen, name):
    golden = written(done, name)
    for file in chosen(inputs(done, name)):
        path = done.path / file
        kept = path.with_name(f"{path.name}.kept")
        with tally.trying(f"{name}: a file may not be read"):
            path.chmod(0)
            assert refusal(done, name).startswith(f"{file}: {os.strerror(errno.EACCES)}; change ")
        path.chmod(0o644)
        with tally.trying(f"{name}: a file cannot be read"):
            path.rename(kept)
            path.symlink_to("/proc/self/mem")
            assert refusal(done, name).startswith((f"{file}: ", f"{file} is not a"))
        kept.replace(path)
    assert written(done, name) == golden


@pytest.mark.parametrize("name", STAGES)
def test_a_folder_may_not_be_written(done, tally, chosen, name):
    golden = written(done, name)
    for folder in chosen(sorted({(done.path / output).parent for output in outputs(name)})):
        clear(done, name)
        with tally.trying(f"{name}: a folder may not be written"):
            folder.chmod(0o555)
            line = refusal(done, name).lower()
            assert str(folder.relative_to(done.path)) in line
            assert os.strerror(errno.EACCES).lower() in line
            assert written(done, name).items() <= golden.items()
        folder.chmod(0o755)
    assert run_stage(done, name).returncode == 0
    assert written(done, name) == golden
