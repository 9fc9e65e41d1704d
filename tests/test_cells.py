"""docs/cells.md: its commands queue, run and collect what its table says; its page is made of what was collected."""

import re
import shlex
import sys
import time

import numpy as np
import pandas as pd
import pytest

from benchmarks.cells import GRIDS, KINDS, LOOKS, summarize
from tests.checkout import PROJECT
from tests.test_readme import commands

PAGE, TRIALS, STEPS, PICTURE = "docs/cells.md", "docs/cells.csv", "docs/cells_steps.csv", "docs/cells.svg"


def test_the_committed_trials_are_the_documented_grids_with_three_seeds():
    trials = pd.read_csv(PROJECT / TRIALS)
    summary = summarize(trials, pd.read_csv(PROJECT / STEPS))
    assert (summary["milliseconds"] > 0).all()
    assert (summary["seeds"] == 3).all()
    found = set(
        summary[["cell", "hidden_size", "execution", "head", "bidirectional"]].itertuples(index=False, name=None)
    )
    widths = {(cell, width, "sequence", "last", False) for cell in LOOKS for width in (8, 16, 32, 64)}
    kinds = {(cell, 32, *kind) for cell in LOOKS for kind in KINDS}
    assert found == widths | kinds
    assert len(trials) == 3 * len(widths | kinds)
    assert "# 63 experiments" in (PROJECT / PAGE).read_text()
    assert len(trials) == 63


def test_the_summary_is_the_mean_and_the_standard_deviation_over_seeds():
    trials = pd.read_csv(PROJECT / TRIALS)
    some = trials[(trials["cell"] == "gru") & (trials["hidden_size"] == 64)]
    row = summarize(trials, pd.read_csv(PROJECT / STEPS)).query("cell == 'gru' and hidden_size == 64").iloc[0]
    assert row["excess_mean"] == pytest.approx(np.mean(some["excess"]))
    assert row["excess_std"] == pytest.approx(np.std(some["excess"], ddof=1))
    assert row["seconds_mean"] == pytest.approx(np.mean(some["seconds"]))


def test_the_committed_table_and_picture_are_those_of_the_committed_trials(make_checkout):
    checkout = make_checkout()
    before = [(checkout.path / name).read_bytes() for name in (PAGE, PICTURE)]
    (checkout.path / PICTURE).unlink()
    checkout.run("python", "-m", "benchmarks.cells")
    assert before == [(checkout.path / name).read_bytes() for name in (PAGE, PICTURE)]


@pytest.mark.slow
def test_the_pages_snippet_tracks_with_a_model_of_the_pipeline(checkout):
    checkout.set(**{"model.head": "every"})
    checkout.repro()
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", (PROJECT / PAGE).read_text(), re.MULTILINE | re.DOTALL)
    printed = checkout.run("python", "-c", f"{snippet}\nprint(float(cosine))").stdout
    assert abs(float(printed)) < 10.0


@pytest.mark.slow
def test_the_pages_commands_queue_run_and_collect(checkout):
    """With parameters shrunk, on the grid of executions alone, with one seed."""
    (checkout.path / ".venv").symlink_to(sys.prefix)
    script = checkout.path / "benchmarks/cells.py"
    text = script.read_text()
    assert len(GRIDS) == 3
    small = 'GRIDS = {"cells-stepwise": GRIDS["cells-stepwise"]}\nSEEDS = "5"\n\n\ndef queue'
    script.write_text(text.replace("def queue", small, 1))
    checkout.commit()
    queue, start, collect, take_time = (shlex.split(command) for command in commands(PAGE))
    checkout.run(*queue)
    checkout.run(*start)
    waited = time.monotonic()
    while "Queued" in (status := checkout.run("dvc", "queue", "status").stdout) or "Running" in status:
        assert time.monotonic() - waited < 300, status
        time.sleep(4)
    assert status.count("Success") == 3, status
    checkout.run(*collect)
    checkout.run(*take_time)
    trials = pd.read_csv(checkout.path / TRIALS)
    assert list(trials["cell"]) == ["gru", "lstm", "rnn"]
    assert set(trials["execution"]) == {"stepwise"}
    assert set(trials["seed"]) == {5}
    assert list(trials["parameters"]) == [(3 * 32 * 35) + 330, (4 * 32 * 35) + 330, (32 * 35) + 330]
    assert (trials["seconds"] >= 0).all()
    assert (trials["excess"] > 0).all()
    steps = pd.read_csv(checkout.path / STEPS)
    assert len(steps) == 3
    assert (steps["milliseconds"] > 0).all()
    page = (checkout.path / PAGE).read_text()
    for trial in trials.itertuples():
        assert f"| {trial.cell} 32 | last | stepwise | {trial.parameters:,} |" in page
