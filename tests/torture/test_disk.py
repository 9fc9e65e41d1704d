"""A disk without room, files that the system itself will not read or write: one clear line, and no half of a file."""

import errno
import json
import os
import subprocess
import sys

import pytest

from tests.checkout import PROJECT, Checkout
from tests.torture.forks import OPTIONS, STAGES, clear, inputs, outputs, run_stage, written
from tests.torture.test_faults import TINY, assert_harmless

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="mounts, and reads /proc")]

OWN_DISK = ("unshare", "--user", "--map-root-user", "--mount")
MORTAL = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""Who runs as root is let into every file; without these capabilities root is held to a file's rights as others are."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A project after all its stages."""
    checkout = Checkout(tmp_path_factory.mktemp("disk"), TINY)
    for name in STAGES:
        assert run_stage(checkout, name).returncode == 0
    return checkout


@pytest.fixture(scope="module")
def own_disk():
    tried = subprocess.run([*OWN_DISK, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True)
    if tried.returncode:
        pytest.skip("users may not mount a disk of their own here")


def refusal(done, name):
    """Returns the line in which a stage refuses to work, as one whom rights hold back."""
    command = [*(MORTAL if os.geteuid() == 0 else ()), sys.executable, "-m", f"stages.{name}", *OPTIONS.get(name, ())]
    ended = subprocess.run(command, cwd=done.path, env=done.env, capture_output=True, text=True, check=False)
    assert ended.returncode in (65, 74)
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()[-1]


@pytest.mark.usefixtures("own_disk")
@pytest.mark.parametrize("name", STAGES)
def test_a_disk_has_too_little_room(done, tally, chosen, tmp_path, name):
    golden = written(done, name)
    size = sum((done.path / file).stat().st_size for file in golden)
    free = sorted(chosen(range(0, size, max(1, size // 20))))
    driver = [sys.executable, "-m", "tests.torture.full_disk", tmp_path, done.path, name, *map(str, free)]
    said = subprocess.run([*OWN_DISK, *driver], cwd=PROJECT, env=done.env, check=True, capture_output=True, text=True)
    tried, last = json.loads(said.stdout)
    assert len(tried) == len(free)
    for code, log, found in tried:
        with tally.trying(f"{name}: a disk has too little room"):
            assert_harmless((code, log), os.strerror(errno.ENOSPC), found, golden)
    assert last == [0, last[1], golden]


@pytest.mark.parametrize("name", [name for name in STAGES if name != "generate"])
def test_a_file_may_not_be_read_or_cannot(done, tally, name):
    golden = written(done, name)
    for file in inputs(done, name):
        path = done.path / file
        kept = path.with_name(f"{path.name}.kept")
        with tally.trying(f"{name}: a file may not be read"):
            path.chmod(0)
            assert refusal(done, name) == f"{file}: {os.strerror(errno.EACCES)}"
        path.chmod(0o644)
        with tally.trying(f"{name}: a file cannot be read"):
            path.rename(kept)
            path.symlink_to("/proc/self/mem")
            assert refusal(done, name).startswith((f"{file}: ", f"{file} is no "))
        kept.replace(path)
    assert written(done, name) == golden


@pytest.mark.parametrize("name", STAGES)
def test_a_folder_may_not_be_written(done, tally, name):
    golden = written(done, name)
    for folder in sorted({(done.path / output).parent for output in outputs(name)}):
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
