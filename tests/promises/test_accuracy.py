"""docs/accuracy.md: its commands run as written, and reach the figures that the page states."""

import json
import shlex
import sys

import pandas as pd
import pytest
from dvc.utils.serialize import load_yaml, parse_yaml

from benchmarks.studies import accuracy
from benchmarks.studies.accuracy import PARAMETERS
from benchmarks.studies.experiments import value_at
from quadrature.runtime.params import load_params
from stages import generate, train
from tests.checkout import OWN_PARAMETERS, PROJECT
from tests.forked_python.server import forking
from tests.promises.test_readme import commands

PAGE = "docs/accuracy.md"
MARKS = {
    "noise-free": ("mse", 1e-8),
    "amplitude": ("excess", 0.01),
    "long-window": ("excess", 0.035),
}
"""Experiments by name, each with a figure of metrics/test.json and its upper limit."""


def test_every_command_of_the_page_is_run_here():
    *experiments, last = [shlex.split(command) for command in sorted(commands(PAGE), reverse=True)]
    assert sorted(command[command.index("--name") + 1] for command in experiments) == sorted(MARKS)
    assert last[:3] == [".venv/bin/python", "-m", "benchmarks.studies.accuracy"]


def command_of(name):
    """Returns the command of an experiment as a list of words."""
    (command,) = [command for command in commands(PAGE) if f"--name {name} " in command]
    return shlex.split(command)


@pytest.mark.parametrize("name", MARKS)
def test_an_experiments_command_changes_parameters_to_others_that_are_possible(name, checkout):
    words = command_of(name)
    assert words[:6] == ["dvc", "exp", "run", "--temp", "--name", name]
    assert set(words[6::2]) == {"--set-param"}
    changes = parse_yaml("\n".join(word.replace("=", ": ") for word in words[7::2]), name)
    for path, value in changes.items():
        assert value_at(load_yaml(str(OWN_PARAMETERS)), path) != value
    checkout.set(**changes)
    load_params(generate.Params, checkout.path / "params.yaml")
    load_params(train.Params, checkout.path / "params.yaml")


@pytest.mark.nightly
@pytest.mark.parametrize("name", MARKS)
def test_an_experiment_reaches_its_mark(name, make_checkout):
    checkout = make_checkout(parameters={})
    checkout.run(*command_of(name))
    shown = checkout.run("dvc", "metrics", "diff", "HEAD", name, "--all", "--json").stdout
    test = json.loads(shown)["metrics/test.json"]
    figure, mark = MARKS[name]
    assert test[figure]["new"] <= mark
    assert test["windows"]["new"] == 8192
    assert ("floor_mse" in test) == (name != "noise-free")  # DVC leaves out what is null


@pytest.mark.nightly
def test_a_trial_becomes_a_row_and_a_point(again):
    """By the page's own command, with shrunken parameters."""
    checkout = forking(again)
    (checkout.path / ".venv").symlink_to(sys.prefix)
    (command,) = [command for command in commands(PAGE) if "benchmarks.studies.accuracy" in command]
    words = shlex.split(command)
    name = words[3]
    before = pd.read_csv(PROJECT / "docs/accuracy.csv")
    checkout.run(*words)
    after = pd.read_csv(checkout.path / "docs/accuracy.csv")
    pd.testing.assert_frame_equal(after[:-1], before)
    trial = after.iloc[-1]
    assert (trial["name"], trial["hidden_size"], trial["optimizer"]) == (name, 48, "soap")
    assert (trial["windows"], trial["batch_size"], trial["epochs"]) == (2000, 128, 2)
    test = json.loads(checkout.run("dvc", "metrics", "diff", "HEAD", name, "--all", "--json").stdout)
    assert trial["excess"] == test["metrics/test.json"]["excess"]["new"]
    page = (checkout.path / PAGE).read_text()
    assert f"{100 * trial['excess']:.2f} ± {100 * trial['excess_standard_error']:.2f} %" in page
    assert page.count("| gru 48, analytic |") == 1
    assert (checkout.path / "docs/accuracy.svg").read_text() != (PROJECT / "docs/accuracy.svg").read_text()


def test_the_committed_table_and_picture_are_those_of_the_committed_trials(checkout, monkeypatch):
    before = [(checkout.path / name).read_bytes() for name in (PAGE, "docs/accuracy.svg")]
    monkeypatch.chdir(checkout.path)
    accuracy.main([])
    after = [(checkout.path / name).read_bytes() for name in (PAGE, "docs/accuracy.svg")]
    assert before == after


def test_the_default_reaches_its_mark_over_five_seeds():
    """In the committed trials with the project's own parameters and five seeds. The page quotes their figures."""
    params = load_yaml(str(OWN_PARAMETERS))
    default = pd.read_csv(PROJECT / "docs/accuracy.csv")
    for column, path in PARAMETERS.items():
        if column != "seed":
            default = default[default[column] == value_at(params, path)]
    default = default.sort_values("seed")
    assert list(default["seed"]) == [0, 1, 2, 3, 4]
    assert (default["excess"] <= 0.005).all()
    *others, last = [f"{100 * row.excess:.2f} ± {100 * row.excess_standard_error:.2f}" for row in default.itertuples()]
    assert f"{', '.join(others)} and {last} %" in " ".join((PROJECT / PAGE).read_text().split())
