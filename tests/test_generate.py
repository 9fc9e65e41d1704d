"""The generate stage: the same bytes from any number of threads and processes, all of a data set or none of it."""

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import yaml

from quadrature.launch import Launch
from quadrature.shards import drawing
from tests.checkout import CALLERS, PROJECT

MANY = {"windows": {"train": 40_000, "validation": 300, "test": 1}, "shard_windows": 100}  # 400, 3 and 1 shards
SMALL = {"windows": {"train": 2000, "validation": 300, "test": 1}, "shard_windows": 200}  # 10, 2 and 1 shards


@pytest.fixture
def run(tmp_path):
    """Starts the stage in a folder of its own with small parameters; further arguments and variables are the test's."""

    def start(*arguments, wait=True, changes=(), **variables):
        params = yaml.safe_load((PROJECT / "params.yaml").read_text())
        params["generate"].update({**SMALL, **dict(changes)})
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        environment = {name: value for name, value in os.environ.items() if name not in CALLERS}
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.generate", *arguments],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(PROJECT), **variables},
            stderr=subprocess.PIPE,
            text=True,
        )
        if wait:
            process.stderr_text = process.communicate(timeout=60)[1]
        return process

    return start


def content(folder):
    """Returns every file's content by its path, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def launch(run, world_size, *arguments):
    """Starts so many processes at once, as torchrun would; returns what each of them logged."""
    variables = [{"RANK": str(rank), "WORLD_SIZE": str(world_size)} for rank in range(world_size)]
    processes = [run(*arguments, wait=False, **own) for own in variables]
    logs = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * world_size, logs
    return logs


def test_any_number_of_threads_and_of_processes_makes_the_same_bytes(run, tmp_path):
    assert run("--threads", "1", "--windows", "one").returncode == 0
    expected = content(tmp_path / "one")
    assert len(expected) == 13
    assert run("--threads", "3", "--windows", "threads").returncode == 0
    assert content(tmp_path / "threads") == expected
    for world_size in (2, 3):
        logs = launch(run, world_size, "--windows", f"processes{world_size}")
        assert content(tmp_path / f"processes{world_size}") == expected
        assert "2,000" in logs[0]
        assert logs[1:] == [""] * (world_size - 1)


@pytest.mark.slow
def test_torchrun_starts_the_processes(run, tmp_path):
    assert run("--windows", "one").returncode == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*torchrun, "-m", "stages.generate", "--windows", "two"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "processes 2" in result.stderr
    assert content(tmp_path / "two") == content(tmp_path / "one")


@pytest.mark.parametrize("world_size", [1, 2])
def test_what_an_earlier_run_left_is_gone_and_other_files_stay(run, tmp_path, world_size):
    launch(run, world_size)
    expected = content(tmp_path / "data")
    folder = tmp_path / "data/windows/train"
    for name in ("part-00010.parquet", "part-123456.parquet", ".part-00003.parquet.tmp"):
        (folder / name).write_text("old")
    others = {f"windows/{name}": b"mine" for name in ("train/notes.txt", "test/part-00000.parquet.old", "train/a/b")}
    for name, written in others.items():
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(written)
    launch(run, world_size)
    assert content(tmp_path / "data") == expected | others


def test_a_process_leaves_the_shards_of_the_others_alone(run, tmp_path):
    assert run(RANK="1", WORLD_SIZE="2").returncode == 0
    before = {path: path.stat().st_ino for path in (tmp_path / "data/windows").rglob("*.parquet")}
    assert sorted(path.name for path in before if path.parent.name == "train") == [
        f"part-{shard:05}.parquet" for shard in range(1, 10, 2)
    ]
    assert run(RANK="0", WORLD_SIZE="2").returncode == 0
    assert {path: path.stat().st_ino for path in before} == before


def test_a_failure_takes_the_whole_data_set_with_it(run, tmp_path):
    (tmp_path / "data/windows").mkdir(parents=True)
    (tmp_path / "data/windows/test").write_text("in the way of the last split")
    process = run()
    assert (process.returncode, process.stderr_text.count("\n")) == (74, 2)
    assert "data/windows/test" in process.stderr_text.splitlines()[-1]
    assert list(content(tmp_path / "data")) == ["windows/test"]


@pytest.fixture
def stop(run, tmp_path):
    """Starts the stage on many shards and ends it by a signal in the midst; returns the process and what it logged."""

    def start(number):
        process = run("--threads", "2", wait=False, changes=MANY)
        while len(list(tmp_path.glob("data/windows/.drawn-*/train/part-*.parquet"))) < 20:
            assert process.poll() is None
        process.send_signal(number)
        log = process.communicate(timeout=20)[1]
        return process, log.splitlines()

    return start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_midst_ends_it_soon_with_75_and_keeps_what_is_finished(stop, tmp_path, number):
    process, log = stop(number)
    assert process.returncode == 75
    drawn, (folder,) = content(tmp_path / "data/windows"), (tmp_path / "data/windows").glob(".drawn-*")
    assert log[1:] == [
        f"shards finished and kept in {folder.relative_to(tmp_path)} for the next run: {len(drawn)}",
        f"interrupted by {number.name}; nothing half-written was left",
    ]
    assert all(name.startswith(".drawn-") and "/part-" in name for name in drawn)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_run_goes_on_at_the_first_missing_shard_and_draws_anew_what_is_not_whole(run, stop, tmp_path, number):
    assert run("--windows", "undisturbed", changes=MANY).returncode == 0
    stop(number)
    finished = sorted(tmp_path.glob("data/windows/.drawn-*/train/part-*.parquet"))
    nodes = {path.name: path.stat().st_ino for path in finished}
    finished[3].write_bytes(finished[3].read_bytes()[:-1])
    shutil.copy(finished[5], finished[6])
    log = run(changes=MANY).stderr_text
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
    resumed = checkout.digests()
    checkout.run("dvc", "repro", "--force", "generate")
    assert checkout.digests() == resumed


@pytest.mark.parametrize(("variables", "changes"), [({}, {"seed": 9}), ({"NPY_DISABLE_CPU_FEATURES": ""}, {})])
def test_what_another_run_has_drawn_is_removed(run, stop, tmp_path, variables, changes):
    stop(signal.SIGKILL)
    process = run(changes={**MANY, **changes}, **variables)
    assert (process.returncode, "had been drawn" in process.stderr_text) == (0, False)
    assert run("--windows", "undisturbed", changes={**MANY, **changes}).returncode == 0
    assert content(tmp_path / "data/windows") == content(tmp_path / "undisturbed")


def test_a_run_waits_for_another_that_draws_there(run, tmp_path):
    (tmp_path / "data/windows").mkdir(parents=True)
    held = os.open(tmp_path / "data/windows", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    process = run(wait=False)
    assert "processes 1" in process.stderr.readline()
    assert process.stderr.readline() == "data/windows: another process draws there; waiting for its end\n"
    assert content(tmp_path / "data") == {}
    os.close(held)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(content(tmp_path / "data")) == 13


@pytest.mark.parametrize("changes", [{}, {"seed": 9}], ids=["started again", "of another data set"])
def test_one_of_several_processes_waits_for_another_that_draws_its_shards(run, tmp_path, changes):
    own = {"RANK": "0", "WORLD_SIZE": "2"}
    first = run("--threads", "1", wait=False, changes=MANY, **own)
    while len(list(tmp_path.glob("data/windows/.drawn-*/train/part-*.parquet"))) < 20:
        assert first.poll() is None
    first.send_signal(signal.SIGSTOP)
    second = run("--threads", "1", wait=False, changes={**MANY, **changes}, **own)
    (folder,) = tmp_path.glob("data/windows/.drawn-*")
    _, waits = (second.stderr.readline() for _ in range(2))
    first.send_signal(signal.SIGCONT)
    logs = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert waits == f"{folder.relative_to(tmp_path)}: another process draws there; waiting for its end\n"
    assert [process.returncode for process in (first, second)] == [0, 0], logs
    assert run("--windows", "undisturbed", changes={**MANY, **changes}, **own).returncode == 0
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


def test_what_makes_no_sense_is_refused_in_a_line_before_anything_is_removed(run, tmp_path):
    assert run().returncode == 0
    expected = content(tmp_path / "data")
    for arguments, variables in (
        (("--threads", "0"), {}),
        (("--windows", "ftp://host/windows"), {}),
        ((), {"RANK": "2", "WORLD_SIZE": "2"}),
        ((), {"RANK": "0"}),
    ):
        process = run(*arguments, **variables)
        assert process.returncode == 2
        assert "Traceback" not in process.stderr_text
    assert content(tmp_path / "data") == expected


def test_it_imports_no_torch():
    program = "import sys, stages.generate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == 0


def test_the_benchmark_prints_a_row_for_each_way_and_each_size():
    command = [sys.executable, "-m", "benchmarks.generate"]
    for arguments, names in (
        (["1000", "1"], ["bare loop", "one process", "two threads", "two processes"]),
        (["memory", "1000", "2000"], ["1,000", "2,000"]),
    ):
        result = subprocess.run([*command, *arguments], cwd=PROJECT, capture_output=True, text=True, check=True)
        rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line.startswith("| ")][1:]
        assert [row[0].strip() for row in rows] == names
        assert all(float(row[1].replace(",", "")) > 0 for row in rows)
