"""Results of `make bench`: medians, ratios and misses; the committed results, and the pages that quote them."""

import itertools
import json
import math
import statistics

import pytest

from benchmarks.frameworks.__main__ import FRAMEWORKS, PEERS_PYTHON, Bench, Settings
from benchmarks.frameworks.page import LABELS, LOOKS, draw, tabulate
from benchmarks.frameworks.results import best_cell, better_threads, summarise, to_json
from benchmarks.frameworks.tasks import Cell, tasks
from tests.checkout import PROJECT


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
    """In the measurements, the summary, the table and the picture. A score of NaN is a miss, too."""
    (task,) = (task for task in tasks() if task.name == "default")
    measured = Bench(Settings([], {}), PEERS_PYTHON, list(FRAMEWORKS), tmp_path)
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
        target_row(0, "torch", 1.0, batch=1024, reached=False, mse=0.004),  # faster, but it missed the target
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


def test_the_committed_results_are_as_the_bench_writes_them_with_a_measurement_a_line():
    text = (PROJECT / "benchmarks/frameworks/results.json").read_text()
    results = json.loads(text)
    assert text == to_json(results) + "\n"
    lines = [line.strip().rstrip(",") for line in text.splitlines()]
    rows = [*results["throughput"], *results["target"], *itertools.chain(*results["settings"]["cells"].values())]
    assert len(rows) > 150
    assert [json.dumps(row) for row in rows if json.dumps(row) not in lines] == []


@pytest.mark.parametrize(
    "value", [{}, [], {"a": [], "b": {}}, [1, [2, 3]], {"a": {"b": [{"c": None}, 0.1]}}, "é", None]
)
def test_json_of_a_line_an_item_holds_the_same_value(value):
    assert json.loads(to_json(value)) == value


def test_the_page_quotes_the_committed_results():
    folder = PROJECT / "benchmarks/frameworks"
    results = json.loads((folder / "results.json").read_text())
    assert set(results["summary"]["target"]) == {task.name for task in tasks()}
    assert {*results["summary"]["throughput"]["16x32"]} == set(FRAMEWORKS)
    text = tabulate(results)
    assert (folder / "results.md").read_text() == text
    page = (PROJECT / "docs/performance.md").read_text()
    section = page.partition("<!-- bench -->")[2].partition("<!-- end of bench -->")[0]
    assert section.strip() == text.strip()


def test_the_committed_results_hold_what_the_readme_says_of_them():
    """Times to target beside torch and compilers; the highest speed from a batch of 1,024 on, and that of JAX below."""
    measured = json.loads((PROJECT / "benchmarks/frameworks/results.json").read_text())
    results, rounds = measured["summary"], measured["settings"]["rounds"]
    assert rounds >= 3
    torch_peers = {"article", "torch", "lightning", "keras-torch"}
    fastest = {}
    for size, rows in results["throughput"].items():
        fastest[size] = max(rows[name]["windows_per_second_ratio"] for name in {*FRAMEWORKS} - {"ours"})
        assert max(rows[name]["windows_per_second_ratio"] for name in torch_peers) <= 1.0, size
        assert fastest[size] <= 1.0 or int(size.partition("x")[2]) < 1024, size
    least = {}
    for task, rows in results["target"].items():
        assert rows["ours"]["reached"] == rows["ours"]["runs"] == rounds, task
        of_torch, of_all = (
            min(rows[name]["seconds_ratio"] for name in names) for names in (torch_peers, {*rows} - {"ours"})
        )
        least[task] = round(of_torch), round(of_all)
    assert (least["default"], least["given"], least["article"]) == ((8, 4), (6, 3), (2, 2))
    readme = " ".join((PROJECT / "README.md").read_text().split())
    assert "in an eighth of the time of the fastest torch loop and a quarter of that of the fastest compiler." in readme
    assert (
        f"JAX is {fastest['16x32']:.1f} times as fast at batch 32 and {fastest['32x256']:.1f} times at batch 256"
        in readme
    )


def test_every_framework_has_a_label_and_a_look_of_its_own():
    assert set(LABELS) == set(LOOKS) == set(FRAMEWORKS)
    assert len(set(LOOKS.values())) == len(LOOKS)
