"""The benchmarks run, on tiny sizes. Their figures are not tested."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from dvc.utils.serialize import load_yaml
from pydantic import BaseModel

from benchmarks import task
from benchmarks.costs.generate import delete_shards
from quadrature.runtime.launch import Launch
from quadrature.runtime.params import SECTIONS, load_params
from quadrature.signals.drawing import drawing
from quadrature.signals.params import SPLITS
from stages import evaluate, generate, plot, targets, train
from tests.checkout import PROJECT
from tests.forked_python.server import forking, variables


def test_the_benchmarks_parameters_are_exactly_those_that_the_stages_know():
    """None is missing and none is unknown: a new parameter must be added there, too."""
    models = {
        "generate": generate.GenerateParams,
        "targets": targets.TargetsParams,
        "model": train.ModelParams,
        "train": train.TrainParams,
        "evaluate": evaluate.EvaluateParams,
        "plot": plot.PlotParams,
    }
    assert {"device", *models} == {*SECTIONS}
    for stage in (evaluate, generate, plot, targets, train):
        load_params(stage.Params, task.PARAMETERS)
    tree = load_yaml(str(task.PARAMETERS))
    assert {*tree} == {*SECTIONS}
    for section, model in models.items():
        assert_has_fields(tree[section], model, section)


def assert_has_fields(tree, model, path):
    assert {*tree} == {*model.model_fields}, path
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert_has_fields(tree[name], field.annotation, f"{path}.{name}")


@pytest.mark.committed_results
def test_the_benchmarks_floor_is_that_of_the_committed_metrics():
    floor = json.loads((PROJECT / "metrics/test.json").read_text())["floor_mse"]
    assert pytest.approx(floor, rel=1e-5) == task.FLOOR_MSE


def printed(benchmark, *arguments):
    """Returns the lines printed by a benchmark."""
    command = [sys.executable, "-m", f"benchmarks.costs.{benchmark}", *arguments]
    env = {**os.environ, **variables()}
    return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.slow
def test_the_floors_benchmark_prints_a_row_for_each_setting():
    lines = printed("floor", "64", "two samples", "undersampled beyond reach")
    assert [line.count("|") for line in lines] == [7, 7, 7, 7]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["two samples", "undersampled beyond reach"]


@pytest.mark.slow
def test_the_peak_memory_of_a_process_is_in_megabytes():
    """Measured by a small process, as processes.py asks for: this one is too large."""
    program = """
import sys
from benchmarks.processes import PROJECT, run
held = "import sys; held = b'x' * int(sys.argv[1])"
print(*(run([sys.executable, "-c", held, str(size)], PROJECT).peak_mb for size in (10**8, 2 * 10**8)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    less, more = map(float, done.stdout.split())
    assert more - less == pytest.approx(100.0, abs=2.0)


def test_shards_are_deleted_where_the_stage_draws_them_until_it_is_about_to_move_them(tmp_path):
    with drawing(tmp_path / "data/windows", SPLITS, "key", Launch()) as folder:
        for split, expected in (("train", []), ("validation", ["part-00000.parquet"])):
            (folder / split).mkdir(parents=True)
            (folder / "train/part-00000.parquet").touch()
            sweeps = iter([False, True])
            delete_shards(tmp_path, SimpleNamespace(wait=lambda _seconds, sweeps=sweeps: next(sweeps)))
            assert [path.name for path in (folder / "train").iterdir()] == expected


@pytest.mark.slow
def test_the_trackers_benchmark_prints_a_row_for_each_cell():
    lines = printed("tracker", "20", "4")
    rows = [line.split("|")[1:-1] for line in lines[4:]]
    assert [row[0].strip() for row in rows] == ["rnn", "lstm", "gru"]
    assert all(0 < float(p50) <= float(p99) for _, p50, p99, *_ in rows)


@pytest.mark.slow
def test_the_benchmark_of_live_prints_a_row_for_each_head():
    command = [sys.executable, "-m", "benchmarks.costs.live", "20"]  # real processes, as it times their pipes
    lines = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:]]
    assert [row[0] for row in rows] == ["head last", "head every", "cat"]
    assert all(0.0 < float(p50) <= float(p99) <= float(largest) for _, p50, p99, largest in rows)


@pytest.mark.slow
def test_the_commands_benchmark_prints_a_row_for_each_way():
    lines = printed("predict", "1000", "3")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:]]
    assert [row[0] for row in rows] == ["forward pass", "parquet to parquet", "CSV to CSV"]
    assert rows[0][2:] == ["1.00"] * 3
    assert all(0.0 < float(lowest) <= float(ratio) <= float(highest) for *_, ratio, lowest, highest in rows)


@pytest.mark.nightly
def test_the_tracking_benchmark_prints_the_error_of_both_networks_at_each_sample(again):
    lines = forking(again).run("python", "-m", "benchmarks.studies.tracking", "50").stdout.splitlines()
    rows = [[float(cell.replace(",", "")) for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert lines[0] == "| sample | trained on 10 | trained on 100 |"
    assert [row[0] for row in rows] == [1, 2, 5, 10, 11, 20, 50, 100, 101, 200, 500, 1000]
    assert all(0.0 < error < 2.0 for row in rows for error in row[1:])


@pytest.mark.nightly
def test_the_study_of_gaps_prints_an_error_for_each_gap_and_each_way(again):
    lines = forking(again).run("python", "-m", "benchmarks.studies.gaps", "20", "2").stdout.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert [row[0] for row in rows[2:8]] == ["1", "2", "3", "4", "5", "6"]
    assert all(float(cell) > 0.0 for row in rows[2:8] for cell in row[1:])
    assert [row[2] for row in rows[10:12]] == ["0.0 %", "0.0 %"]
    assert len(rows) == 15
