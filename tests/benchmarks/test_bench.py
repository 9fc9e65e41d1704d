"""`make bench`, on a tiny size: one network everywhere, medians and ratios as they should be, a miss told as a miss.

The peers that need torch alone run in the environment at hand, the others where .venv-bench is.
"""

import itertools
import json
import math
import statistics
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.frameworks.__main__ import FRAMEWORKS, PEERS_PYTHON, Bench, Settings, rotated
from benchmarks.frameworks.page import LABELS, LOOKS, draw, tabulate
from benchmarks.frameworks.peers.task import read
from benchmarks.frameworks.results import best_cell, better_threads, summarise
from benchmarks.frameworks.search import BATCHES, RATES, SEEDS, read_grid, search, write_grid
from benchmarks.frameworks.tasks import ARTICLE, Cell, Task, make_tree, set_params, tasks
from benchmarks.processes import run
from benchmarks.studies.article import EXPERIMENT
from quadrature.runtime.params import load_params
from stages.train import Params
from tests.checkout import PROJECT
from tests.forked_python.server import variables

HIDDEN, BATCH = 12, 200
HERE = ("ours", "article", "torch")
"""The frameworks that need no other environment."""


def interpreter(name):
    """Returns what runs a framework's script; skips where there is none."""
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
    """Weights by torch's names, and the loss and the parameters of torch's own layers with them."""
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
    """Given the same weights, they have the same loss, and as many parameters.

    But for equinox, which has one bias where the others have two whose sum is all that counts: of two of its gates.
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
    """The frameworks that are measured: two, or all that can be here."""
    if request.param == "two":
        return ["ours", "torch"]
    return list(FRAMEWORKS) if PEERS_PYTHON.exists() else list(HERE)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, measured):
    """The folder of a tiny run's results."""
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


def target_row(turn, framework, seconds, *, reached=True, batch=256, mse=0.003):
    cell = {"batch": batch, "rate": 0.01, "windows": 1024, "epochs": 1} if framework != "ours" else {}
    figures = {"seconds": seconds, "peak_mb": 100.0 * seconds, "mse": mse, "reached": reached, "threads": 2}
    return {"round": turn, "framework": framework, "task": "default", **cell, **figures}


def test_medians_are_of_the_runs_that_reached_the_target_and_ratios_are_of_medians():
    ours, theirs = [4.0, 2.0, 9.0], [10.0, 6.0, 1.0]
    rows = [target_row(turn, "ours", seconds) for turn, seconds in enumerate(ours)]
    rows += [target_row(turn, "torch", seconds, reached=seconds > 1.0) for turn, seconds in enumerate(theirs)]
    summary = summarise([], rows)["target"]["default"]
    assert summary["ours"]["seconds"] == statistics.median(ours)
    assert summary["ours"]["seconds_ratio"] == 1.0
    assert summary["torch"]["seconds"] == 8.0  # the fastest run was a miss
    assert (summary["torch"]["runs"], summary["torch"]["reached"]) == (3, 2)
    assert summary["torch"]["seconds_ratio"] == 8.0 / 4.0
    assert summary["torch"]["peak_mb_ratio"] == 800.0 / 400.0


def test_a_run_that_misses_the_target_is_told_as_a_miss(tmp_path):
    """In the measurements, the summary, the table and the picture; a score that is not a number is a miss as well."""
    (task,) = (task for task in tasks() if task.name == "default")
    measured = Bench(Settings([], {}), PEERS_PYTHON, HERE, tmp_path)
    for name, mses in {"ours": (0.5, 1.0), "torch": (1.01, math.nan), "article": (0.9, 1.01)}.items():
        for turn, mse in enumerate(mses):
            cell = {} if name == "ours" else task.cell(256, 0.01, 0)._asdict()
            figures = {"threads": 2, **cell, "seconds": 4.0, "peak_mb": 100.0, "mse": mse * task.target}
            measured.keep(name, task, turn, figures)
    assert [row["reached"] for row in measured.target] == [True, True, False, False, True, False]
    summary = summarise([], measured.target)
    torch_row = summary["target"]["default"]["torch"]
    assert torch_row["seconds"] is torch_row["seconds_ratio"] is torch_row["peak_mb_ratio"] is None
    machine = {"processor": "one", "cores": 2, "memory_gb": 8}
    about = {
        "machine": machine,
        "date": "today",
        "commit": "none",
        "versions": {"peers": {}},
        "settings": {"rounds": 2},
    }
    page = tabulate({**about, "summary": summary})
    assert "| plain torch loop | missed in 2 of 2 | – |" in page
    assert "| the article's loop | **1.00** (4.0 s; missed in 1 of 2) |" in page
    assert b"<!-- missed -->" in draw({**about, "summary": summary})


