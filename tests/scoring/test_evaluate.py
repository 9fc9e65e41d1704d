"""The evaluate stage: how much it holds at a time changes no byte, and does not grow with the windows."""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.runtime.params import load_params
from quadrature.scoring import floor, leakage
from quadrature.storage.windows import WINDOW_COLUMNS, Split, read_windows, shard_path, writing
from stages.train import Params as Train
from tests.checkout import PROJECT, SMALL, Checkout
from tests.forks import run_stage


@pytest.fixture
def tree(finished, tmp_path):
    """The finished checkout with windows in many shards, and one of the test split's three in training as well."""
    tree = Checkout(tmp_path / "tree")
    shutil.copytree(finished.path, tree.path, ignore=shutil.ignore_patterns(".dvc", ".git"))
    tree.set(**{"generate.shard_windows": 100})
    tree.stage("generate")
    test, train = (Split(tree.path / "data/windows" / name) for name in ("test", "train"))
    with writing(shard_path(tree.path / "data/windows/train", 7), 7, len(train.sizes)) as file:
        file.write(test.read(1, WINDOW_COLUMNS))
    return tree


@contextmanager
def limits(budget, limit):
    """Has the stage hold no more than so many samples to be searched for, and afford so many operations."""
    floor.BUDGET, leakage.SLICE = budget, limit
    yield


def evaluate(tree, budget=2**36, limit=2**22):
    """Evaluates within limits; returns the bytes of the two outputs."""
    done = run_stage(tree, "evaluate", torment=partial(limits, budget, limit))
    assert done.returncode == 0, done.stderr
    return [(tree.path / name).read_bytes() for name in ("metrics/test.json", "data/predictions.parquet")]


def test_however_few_test_windows_are_held_to_be_searched_for_the_results_are_the_same(tree):
    all_at_once = evaluate(tree)
    assert json.loads(all_at_once[0])["seen_in_training"] == 100 / 300
    assert evaluate(tree, limit=2000) == all_at_once  # two shards, then one
    assert evaluate(tree, limit=1) == all_at_once


@pytest.mark.parametrize("budget", [2**36, 2**26])
def test_the_floor_is_that_of_the_same_rows_in_metrics_and_predictions(tree, budget):
    metrics, _ = evaluate(tree, budget)
    found = json.loads(metrics)
    columns = read_windows(tree.path / "data/predictions.parquet", (*WINDOW_COLUMNS, "prediction", "posterior_mean"))
    known = np.isfinite(columns["posterior_mean"][:, 0])
    assert found["floor_windows"] == known.sum()
    assert (found["floor_windows"] < 300) == (budget < 2**36)
    floor = ((columns["posterior_mean"][known] - columns["target"][known].astype(float)) ** 2).mean()
    error = ((columns["prediction"][known] - columns["target"][known].astype(float)) ** 2).mean()
    assert found["floor_mse"] == pytest.approx(floor, rel=1e-5)  # the file has float32
    assert found["excess"] == pytest.approx(error / floor - 1.0, rel=1e-4)


def test_where_only_the_last_shard_shows_that_there_is_no_floor_no_window_has_one(tree):
    """Consecutive windows at one frequency are one of two: the noise leaves no doubt which."""
    tree.set(**{"generate.phase": "consecutive", "generate.frequency": {"low": 1.0, "high": 1.0}})
    tree.stage("generate")
    found = json.loads(evaluate(tree)[0])
    assert found["floor_windows"] == 0
    assert found["floor_mse"] is found["excess"] is found["floor_numerical_error"] is None
    assert "float32's rounding" in found["floor_missing"]
    estimates = read_windows(tree.path / "data/predictions.parquet", (*WINDOW_COLUMNS, "prediction", "posterior_mean"))
    assert np.isnan(estimates["posterior_mean"]).all()
    assert found["windows"] == len(estimates["prediction"]) == 300


PEAK = """
import os, runpy, sys
from quadrature.scoring import floor
floor.BUDGET, os._exit = 2**30, sys.exit
try: runpy.run_module("stages.evaluate", run_name="__main__")
finally: print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_splits(make_checkout):
    """Ten times the windows would take 160 megabytes more, were the test split's held with their estimates.

    Windows of 100 samples take as much as ten of the project's own, and are found, scored and estimated at less cost.
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
def test_nor_does_it_with_a_million_of_the_projects_own_windows():
    command = [sys.executable, "-m", "benchmarks.costs.evaluate", "100000", "1000000"]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    rows = [[float(cell.replace(",", "")) for cell in line.split("|")[1:-1]] for line in printed.splitlines()[2:]]
    assert [row[:2] for row in rows] == [[1e5, 1e5], [1e5, 1e6], [1e6, 1e5]]
    smallest, *larger = (row[2] for row in rows)
    assert max(larger) < 1.25 * smallest
