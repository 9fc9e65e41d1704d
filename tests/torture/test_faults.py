"""A disk that fails at any call: one clear line, no half-written file, and the next run ends in the golden bytes."""

import errno
import json
import os
import resource
from contextlib import contextmanager
from functools import partial

import pytest

from tests.forks import OPTIONS, STAGES, clear, run_stage, written
from tests.torture.shim.sitecustomize import Torment

pytestmark = pytest.mark.slow

KINDS = ("write", "open", "fsync", "replace")


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """A project after all its stages: a further run of any stage replaces its outputs."""
    return tiny.copy(tmp_path_factory.mktemp("faults") / "project")


@contextmanager
def failing(kind, at, by):
    Torment([kind], at, by).install()
    yield


@contextmanager
def counting(file):
    """Writes the number of a stage's calls of each kind to a file."""
    torments = {kind: Torment([kind], 0, "") for kind in KINDS}
    for torment in torments.values():
        torment.install()
    yield
    file.write_text(json.dumps({kind: torment.seen for kind, torment in torments.items()}))


@contextmanager
def limiting(size):
    """Limits the size of files, also for libraries that write without Python."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    yield


def assert_harmless(ended, told, found, golden):
    """Asserts that one line names the error, and that every output is whole or missing."""
    code, log = ended
    assert "Traceback" not in log, log
    if code == 0:  # training continues if its state cannot be written
        assert found == golden, log
    else:
        assert code == 74, log
        assert f": {told}; " in log.splitlines()[-1], log  # a file before it, and what to do after it
        assert "Errno" not in log, log
        assert found.items() <= golden.items()  # golden has no temporary file


@pytest.mark.parametrize("name", STAGES)
def test_any_call_fails(done, tally, chosen, tmp_path, name):
    golden, options = written(done, name), OPTIONS.get(name, ())
    assert run_stage(done, name, *options, torment=partial(counting, tmp_path / "counts")).returncode == 0
    counts = json.loads((tmp_path / "counts").read_text())
    assert all(counts[kind] for kind in KINDS if kind != "write")  # pyarrow's writes are not seen
    numbered = [(kind, at) for kind in KINDS for at in range(1, counts[kind] + 1)]
    cases = [(*call, by) for call in numbered for by in ("ENOSPC", "EIO", "EACCES")]
    for kind, at, by in chosen(cases):
        with tally.trying(f"{name}: an open, write, fsync or rename fails"):
            clear(done, name)
            ended = run_stage(done, name, *options, torment=partial(failing, kind, at, by))
            if kind in ("fsync", "replace") and name != "train":
                assert ended.returncode == 74, ended.stderr
            assert_harmless(ended, os.strerror(getattr(errno, by)), written(done, name), golden)
    assert run_stage(done, name, *options).returncode == 0
    assert written(done, name) == golden


@pytest.mark.parametrize("name", STAGES)
def test_no_file_can_grow_beyond_any_size(done, tally, chosen, name):
    golden, options = written(done, name), OPTIONS.get(name, ())
    largest = max((done.path / file).stat().st_size for file in golden)
    for size in chosen(range(0, largest, max(1, largest // 100))):
        with tally.trying(f"{name}: no file can grow beyond a size"):
            ended = run_stage(done, name, *options, torment=partial(limiting, size))
            assert_harmless(ended, os.strerror(errno.EFBIG), written(done, name), golden)
    assert run_stage(done, name, *options).returncode == 0
    assert written(done, name) == golden
