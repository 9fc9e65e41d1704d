"""The evaluate stage: one pass over the windows, the same bytes for any slices, memory that does not grow."""

import json
import logging
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

import stages.evaluate
from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.posterior.refined import PosteriorError
from quadrature.runtime.params import load_params
from quadrature.scoring import floor, leakage
from quadrature.storage.windows import (
    ESTIMATE_COLUMNS,
    IN_PHASE_COLUMNS,
    WINDOW_COLUMNS,
    Split,
    read_split,
    read_windows,
    shard_path,
    writing,
)
from stages.train import Params as Train
from tests.checkout import PROJECT, SMALL, Checkout
from tests.forks import run_stage

PREDICTIONS = "data/predictions.parquet"


@pytest.fixture
def tree(finished, tmp_path):
    """The finished checkout with windows in many shards; one of the three test shards is also in training."""
    tree = Checkout(tmp_path / "tree")
    shutil.copytree(finished.path, tree.path, ignore=shutil.ignore_patterns(".dvc", ".git"))
    tree.set(**{"generate.shard_windows": 100})
    tree.stage("generate")
    test, train = (Split(tree.path / "data/windows" / name) for name in ("test", "train"))
    with writing(shard_path(tree.path / "data/windows/train", 7), 7, len(train.sizes)) as file:
        file.write(test.read(1, (*WINDOW_COLUMNS, "in_phase")))
    return tree


@contextmanager
def watched(budget, limit):
    """Sets the operations for the floor and the samples in a slice; logs the shards read and the windows predicted."""
    floor.BUDGET, leakage.SLICE = budget, limit
    read, predict = Split.read, stages.evaluate.predict

    def read_and_log(self, shard, columns):
        logging.info("read %s %d", self._folder.name, shard)
        return read(self, shard, columns)

    def predict_and_log(network, windows, batch_size):
        logging.info("predict %d", len(windows))
        return predict(network, windows, batch_size)

    Split.read, stages.evaluate.predict = read_and_log, predict_and_log
    yield


def run(tree, budget=2**36, limit=2**24):
    """Runs the stage; returns its log."""
    done = run_stage(tree, "evaluate", torment=partial(watched, budget, limit))
    assert done.returncode == 0, done.stderr
    return done.stderr


def evaluate(tree, budget=2**36, limit=2**24):
    """Runs the stage; returns the bytes of metrics/test.json and data/predictions.parquet."""
    run(tree, budget, limit)
    return [(tree.path / name).read_bytes() for name in ("metrics/test.json", PREDICTIONS)]


def test_however_few_test_windows_are_held_to_be_searched_for_the_results_are_the_same(tree):
    all_at_once = evaluate(tree)
    assert json.loads(all_at_once[0])["seen_in_training"] == 100 / 300
    assert evaluate(tree, limit=30_000) == all_at_once  # two shards, then one
    assert evaluate(tree, limit=1) == all_at_once


@pytest.mark.parametrize(("limit", "slices"), [(2**24, 1), (30_000, 2), (1, 3)])
def test_each_test_shard_is_read_and_predicted_once_and_the_training_split_once_for_each_slice(tree, limit, slices):
    log = run(tree, limit=limit).splitlines()
    reads = Counter(line for line in log if line.startswith("read "))
    train = len(Split(tree.path / "data/windows/train").sizes)
    assert reads == Counter(
        {f"read test {shard}": 1 for shard in range(3)} | {f"read train {shard}": slices for shard in range(train)}
    )
    assert [line for line in log if line.startswith("predict ")] == ["predict 100"] * 3


def test_the_last_line_of_the_log_has_the_figures_of_the_metrics(tree):
    *_, line = run(tree).splitlines()
    found = json.loads((tree.path / "metrics/test.json").read_text())
    assert line == (
        f"windows 300, mse {found['mse']:.3g}, floor {found['floor_mse']:.3g}, "
        f"excess {found['excess']:.4f} +- {found['excess_standard_error']:.4f}, "
        f"phase error {found['phase_rmse_degrees']:.2f} degrees"
    )