def test_a_peer_keeps_the_cell_that_reached_the_target_soonest_in_the_first_round():
    rows = [
        target_row(0, "torch", 1.0, batch=1024, reached=False, mse=0.004),  # sooner, but short of it
        target_row(0, "torch", 5.0, batch=512),
        target_row(0, "torch", 7.0, batch=256),
        target_row(1, "torch", 6.0, batch=512),
        target_row(1, "torch", 0.1, batch=256),
    ]
    assert best_cell(rows, "torch", "default") == Cell(512, 0.01, 1024, 1)
    assert summarise([], rows)["target"]["default"]["torch"]["seconds"] == 5.5
    missed = [target_row(0, "torch", 1.0, batch=batch, reached=False, mse=mse) for batch, mse in ((256, 2), (512, 1))]
    assert best_cell(missed, "torch", "default").batch == 512


def test_speeds_are_medians_at_the_thread_count_that_was_better_in_the_first_round():
    def row(turn, framework, threads, speed):
        named = {"round": turn, "framework": framework, "size": "16x32", "threads": threads}
        return {**named, "windows_per_second": speed}

    rows = [row(0, "torch", 1, 30.0), row(0, "torch", 2, 20.0), row(1, "torch", 1, 40.0), row(2, "torch", 1, 90.0)]
    rows += [row(0, "ours", 1, 10.0), row(0, "ours", 2, 80.0)]
    assert better_threads(rows, "torch", "16x32") == 1
    summary = summarise(rows, [])["throughput"]["16x32"]
    assert summary["torch"]["windows_per_second"] == 40.0
    assert summary["torch"]["windows_per_second_ratio"] == 40.0 / 80.0


def test_each_round_begins_with_another_framework():
    names = list(FRAMEWORKS)
    rounds = [rotated(names, turn) for turn in range(len(names))]
    assert [order[0] for order in rounds] == names
    assert all(sorted(order) == sorted(names) for order in rounds)


def test_the_search_finds_each_batchs_fewest_windows_that_reach_the_target_from_every_seed():
    """On a made-up task, whose mse falls with the windows and is worst from the last seed."""
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
    ]  # the others need more than there is
    for cell in found:
        assert all(score(task, cell, seed) <= 1.0 for seed in SEEDS)
        fewer = task.cell(cell.batch, cell.rate, task.rung(cell) - 1)
        assert not all(score(task, fewer, seed) <= 1.0 for seed in SEEDS)


def test_a_grid_is_read_as_it_was_written(tmp_path):
    cells = {"default": [Cell(256, 0.01, 2048, 2), Cell(512, 0.01, 4096, 1)], "article": [Cell(100, 0.02, 100, 9)]}
    write_grid(cells, tmp_path / "grid.json", date="today")
    assert read_grid(tmp_path / "grid.json") == cells


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
        f"{path}.{key}" if isinstance(value, dict) else path: str(inner)
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


def test_the_issues_sizes_are_measured_five_times():
    settings = Settings([], {})
    assert settings.sizes == ("16x32", "32x256", "32x1024", "64x1024", "128x1024")
    assert settings.rounds == 5


def test_the_readme_quotes_the_committed_results():
    folder = PROJECT / "benchmarks/frameworks"
    results = json.loads((folder / "results.json").read_text())
    assert set(results["summary"]["target"]) == {task.name for task in tasks()}
    assert {*results["summary"]["throughput"]["16x32"]} == set(FRAMEWORKS)
    text = tabulate(results)
    assert (folder / "results.md").read_text() == text
    section = (PROJECT / "README.md").read_text().partition("<!-- bench -->")[2].partition("<!-- end of bench -->")[0]
    assert section.strip() == text.strip()


def test_the_committed_results_hold_what_the_readme_says_of_them():
    """Half the time of the best torch peer, less than any peer's; the fastest from a batch of 256 on."""
    results = json.loads((PROJECT / "benchmarks/frameworks/results.json").read_text())["summary"]
    torch_peers = {"article", "torch", "lightning", "keras-torch"}
    for size, rows in results["throughput"].items():
        rivals = set(FRAMEWORKS) if int(size.partition("x")[2]) >= 256 else torch_peers
        assert max(rows[name]["windows_per_second_ratio"] for name in rivals - {"ours"}) <= 1.0, size
    for task, rows in results["target"].items():
        assert rows["ours"]["reached"] == rows["ours"]["runs"] == 5, task
        assert min(rows[name]["seconds_ratio"] for name in torch_peers) >= 2.0, task
        assert min(rows[name]["seconds_ratio"] for name in FRAMEWORKS if name != "ours") > 1.0, task


def test_every_framework_has_a_label_and_a_look_of_its_own():
    assert set(LABELS) == set(LOOKS) == set(FRAMEWORKS)
    assert len(set(LOOKS.values())) == len(LOOKS)


def test_peers_know_nothing_of_this_project():
    for framework in FRAMEWORKS.values():
        text = (PROJECT / f"benchmarks/frameworks/peers/{framework.module}.py").read_text()
        assert ("import quadrature" in text or "from quadrature" in text) == (framework.module == "ours")
