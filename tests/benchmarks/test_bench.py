"""`make bench` on a tiny size, its tasks and its search: all frameworks train the same network on the same windows.

Peers that need torch alone run in this environment, the others in .venv-bench if it exists.
"""

import itertools
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from benchmarks.frameworks.__main__ import FRAMEWORKS, PEERS_PYTHON
from benchmarks.frameworks.page import LABELS, draw, tabulate
from benchmarks.frameworks.peers.task import read
from benchmarks.frameworks.search import BATCHES, RATES, SEEDS, read_grid, search, write_grid
from benchmarks.frameworks.tasks import ARTICLE, Cell, Task, give_targets, make_tree, set_params, tasks
from benchmarks.processes import run
from benchmarks.studies.article import EXPERIMENT
from benchmarks.turns import rotated
from quadrature.runtime.params import load_params
from stages.train import Params
from tests.checkout import PROJECT
from tests.forked_python.server import variables

HIDDEN, BATCH = 12, 200
HERE = ("ours", "article", "torch")
"""The frameworks that run in this environment."""


def interpreter(name):
    """Returns the Python that runs a framework's script; skips the test if there is none."""
    if name in HERE:
        return sys.executable
    if not PEERS_PYTHON.exists():
        pytest.skip("no .venv-bench here (`make bench` makes it)")
    return PEERS_PYTHON


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    windows = {"train": 300, "validation": 10, "test": 10}
    return make_tree(tmp_path_factory.mktemp("bench") / "tree", {"generate.windows": windows})


@pytest.fixture(scope="module")
def reference(tree):
    """The loss and the number of parameters of torch's layers, whose weights are saved to weights.npz."""
    torch.manual_seed(5)
    gru, linear = nn.GRU(1, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 10)
    layers = {"gru": gru, "linear": linear}
    weights = {f"{layer}.{name}": value for layer in layers for name, value in layers[layer].state_dict().items()}
    np.savez(tree / "weights.npz", **{name: value.numpy() for name, value in weights.items()})
    inputs, target = map(torch.tensor, read(tree / "data/windows/train", BATCH))
    with torch.no_grad():
        loss = nn.functional.mse_loss(linear(gru(inputs.unsqueeze(-1))[0][:, -1]), target).item()
    return loss, sum(value.numel() for value in weights.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_trains_the_same_network_on_the_same_windows(name, tree, reference):
    """With the same weights they have the same loss and the same number of parameters.

    equinox has fewer: for two of the gates it has one bias, where the others have two that are only ever added.
    """
    framework = FRAMEWORKS[name]
    command = [interpreter(name), "-m", f"benchmarks.frameworks.peers.{framework.module}", "loss"]
    command += ["--train", "data/windows/train", "--hidden", str(HIDDEN), "--batch", str(BATCH)]
    env = {"KERAS_BACKEND": framework.backend, **(variables() if name in HERE else {})}
    answer = run([*command, "--weights", "weights.npz", "--threads", "1"], tree, **env).answer
    loss, parameters = reference
    assert answer["loss"] == pytest.approx(loss, abs=1e-6)
    assert answer["parameters"] == parameters - (2 * HIDDEN if name == "equinox" else 0)


@pytest.fixture(scope="module", params=["two", pytest.param("all", marks=pytest.mark.nightly)])
def measured(request):
    """The frameworks that are measured: two, or all that can run here."""
    if request.param == "two":
        return ["ours", "torch"]
    return list(FRAMEWORKS) if PEERS_PYTHON.exists() else list(HERE)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, measured):
    """The folder with the results of a tiny run."""
    output = tmp_path_factory.mktemp("results")
    python = PEERS_PYTHON if PEERS_PYTHON.exists() else sys.executable
    command = [sys.executable, "-m", "benchmarks.frameworks", "--tiny", "--python", python, "--output", output]
    command += ["--frameworks", *measured]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.nightly
@pytest.mark.slow
def test_the_bench_measures_every_framework_at_every_size_and_task(bench, measured):
    results = json.loads((bench / "results.json").read_text())
    assert {"machine", "date", "commit", "versions", "settings"} <= set(results)
    assert {(row["framework"], row["size"]) for row in results["throughput"]} == {
        (name, size) for name in measured for size in ("4x32", "8x64")
    }
    assert all(row["windows_per_second"] > 0 for row in results["throughput"])
    assert {(row["framework"], row["task"]) for row in results["target"]} == {(name, "default") for name in measured}
    assert all(row["reached"] for row in results["target"])
    assert all(row["seconds"] > 0.5 and row["peak_mb"] > 50 for row in results["target"])


