"""The generate stage: the same bytes from any number of threads and processes."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.checkout import PROJECT
from tests.signals.running import content, launch


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
    """Makes standard error look like a terminal."""
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
