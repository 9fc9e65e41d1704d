"""The evaluate stage: how much it holds at a time changes no byte, and does not grow with the windows."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from quadrature.windows import WINDOW_COLUMNS, Split, read_windows, shard_path, writing
from tests.checkout import PROJECT

RUN = """
import runpy
from quadrature import floor, leakage
floor.BUDGET, leakage.SLICE = {budget}, {limit}
runpy.run_module("stages.evaluate", run_name="__main__")
"""


@pytest.fixture
def tree(finished, tmp_path):
    """The finished checkout with windows in many shards, and one of the test split's three in training as well."""
    folder = tmp_path / "tree"
    shutil.copytree(finished.path, folder, ignore=shutil.ignore_patterns(".dvc", ".git"))
    params = folder / "params.yaml"
    params.write_text(re.sub("shard_windows: [0-9]+", "shard_windows: 100", params.read_text()))
    command = [sys.executable, "-m", "stages.generate"]
    subprocess.run(command, cwd=folder, env=finished.env, capture_output=True, check=True)
    test, train = (Split(folder / "data/windows" / name) for name in ("test", "train"))
    with writing(shard_path(folder / "data/windows/train", 7), 7, len(train.sizes)) as file:
        file.write(test.read(1, WINDOW_COLUMNS))
    return folder


def evaluate(finished, tree, budget=2**36, limit=2**22):
    """Evaluates within limits; returns the bytes of the two outputs."""
    command = [sys.executable, "-c", RUN.format(budget=budget, limit=limit)]
    done = subprocess.run(command, cwd=tree, env=finished.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [(tree / name).read_bytes() for name in ("metrics/test.json", "data/predictions.parquet")]


def test_however_few_test_windows_are_held_to_be_searched_for_the_results_are_the_same(finished, tree):
    all_at_once = evaluate(finished, tree)
    assert json.loads(all_at_once[0])["seen_in_training"] == 100 / 300
    assert evaluate(finished, tree, limit=2000) == all_at_once  # two shards, then one
    assert evaluate(finished, tree, limit=1) == all_at_once


@pytest.mark.parametrize("budget", [2**36, 2**26])
def test_the_floor_is_that_of_the_same_rows_in_metrics_and_predictions(finished, tree, budget):
    metrics, _ = evaluate(finished, tree, budget)
    found = json.loads(metrics)
    columns = read_windows(tree / "data/predictions.parquet", (*WINDOW_COLUMNS, "prediction", "posterior_mean"))
    known = np.isfinite(columns["posterior_mean"][:, 0])
    assert found["floor_windows"] == known.sum()
    assert (found["floor_windows"] < 300) == (budget < 2**36)
    floor = ((columns["posterior_mean"][known] - columns["target"][known].astype(float)) ** 2).mean()
    error = ((columns["prediction"][known] - columns["target"][known].astype(float)) ** 2).mean()
    assert found["floor_mse"] == pytest.approx(floor, rel=1e-5)  # the file has float32
    assert found["excess"] == pytest.approx(error / floor - 1.0, rel=1e-4)


def test_where_only_the_last_shard_shows_that_there_is_no_floor_no_window_has_one(finished, tree):
    """Consecutive windows at one frequency are one of two: the noise leaves no doubt which."""
    params = tree / "params.yaml"
    text = re.sub("phase: [a-z]+", "phase: consecutive", params.read_text())
    params.write_text(re.sub(r"(frequency:\s*)(\{[^}]*\}|low: \S+\s+high: \S+)", r"\1{low: 1.0, high: 1.0}", text))
    command = [sys.executable, "-m", "stages.generate"]
    subprocess.run(command, cwd=tree, env=finished.env, capture_output=True, check=True)
    found = json.loads(evaluate(finished, tree)[0])
    assert found["floor_windows"] == 0
    assert found["floor_mse"] is found["excess"] is found["floor_numerical_error"] is None
    assert "float32's rounding" in found["floor_missing"]
    estimates = read_windows(tree / "data/predictions.parquet", (*WINDOW_COLUMNS, "prediction", "posterior_mean"))
    assert np.isnan(estimates["posterior_mean"]).all()
    assert found["windows"] == len(estimates["prediction"]) == 300


@pytest.mark.slow
def test_memory_does_not_grow_with_either_split():
    """Ten times the windows would take 260 megabytes more, were the test split's held with their estimates."""
    command = [sys.executable, "-m", "benchmarks.evaluate", "100000", "1000000"]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    rows = [[float(cell.replace(",", "")) for cell in line.split("|")[1:-1]] for line in printed.splitlines()[2:]]
    assert [row[:2] for row in rows] == [[1e5, 1e5], [1e5, 1e6], [1e6, 1e5]]
    smallest, *larger = (row[2] for row in rows)
    assert max(larger) < 1.25 * smallest
