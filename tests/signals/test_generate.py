"""The generate stage: the same bytes from any number of threads and processes, all of a data set or none of it."""

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from quadrature.runtime.launch import Launch
from quadrature.signals.drawing import drawing
from tests.checkout import OWN_PARAMETERS, PROJECT, Checkout

MANY = {"windows": {"train": 40_000, "validation": 300, "test": 1}, "shard_windows": 100}  # 400, 3 and 1 shards
SMALL = {"windows": {"train": 2000, "validation": 300, "test": 1}, "shard_windows": 200}  # 10, 2 and 1 shards


@pytest.fixture
def folder(tmp_path):
    """A folder of the test's own, to draw in with small parameters."""
    shutil.copy(OWN_PARAMETERS, tmp_path / "params.yaml")
    folder = Checkout(tmp_path)
    folder.set(**{f"generate.{name}": value for name, value in SMALL.items()})
    return folder


@pytest.fixture
def draw(folder):
    """Runs the stage in a fork; further arguments and variables are the test's."""

    def run(*arguments, changes=(), **variables):
        folder.set(**{f"generate.{name}": value for name, value in dict(changes).items()})
        return folder.stage("generate", *arguments, check=False, **variables)

    return run


@pytest.fixture
def start(folder):
    """Starts the stage as a process, to be interrupted or waited for, or to go on where such a one was."""

    def run(*arguments, changes=(), **variables):
        folder.set(**{f"generate.{name}": value for name, value in dict(changes).items()})
        return subprocess.Popen(
            [sys.executable, "-m", "stages.generate", *arguments],
            cwd=folder.path,
            env={**folder.env, "PYTHONPATH": str(PROJECT), **variables},
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def ended(process):
    """Waits for a process; returns its exit code and what it logged."""
    log = process.communicate(timeout=60)[1]
    return process.returncode, log


def content(folder):
    """Returns every file's content by its path, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def launch(folder, world_size, *arguments, **options):
    """Runs the stage in so many processes at once, as torchrun would; returns what each of them logged."""
    variables = [{"RANK": str(rank), "WORLD_SIZE": str(world_size)} for rank in range(world_size)]
    with ThreadPoolExecutor(world_size) as starters:
        started = [starters.submit(folder.stage, "generate", *arguments, **options, **own) for own in variables]
        return [each.result().stderr for each in started]


@pytest.mark.slow
def test_any_number_of_threads_and_of_processes_makes_the_same_bytes(folder, draw, tmp_path):
    assert draw("--threads", "1", "--windows", "one").returncode == 0
    expected = content(tmp_path / "one")
    assert len(expected) == 13
    assert draw("--threads", "3", "--windows", "threads").returncode == 0
    assert content(tmp_path / "threads") == expected
    for world_size in (2, 3):
        logs = launch(folder, world_size, "--windows", f"processes{world_size}")
        assert content(tmp_path / f"processes{world_size}") == expected
        assert "2,000" in logs[0]
        assert logs[1:] == [""] * (world_size - 1)


@contextmanager
def on_a_terminal():
    """Has the process take its standard error for a terminal."""
    sys.stderr.isatty = lambda: True
    yield


@pytest.mark.slow
def test_the_first_process_alone_shows_progress_and_only_on_a_terminal(folder):
    assert ["shard/s" in log for log in launch(folder, 2, torment=on_a_terminal)] == [True, False]
    assert ["shard/s" in log for log in launch(folder, 1)] == [False]


@pytest.mark.slow
def test_torchrun_starts_the_processes(draw, tmp_path):
    assert draw("--windows", "one").returncode == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*torchrun, "-m", "stages.generate", "--windows", "two"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "processes 2" in result.stderr
    assert content(tmp_path / "two") == content(tmp_path / "one")


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


@pytest.fixture
def stop(start, tmp_path):
    """Starts the stage on many shards and ends it by a signal in the midst; returns its exit code and its log."""

    def run(number):
        process = start("--threads", "2", changes=MANY)
        while len(list(tmp_path.glob("data/windows/.drawn-*/train/part-*.parquet"))) < 20:
            assert process.poll() is None
        process.send_signal(number)
        return ended(process)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_midst_ends_it_soon_with_75_and_keeps_what_is_finished(stop, tmp_path, number):
    code, log = stop(number)
    assert code == 75
    drawn, (folder,) = content(tmp_path / "data/windows"), (tmp_path / "data/windows").glob(".drawn-*")
    assert log.splitlines()[1:] == [
        f"shards finished and kept in {folder.relative_to(tmp_path)} for the next run: {len(drawn)}",
        f"interrupted by {number.name}; nothing half-written was left",
    ]
    assert all(name.startswith(".drawn-") and "/part-" in name for name in drawn)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_run_goes_on_at_the_first_missing_shard_and_draws_anew_what_is_not_whole(
    draw, start, stop, tmp_path, number
):
    assert draw("--windows", "undisturbed", changes=MANY).returncode == 0
    stop(number)
    finished = sorted(tmp_path.glob("data/windows/.drawn-*/train/part-*.parquet"))
    nodes = {path.name: path.stat().st_ino for path in finished}
    finished[3].write_bytes(finished[3].read_bytes()[:-1])
    shutil.copy(finished[5], finished[6])
    _, log = ended(start(changes=MANY))
    assert f"train: {len(finished) - 2} of 400 shards had been drawn by a run that was stopped" in log
    assert "validation:" not in log
    made = content(tmp_path / "data/windows")
    assert made == content(tmp_path / "undisturbed")
    folder = tmp_path / "data/windows/train"
    again = {name for name, node in nodes.items() if (folder / name).stat().st_ino != node}
    assert again == {finished[3].name, finished[6].name}


@pytest.mark.slow
def test_so_it_does_under_dvc_which_deletes_a_stages_outputs(checkout):
    checkout.set(**{f"generate.{name}": value for name, value in MANY.items()})
    process = subprocess.Popen(
        ["dvc", "repro", "generate"], cwd=checkout.path, env=checkout.env, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while len(list(checkout.path.glob("data/windows/.drawn-*/train/part-*.parquet"))) < 20:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    log = checkout.run("dvc", "repro", "generate").stderr
    assert int(re.search(r"train: (\d+) of 400 shards had been drawn", log)[1]) >= 20
    checkout.stage("generate", "--windows", "undisturbed")
    assert content(checkout.path / "data/windows") == content(checkout.path / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "changes"), [({}, {"seed": 9}), ({"NPY_DISABLE_CPU_FEATURES": ""}, {})])
def test_what_another_run_has_drawn_is_removed(draw, start, stop, tmp_path, variables, changes):
    stop(signal.SIGKILL)
    code, log = ended(start(changes={**MANY, **changes}, **variables))
    assert (code, "had been drawn" in log) == (0, False)
    assert draw("--windows", "undisturbed", changes={**MANY, **changes}).returncode == 0
    assert content(tmp_path / "data/windows") == content(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_run_waits_for_another_that_draws_there(start, tmp_path):
    (tmp_path / "data/windows").mkdir(parents=True)
    held = os.open(tmp_path / "data/windows", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    process = start()
    assert "processes 1" in process.stderr.readline()
    assert process.stderr.readline() == "data/windows: another process draws there; waiting for its end\n"
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
    assert waits == f"{folder.relative_to(tmp_path)}: another process draws there; waiting for its end\n"
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
    """Else a second data set drawn there by the same process would wait for its own first for ever."""
    process = psutil.Process()
    held = process.num_fds()
    with drawing(tmp_path / "windows", ["train"], "key", Launch()):
        assert process.num_fds() > held
    assert process.num_fds() == held


@pytest.mark.slow
def test_what_makes_no_sense_is_refused_in_a_line_before_anything_is_removed(draw, tmp_path):
    assert draw().returncode == 0
    expected = content(tmp_path / "data")
    for arguments, variables in (
        (("--threads", "0"), {}),
        (("--windows", "ftp://host/windows"), {}),
        ((), {"RANK": "2", "WORLD_SIZE": "2"}),
        ((), {"RANK": "0"}),
    ):
        refused = draw(*arguments, **variables)
        assert refused.returncode == 2
        assert "Traceback" not in refused.stderr
    assert content(tmp_path / "data") == expected


@pytest.mark.slow
def test_it_imports_no_torch():
    program = "import sys, stages.generate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == 0


@pytest.mark.slow
def test_the_benchmark_prints_a_row_for_each_way_and_each_size():
    command = [sys.executable, "-m", "benchmarks.costs.generate"]
    for arguments, names in (
        (["1000", "1"], ["bare loop", "one process", "two threads", "two processes"]),
        (["memory", "1000", "2000"], ["1,000", "2,000"]),
    ):
        result = subprocess.run([*command, *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
        rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line.startswith("| ")][1:]
        assert [row[0].strip() for row in rows] == names
        assert all(float(row[1].replace(",", "")) > 0 for row in rows)