def test_figures_of_the_analytic_signal_are_those_of_the_columns(tree):
    run(tree)
    metrics = json.loads((tree.path / "metrics/test.json").read_text())
    names = (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS, *IN_PHASE_COLUMNS)
    rows = {name: each.astype(float) for name, each in read_windows(tree.path / PREDICTIONS, names).items()}
    assert metrics["in_phase_mse"] == pytest.approx(np.square(rows["in_phase_prediction"] - rows["in_phase"]).mean())
    found, true = rows["prediction"] + 1j * rows["in_phase_prediction"], rows["target"] + 1j * rows["in_phase"]
    turn, size = np.angle(found / true, deg=True), np.abs(found) - np.abs(true)
    assert metrics["phase_rmse_degrees"] == pytest.approx(np.sqrt(np.square(turn).mean()))
    assert metrics["amplitude_rmse"] == pytest.approx(np.sqrt(np.square(size).mean()))
    by_hilbert = np.angle((rows["hilbert"] + 1j * rows["input"]) / true, deg=True)
    expected = np.sqrt(np.square(by_hilbert).mean())
    assert metrics["baselines_phase_rmse_degrees"]["hilbert"] == pytest.approx(expected, rel=1e-5)
    assert metrics["baselines_phase_rmse_degrees"]["zero"] is None
    assert metrics["floor_phase_rmse_degrees"] < metrics["baselines_phase_rmse_degrees"]["least_squares"]


@pytest.mark.parametrize("lacking", [("train", "test"), ("train",), ("test",)])
def test_windows_without_an_in_phase_component_have_the_figures_of_the_quadrature_component_alone(tree, lacking):
    """As one's own may be. The other figures are null."""
    run(tree)
    expected = json.loads((tree.path / "metrics/test.json").read_text())
    for split in lacking:
        folder = tree.path / "data/windows" / split
        shards = list(read_split(folder, WINDOW_COLUMNS))
        for number, columns in enumerate(shards):
            with writing(shard_path(folder, number), number, len(shards)) as file:
                file.write(columns)
    run(tree)
    found = json.loads((tree.path / "metrics/test.json").read_text())
    of_both = [name for name in expected if name.endswith(("in_phase_mse", "amplitude_rmse", "phase_rmse_degrees"))]
    assert len(of_both) == 9
    for name in of_both:
        assert set(found[name].values() if isinstance(found[name], dict) else [found[name]]) == {None}, name
    rounded = ("baselines", "baselines_standard_error")
    assert [found[name] for name in rounded] == [pytest.approx(expected[name]) for name in rounded]
    others = found.keys() - {*of_both, *rounded}
    assert {name: found[name] for name in others} == {name: expected[name] for name in others}
    tree.stage("plot")


@pytest.mark.parametrize(
    ("floor_mse", "excess", "error", "expected"),
    [
        (0.00292, 0.013, 0.001, "floor 0.00292, excess 0.0130 +- 0.0010"),
        (0.00292, -0.002, None, "floor 0.00292, excess -0.0020"),
        (None, None, None, "no floor"),
    ],
)
def test_the_log_gives_the_excess_in_plain_figures(floor_mse, excess, error, expected):
    assert (
        stages.evaluate.describe({"floor_mse": floor_mse, "excess": excess, "excess_standard_error": error}) == expected
    )


@pytest.mark.parametrize("budget", [2**36, 2**21])
def test_the_floor_is_that_of_the_same_rows_in_metrics_and_predictions(tree, budget):
    metrics, _ = evaluate(tree, budget)
    found = json.loads(metrics)
    columns = read_windows(tree.path / PREDICTIONS, (*WINDOW_COLUMNS, "prediction", "posterior_mean"))
    known = np.isfinite(columns["posterior_mean"][:, 0])
    assert found["floor_windows"] == known.sum()
    assert (found["floor_windows"] < 300) == (budget < 2**36)
    floor = ((columns["posterior_mean"][known] - columns["target"][known].astype(float)) ** 2).mean()
    distance = ((columns["prediction"][known].astype(float) - columns["posterior_mean"][known]) ** 2).mean()
    assert found["floor_mse"] == pytest.approx(floor, rel=1e-5)  # the file has float32
    assert found["excess"] == pytest.approx(distance / floor, rel=1e-4)


