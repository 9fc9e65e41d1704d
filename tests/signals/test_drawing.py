"""`python -m stages.generate` in a folder with other files, earlier data sets and other processes at work."""

import errno
import fcntl
import os
import signal

import psutil
import pytest

from quadrature.runtime.launch import Launch
from quadrature.signals.drawing import drawing
from tests.signals.running import MANY, content, ended, launch


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
def test_what_an_earlier_run_left_is_gone_and_other_files_stay(folder, tmp_path, world_size):
    launch(folder, world_size)
    expected = content(tmp_path / "data")
    train = tmp_path / "data/windows/train"
    for name in ("part-00010.parquet", "part-123456.parquet", ".part-00003.parquet.tmp"):
        (train / name).write_text("old")
    others = {f"windows/{name}": b"mine" for name in ("train/notes.txt", "test/part-00000.parquet.old", "train/a/b")}
    for name, written in others.items():
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(written)
    launch(folder, world_size)
    assert content(tmp_path / "data") == expected | others


@pytest.mark.slow
def test_a_process_leaves_the_shards_of_the_others_alone(draw, tmp_path):
    assert draw(RANK="1", WORLD_SIZE="2").returncode == 0
    before = {path: path.stat().st_ino for path in (tmp_path / "data/windows").rglob("*.parquet")}
    assert sorted(path.name for path in before if path.parent.name == "train") == [
        f"part-{shard:05}.parquet" for shard in range(1, 10, 2)
    ]
    assert draw(RANK="0", WORLD_SIZE="2").returncode == 0
    assert {path: path.stat().st_ino for path in before} == before


@pytest.mark.slow
def test_a_failure_takes_the_whole_data_set_with_it(draw, tmp_path):
    (tmp_path / "data/windows").mkdir(parents=True)
    (tmp_path / "data/windows/test").write_text("in the way of the last split")
    done = draw()
    assert (done.returncode, done.stderr.count("\n")) == (74, 2)
    assert "data/windows/test" in done.stderr.splitlines()[-1]
    assert list(content(tmp_path / "data")) == ["windows/test"]


@pytest.mark.slow
def test_a_run_waits_for_another_that_draws_there(start, tmp_path):
    (tmp_path / "data/windows").mkdir(parents=True)
    held = os.open(tmp_path / "data/windows", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    process = start()
    assert "processes 1" in process.stderr.readline()
    assert process.stderr.readline() == "data/windows: another process draws there; waiting for it to end\n"
    assert content(tmp_path / "data") == {}
    os.close(held)
    assert ended(process) == (0, "")
    assert len(content(tmp_path / "data")) == 13


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"seed": 9}], ids=["started again", "of another data set"])
def test_one_of_several_processes_waits_for_another_that_draws_its_shards(draw, start, tmp_path, changes):
    own = {"RANK": "0", "WORLD_SIZE": "2"}
    first = start("--threads", "1", changes=MANY, **own)
    while len(list(tmp_path.glob("data/windows/.drawn-*/train/part-*.parquet"))) < 20:
        assert first.poll() is None
    first.send_signal(signal.SIGSTOP)
    second = start("--threads", "1", changes={**MANY, **changes}, **own)
    (folder,) = tmp_path.glob("data/windows/.drawn-*")
    _, waits = (second.stderr.readline() for _ in range(2))
    first.send_signal(signal.SIGCONT)
    codes, logs = zip(*map(ended, (first, second)), strict=True)
    assert waits == f"{folder.relative_to(tmp_path)}: another process draws there; waiting for it to end\n"
    assert codes == (0, 0), logs
    assert draw("--windows", "undisturbed", changes={**MANY, **changes}, **own).returncode == 0
    assert len(content(tmp_path / "undisturbed")) == 200 + 2 + 1
    assert content(tmp_path / "data/windows") == content(tmp_path / "undisturbed")


def test_where_a_folder_cannot_be_locked_windows_are_drawn_all_the_same(monkeypatch, tmp_path):
    def refuse(*_arguments):
        raise OSError(errno.EBADF, "as NFS does")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with drawing(tmp_path / "windows", ["train"], "key", Launch()) as folder:
        (folder / "train").mkdir(parents=True)
        (folder / "train/part-00000.parquet").write_text("drawn")
    assert content(tmp_path) == {"windows/train/part-00000.parquet": b"drawn"}


def test_a_folder_is_held_no_longer_than_it_is_drawn_in(tmp_path):
    """Otherwise a process that draws a second data set there would wait for itself forever."""
    process = psutil.Process()
    held = process.num_fds()
    with drawing(tmp_path / "windows", ["train"], "key", Launch()):
        assert process.num_fds() > held
    assert process.num_fds() == held