@pytest.mark.nightly
@pytest.mark.slow
def test_the_table_and_the_picture_are_made_of_the_results(bench, measured):
    results = json.loads((bench / "results.json").read_text())
    assert (bench / "results.md").read_text() == tabulate(results)
    assert (bench / "results.svg").read_bytes() == draw(results)
    assert "| this project | **1.00** (" in tabulate(results)
    assert all(f"| {LABELS[name]} |" in tabulate(results) for name in measured)


def test_each_round_begins_with_another_framework():
    names = list(FRAMEWORKS)
    rounds = [rotated(names, turn) for turn in range(len(names))]
    assert [order[0] for order in rounds] == names
    assert all(sorted(order) == sorted(names) for order in rounds)


def test_the_search_finds_each_batchs_fewest_windows_that_reach_the_target_from_every_seed():
    """On an invented task, whose mse falls with the number of windows and is worst for the last seed."""
    ladder = tuple(range(1024, 40 * 1024, 1024))
    task = Task("made-up", "", 4, "", 1.0, 16 * 1024, {}, {}, ladder)
    needed = dict(zip(itertools.product(BATCHES, RATES), (24, 10, 17, 5, 6, 31, 60, 50, 45), strict=True))

    def score(_task, cell, seed):
        wanted = 1024 * (needed[cell.batch, cell.rate] + (1 if seed == SEEDS[-1] else 0))
        return wanted / (cell.windows * cell.epochs)

    found = search([task], score)["made-up"]
    assert [(cell.batch, cell.rate) for cell in found] == [
        (256, RATES[1]),
        (512, RATES[0]),
    ]  # the others need more windows than there are
    for cell in found:
        assert all(score(task, cell, seed) <= 1.0 for seed in SEEDS)
        fewer = task.cell(cell.batch, cell.rate, task.rung(cell) - 1)
        assert not all(score(task, fewer, seed) <= 1.0 for seed in SEEDS)


def test_a_grid_is_read_as_it_was_written(tmp_path):
    cells = {"default": [Cell(256, 0.01, 2048, 2), Cell(512, 0.01, 4096, 1)], "article": [Cell(100, 0.02, 100, 9)]}
    write_grid(cells, tmp_path / "grid.json", date="today")
    assert read_grid(tmp_path / "grid.json") == cells
    again = {"article": [Cell(100, 0.04, 100, 7)]}
    write_grid(again, tmp_path / "grid.json", date="tomorrow")
    assert read_grid(tmp_path / "grid.json") == {**cells, **again}


@pytest.mark.slow
def test_given_targets_are_the_posterior_means(tmp_path):
    windows = {"train": 300, "validation": 10, "test": 10}
    tree = make_tree(tmp_path / "tree", {"generate.windows": windows, "targets.kind": "posterior_mean"})
    before, clean = read(tree / "data/windows/train")
    means = pq.read_table(tree / "data/targets/train")["target"].combine_chunks().flatten().to_numpy().reshape(-1, 10)
    give_targets(tree)
    inputs, target = read(tree / "data/windows/train")
    assert np.array_equal(inputs, before)
    assert np.array_equal(target, means)
    assert 1e-4 < np.square(target - clean).mean() < 1e-2  # the floor's size


def test_every_rung_of_a_ladder_is_whole_batches_of_the_tasks_windows():
    for task in tasks():
        for rung in range(len(task.passes)):
            for batch in BATCHES:
                cell = task.cell(batch, 0.01, rung)
                assert cell.windows % cell.batch == 0
                assert cell.windows <= task.windows
                assert task.rung(cell) == rung
                assert abs(cell.windows * cell.epochs - task.passes[rung]) <= cell.batch * cell.epochs


def test_the_articles_windows_are_those_of_make_article():
    flat = {
        f"{path}.{key}" if isinstance(value, dict) else path: "null" if inner is None else str(inner)
        for path, value in ARTICLE.items()
        for key, inner in (value.items() if isinstance(value, dict) else [("", value)])
    }
    assert flat == {name: value for name, value in EXPERIMENT.items() if name.startswith("generate.")}


def test_what_ours_is_trained_with_are_parameters_of_the_stage(tmp_path):
    for task in tasks():
        set_params(tmp_path, {**task.changes, **task.ours})
        params = load_params(Params, tmp_path / "params.yaml")
        assert params.model.hidden_size == task.hidden
        assert params.train_windows <= task.windows


def test_peers_know_nothing_of_this_project():
    for framework in FRAMEWORKS.values():
        text = (PROJECT / f"benchmarks/frameworks/peers/{framework.module}.py").read_text()
        assert ("import quadrature" in text or "from quadrature" in text) == (framework.module == "ours")