def test_where_only_the_last_shard_shows_that_there_is_no_floor_no_window_has_one(tree):
    """Consecutive windows at one frequency are of two kinds; the noise leaves no doubt which of the two a window is."""
    tree.set(**{"generate.phase": "consecutive", "generate.frequency": {"low": 1.0, "high": 1.0}})
    tree.stage("generate")
    log = run(tree)
    assert log.count("predict 100") == 3  # the network's work is not repeated
    assert log.count("no floor, so floor_mse and excess are null: ") == 1
    assert log.splitlines()[-1].partition(", no floor")[1]
    found = json.loads((tree.path / "metrics/test.json").read_text())
    assert found["floor_windows"] == 0
    assert found["floor_mse"] is found["excess"] is found["floor_numerical_error"] is None
    assert "float32's rounding" in found["floor_missing"]
    estimates = read_windows(tree.path / PREDICTIONS, (*WINDOW_COLUMNS, "prediction", "posterior_mean"))
    assert np.isnan(estimates["posterior_mean"]).all()
    assert found["windows"] == len(estimates["prediction"]) == 300


def test_a_floor_missing_from_the_last_shard_on_gives_the_bytes_of_one_that_was_never_there(tree):
    """All but the column posterior_mean and the figures of the floor are those of an evaluation with a floor."""
    with_floor, whole = evaluate(tree)
    never, late = (fail_at(tree, windows) for windows in (0, 200))
    assert late == never
    metrics, expected = json.loads(never[0]), json.loads(with_floor)
    assert {name for name in expected if metrics[name] != expected[name]} == {
        *(
            "floor_mse",
            "floor_standard_error",
            "floor_windows",
            "floor_z_score",
            "floor_numerical_error",
            "floor_missing",
        ),
        *("excess", "excess_standard_error"),
        *("floor_in_phase_mse", "floor_amplitude_rmse", "floor_phase_rmse_degrees"),
    }
    columns = ("input", "target", "prediction", "least_squares", "hilbert", *IN_PHASE_COLUMNS)
    names = (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS, *IN_PHASE_COLUMNS)
    (tree.path / "whole.parquet").write_bytes(whole)
    expected, found = (read_windows(tree.path / name, names) for name in ("whole.parquet", PREDICTIONS))
    assert all((found[name] == expected[name]).all() for name in columns)
    assert np.isfinite(expected["posterior_mean"]).all()
    assert np.isnan(found["posterior_mean"]).all()


@contextmanager
def failing(windows):
    """Has the floor raise PosteriorError after so many windows."""
    estimate = floor.Floor.estimate

    def fail(self, shard):
        if self._passed == windows:
            raise PosteriorError("the reason")
        return estimate(self, shard)

    floor.Floor.estimate = fail
    yield


def fail_at(tree, windows):
    """Runs the stage with a floor that fails after so many windows; returns the bytes of its outputs."""
    done = run_stage(tree, "evaluate", torment=partial(failing, windows))
    assert done.returncode == 0, done.stderr
    return [(tree.path / name).read_bytes() for name in ("metrics/test.json", PREDICTIONS)]


PEAK = """
import os, runpy, sys
from quadrature.scoring import floor
floor.BUDGET, os._exit = 2**30, sys.exit
try: runpy.run_module("stages.evaluate", run_name="__main__")
finally: print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_splits(make_checkout):
    """Ten times the windows would take 160 MB more if the test split were held with its estimates.

    A window of 100 samples takes the memory of ten of the project's own, at less cost to search, score and estimate.
    """
    tree = make_checkout(parameters={**SMALL, "generate.length": 100, "generate.shard_windows": 3000})
    network = QuadratureNetwork(load_params(Train, tree.path / "params.yaml").model, 100)
    initialize(network, 0)
    save_model(network, tree.path / "models/model.safetensors")
    peaks = []
    for count in (6_000, 60_000):
        tree.set(**{"generate.windows": {"train": count, "validation": 1, "test": count}})
        tree.stage("generate")
        peaks.append(int(tree.run("python", "-c", PEAK).stdout.split()[1]))
        metrics = json.loads((tree.path / "metrics/test.json").read_text())
        assert metrics["windows"] == count
        assert metrics["floor_windows"] > 0
    assert peaks[1] < 1.25 * peaks[0]


@pytest.mark.nightly
def test_nor_does_it_with_millions_of_the_projects_own_windows():
    """Up to a million windows it grows, as docs/performance.md says: a slice and the floor's windows fill up."""
    command = [sys.executable, "-m", "benchmarks.costs.evaluate", "1000000", "4000000"]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    rows = [[float(cell.replace(",", "")) for cell in line.split("|")[1:-1]] for line in printed.splitlines()[2:]]
    assert [row[:2] for row in rows] == [[1e6, 1e6], [1e6, 4e6], [4e6, 1e6]]
    smallest, *larger = (row[2] for row in rows)
    assert max(larger) < 1.1 * smallest
