"""`python -m quadrature show`: the figures of metrics/test.json in a table, and the next commands, which exist."""

import json
import re
import shlex
import shutil

import pytest

from quadrature.__main__ import COMMANDS
from quadrature.commands.show import HEADER, NEXT
from tests.checkout import PROJECT, Checkout


@pytest.fixture(scope="module")
def tree(finished, tmp_path_factory):
    """The finished checkout, to be changed."""
    tree = Checkout(tmp_path_factory.mktemp("show") / "tree")
    shutil.copytree(finished.path, tree.path, ignore=shutil.ignore_patterns(".dvc", ".git"))
    return tree


def show(tree, **options):
    return tree.run("python", "-m", "quadrature", "show", **options)


@pytest.mark.slow
def test_it_prints_the_runs_figures_and_ends_with_the_next_commands(tree):
    metrics = json.loads((tree.path / "metrics/test.json").read_text())
    printed = show(tree).stdout
    header, _, *rows = printed.splitlines()[3:10]
    assert re.split(r"  +", header.rstrip()) == list(HEADER)
    table = {cells[0]: cells[1:] for cells in (re.split(r"  +", row.rstrip()) for row in rows[:5])}
    names = ("mse", "in_phase_mse", "phase_rmse_degrees", "amplitude_rmse")
    assert table["the network"] == [f"{metrics[name]:.3g}" for name in names]
    assert table["the floor"] == [f"{metrics[f'floor_{name}']:.3g}" for name in names]
    assert table["zero"][2] == "none"
    assert printed.endswith(NEXT)


@pytest.mark.slow
def test_a_run_that_is_not_there_or_was_changed_is_refused(tree):
    metrics = tree.path / "metrics/test.json"
    content = metrics.read_text()
    metrics.write_text(content.replace("1", "2"))
    done = show(tree, check=False)
    assert (done.returncode, done.stdout) == (65, "")
    assert done.stderr.startswith("metrics/test.json is damaged")
    metrics.unlink()
    done = show(tree, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1].split(";")[0]) == (65, "metrics/test.json is missing")
    metrics.write_text(content)


def test_the_next_commands_are_those_of_the_readme():
    """Whose commands are run in a test."""
    readme = (PROJECT / "README.md").read_text()
    lines = dict(line.split(": ", 1) for line in NEXT.strip().splitlines())
    experiment, compare = (lines[name] for name in list(lines)[1:])
    assert experiment in readme
    assert shlex.split(compare)[3] in COMMANDS
    assert compare in readme
    assert lines["The whole run on one page"] in readme
