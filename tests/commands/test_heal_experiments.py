"""After real kills of `dvc exp run` and of DVC's queue, heal restores the queue and says how to restore the rest."""

import argparse
import re
import shlex
import time
from functools import partial
from pathlib import Path

import pytest
from dvc.repo import Repo

from quadrature.commands.heal import heal, main
from quadrature.experiments.abandoned import advise
from tests.checkout import git
from tests.forked_python.server import forking
from tests.processes import rest_of
from tests.torture.runs import at_work, remaining, start

KILLED = "a killed `dvc exp run` left "
DETACHED = f"{KILLED}HEAD detached, and its parameters in the files: `git switch main` "


@pytest.fixture
def project(again, monkeypatch):
    """A finished project with edits that are in no commit, one of them staged."""
    again.enter = partial(monkeypatch.chdir, again.path)  # after the kills of all that work there
    (again.path / "README.md").write_text("edited\n")
    (again.path / "SECURITY.md").write_text("edited and staged\n")
    git("add", "SECURITY.md", cwd=again.path)
    again.edits = git("diff", "HEAD", cwd=again.path)
    return again


def wait_for(happened, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def killed_when(checkout, happened, *command):
    """Starts a command, and kills it and all that it started as soon as something has happened."""
    process = start(checkout, *command)
    wait_for(happened)
    for each in at_work(checkout):
        each.kill()
    rest_of(process)
    assert remaining(checkout, 5.0) == []
    checkout.enter()


def follow(checkout, advice):
    """Runs the commands that lines of advice name, except the one that was killed."""
    for command in re.findall("`((?:git|rm) [^`]+)`", " ".join(advice)):
        checkout.run(*shlex.split(command))


def assert_restored(project):
    assert git("symbolic-ref", "HEAD", cwd=project.path) == "refs/heads/main\n"
    assert git("diff", "HEAD", cwd=project.path) == project.edits
    assert [*advise()] == []


@pytest.mark.parametrize("where", ["--temp", pytest.param("--queue", marks=pytest.mark.nightly)])
def test_what_a_kill_while_dvc_prepares_an_experiment_left_can_be_restored_as_told(project, where, caplog):
    head, parameters = project.path / ".git/HEAD", project.path / "params.yaml"

    def prepared():
        return not head.read_text().startswith("ref:") and "hidden_size: 9" in parameters.read_text()

    killed_when(project, prepared, "dvc", "exp", "run", where, "--set-param", "model.hidden_size=9")
    advice = [*advise()]
    assert any(line.startswith(DETACHED) for line in advice)
    assert advice[-1].startswith(f"{KILLED}your uncommitted edits in git's stash: ")
    assert re.search("--index [0-9a-f]{40}`$", advice[-1])  # seven digits would be the number of an entry
    with caplog.at_level("INFO"), pytest.raises(SystemExit) as ended:
        main(argparse.Namespace(quiet=True))
    assert ended.value.code == 75
    assert caplog.messages == [".dvc/tmp/exps/rwlock named only dead processes; removed", *advice]
    follow(project, advice)
    assert_restored(project)
    assert "SECURITY.md" in git("diff", "--cached", "--name-only", cwd=project.path)


def test_a_kill_of_an_experiment_in_the_working_tree_leaves_head_detached_and_edits_in_the_files(project):
    running = project.path / ".dvc/tmp/exps/run/workspace/workspace.json"
    killed_when(project, running.exists, "dvc", "exp", "run", "--set-param", "model.hidden_size=9")
    advice = [*advise()]
    assert any(line.startswith(DETACHED) for line in advice)
    follow(project, advice)
    assert (project.path / "README.md").read_text() == "edited\n"
    git("restore", "params.yaml", cwd=project.path)
    assert_restored(project)


def test_an_experiment_that_a_killed_dvc_prepared_and_did_not_begin_is_told(project):
    project.enter()
    with Repo() as repo:
        repo.experiments.queue_one(repo.experiments.workspace_queue, params={"params.yaml": ["model.hidden_size=9"]})
    advice = [*advise()]
    assert advice[0].startswith(f"{KILLED}an experiment that the next `dvc exp run` runs, too; ")
    follow(project, advice)
    assert_restored(project)


QUEUE = Path(".dvc/tmp/exps/celery/broker")


def begun(checkout):
    return any(checkout.path.glob(".dvc/tmp/exps/run/*/*.json"))


def training(checkout):
    return any("stages.train" in process.cmdline() for process in at_work(checkout))


@pytest.mark.parametrize("happened", [begun, pytest.param(training, marks=pytest.mark.nightly)])
def test_experiments_that_were_killed_in_the_queue_are_queued_again(project, happened):
    """The nightly one runs them to their end: `dvc exp run --run-all` waits for ever for one that was killed."""
    changes = ("--set-param", "model.hidden_size=9", "--set-param", "train.seed=1,2")
    project.run("dvc", "exp", "run", "--queue", "--name", "sweep", *changes)
    killed_when(project, partial(happened, project), "dvc", "exp", "run", "--run-all")
    torn = Path(QUEUE, "in/1.celery.msg")
    torn.write_bytes(b'{"body": "W1t7')
    lines = [line for line in heal() if "queue" in line]
    assert lines == [
        f"{torn} was torn; removed: queue its experiment again",
        "the experiment sweep-1 was killed in the queue; queued again, `dvc exp run --run-all` runs it",
    ]
    with Repo() as repo:
        queue = repo.experiments.celery_queue
        assert [entry.name for entry in queue.iter_queued()] == ["sweep-1", "sweep-2"]
        assert [*queue.iter_active()] == []
        assert {entry.name for entry in queue.stash.stash_revs.values()} == {"sweep-1", "sweep-2"}
    assert_restored(project)
    if happened is training:
        forking(project).run("timeout", "300", "dvc", "exp", "run", "--run-all")
        done = git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps/*/*/sweep-*", cwd=project.path)
        assert done.split() == ["sweep-1", "sweep-2"]
        assert heal() == []
