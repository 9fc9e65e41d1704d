"""Files appear whole or not at all, also where two processes write to one path, or one was killed."""

import errno
import multiprocessing
import os
import signal
import stat
import time
from contextlib import nullcontext

import pytest

from quadrature.storage.files import replacing, write_bytes

SPAWN = multiprocessing.get_context("fork")


def write_slowly(path, content, begun, seconds):
    """Writes a file in two halves."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        begun.set()
        time.sleep(seconds)
        file.write(content[len(content) // 2 :])


def start(*arguments):
    begun = SPAWN.Event()
    process = SPAWN.Process(target=write_slowly, args=(*arguments[:2], begun, *arguments[2:]))
    process.start()
    assert begun.wait(30)
    return process


def temporaries(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.slow
def test_of_two_writers_the_second_waits_and_its_file_is_whole(tmp_path, caplog):
    path = tmp_path / "out"
    first = start(path, b"a" * 1000, 1.0)
    caplog.set_level("INFO")
    write_bytes(path, b"b" * 10)
    first.join()
    assert first.exitcode == 0
    assert path.read_bytes() == b"b" * 10
    assert "another process writes" in caplog.text
    assert temporaries(tmp_path) == []


@pytest.mark.slow
def test_many_writers_of_one_path_each_write_it_whole(tmp_path):
    path = tmp_path / "out"
    writers = [SPAWN.Process(target=write_bytes, args=(path, bytes([number]) * 10**6)) for number in range(16)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 16
    content = path.read_bytes()
    assert len(content) == 10**6
    assert len({*content}) == 1
    assert temporaries(tmp_path) == []


@pytest.mark.parametrize(("reason", "harmless"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_a_file_system_that_cannot_sync_folders_is_no_failing_disk(tmp_path, monkeypatch, reason, harmless):
    sync = os.fsync

    def sync_files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(reason, os.strerror(reason))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync_files_alone)
    with nullcontext() if harmless else pytest.raises(OSError, match="Input/output error"):
        write_bytes(tmp_path / "out", b"whole")
    assert (tmp_path / "out").read_bytes() == b"whole"


def test_the_file_of_a_killed_writer_is_replaced(tmp_path):
    path = tmp_path / "out"
    killed = start(path, b"a" * 1000, 60.0)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert temporaries(tmp_path) == [".out.tmp"]
    write_bytes(path, b"b")
    assert path.read_bytes() == b"b"
    assert temporaries(tmp_path) == []


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "out"
    write_bytes(path, b"a")
    with pytest.raises(IsADirectoryError), replacing(path) as temporary:
        temporary.write_text((tmp_path / "..").read_text())
    assert path.read_bytes() == b"a"
    assert temporaries(tmp_path) == []


def test_a_link_in_the_temporary_files_place_is_not_followed(tmp_path):
    (tmp_path / "other").write_bytes(b"mine")
    (tmp_path / ".out.tmp").symlink_to(tmp_path / "other")
    write_bytes(tmp_path / "out", b"a")
    assert (tmp_path / "other").read_bytes() == b"mine"
    assert not (tmp_path / "out").is_symlink()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_has_the_mode_that_the_umask_leaves(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "out", b"a")
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == mode
