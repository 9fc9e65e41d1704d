"""docs/cells.md: its commands queue, run and collect the trials of its table; the page is made from these trials."""

import re
import shlex
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks.studies import cells
from benchmarks.studies.cells import GRIDS, KINDS, LOOKS, summarize
from tests.checkout import PROJECT
from tests.forked_python.server import forking
from tests.promises.test_experiments import wait_for_queue
from tests.promises.test_readme import commands

PAGE, TRIALS, STEPS, PICTURE = "docs/cells.md", "docs/cells.csv", "docs/cells_steps.csv", "docs/cells.svg"


def test_the_committed_trials_are_the_documented_grids_with_two_seeds():
    trials = pd.read_csv(PROJECT / TRIALS)
    summary = summarize(trials, pd.read_csv(PROJECT / STEPS))
    assert (summary["milliseconds"] > 0).all()
    assert (summary["seeds"] == 2).all()
    found = set(summary[["cell", "hidden_size", "head", "bidirectional"]].itertuples(index=False, name=None))
    widths = {(cell, width, "last", False) for cell in LOOKS for width in (8, 16, 32, 64)}
    kinds = {(cell, 32, *kind) for cell in LOOKS for kind in KINDS}
    assert found == widths | kinds
    assert len(trials) == 2 * len(widths | kinds)
    assert "# 36 experiments" in (PROJECT / PAGE).read_text()
    assert len(trials) == 36


def test_the_summary_is_the_mean_and_the_standard_deviation_over_seeds():
    trials = pd.read_csv(PROJECT / TRIALS)
    some = trials[(trials["cell"] == "gru") & (trials["hidden_size"] == 64)]
    row = summarize(trials, pd.read_csv(PROJECT / STEPS)).query("cell == 'gru' and hidden_size == 64").iloc[0]
    assert row["excess_mean"] == pytest.approx(np.mean(some["excess"]))
    assert row["excess_std"] == pytest.approx(np.std(some["excess"], ddof=1))


def test_the_committed_table_and_picture_are_those_of_the_committed_trials(checkout, monkeypatch):
    before = [(checkout.path / name).read_bytes() for name in (PAGE, PICTURE)]
    (checkout.path / PICTURE).unlink()
    monkeypatch.chdir(checkout.path)
    cells.main([])
    assert before == [(checkout.path / name).read_bytes() for name in (PAGE, PICTURE)]


def test_the_pages_snippet_tracks_with_a_model_of_the_pipeline(checkout, monkeypatch):
    checkout.set(**{"model.head": "every"})
    for stage in ("generate", "targets", "train"):
        checkout.stage(stage)
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", (PROJECT / PAGE).read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(checkout.path)
    names = {}
    exec(snippet, names)  # noqa: S102
    assert all(abs(float(names[component])) < 10.0 for component in ("in_phase", "quadrature"))


@pytest.mark.nightly
def test_the_pages_commands_queue_run_and_collect(checkout):
    """With shrunken parameters, the smallest networks alone and one seed."""
    (forking(checkout).path / ".venv").symlink_to(sys.prefix)
    script = checkout.path / "benchmarks/studies/cells.py"
    text = script.read_text()
    assert len(GRIDS) == 2
    small = 'GRIDS = {"cells-widths": {"model.hidden_size": "8"}}\nSEEDS = "5"\n'
    script.write_text(text.replace("def queue", f"{small}\n\ndef queue", 1))
    checkout.commit()
    queue, start, collect, take_time = (shlex.split(command) for command in commands(PAGE))
    checkout.run(*queue)
    checkout.run(*start)
    assert wait_for_queue(checkout, "cells-widths", 3) == {"Success": 3}
    checkout.run(*collect)
    checkout.run(*take_time)
    trials = pd.read_csv(checkout.path / TRIALS)
    tried = ["gru", "lstm", "rnn"]
    assert list(trials["cell"]) == tried
    assert set(trials["hidden_size"]) == {8}
    assert set(trials["seed"]) == {5}
    gates = {"gru": 3, "lstm": 4, "rnn": 1}
    assert list(trials["parameters"]) == [gates[cell] * 8 * 11 + 90 for cell in tried]
    assert (trials["excess"] > 0).all()
    steps = pd.read_csv(checkout.path / STEPS)
    assert len(steps) == len(tried)
    assert (steps["milliseconds"] > 0).all()
    page = (checkout.path / PAGE).read_text()
    for trial in trials.itertuples():
        assert f"| {trial.cell} 8 | last | {trial.parameters:,} |" in page
