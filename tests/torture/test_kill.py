"""Runs that are killed and started again end in the golden bytes."""

import functools
import random
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.forks import STAGES, run_stage
from tests.processes import rest_of
from tests.torture.conftest import REPRO
from tests.torture.runs import assert_golden, assert_nothing_half_done_committed, end_after, remaining, send, start
from tests.torture.shim.sitecustomize import Torment

pytestmark = pytest.mark.slow
SHIM = Path(__file__).parent / "shim"
CALLS = "open,write,fsync,replace"


def kill_after(seconds, project, checkout, tally):
    """Kills a run and all its processes after some seconds, and runs it again."""
    with tally.trying("SIGKILL of all, at any time"):
        process = start(checkout, *REPRO)
        end_after(process, seconds)
        send(process, signal.SIGKILL)
        rest_of(process)
        assert remaining(checkout, 5.0) == []
        assert_nothing_half_done_committed(project, checkout)
        assert_golden(project, checkout)


@pytest.mark.times(30)
def test_a_run_of_all_stages_killed_whole(any_project, tally, moment):
    project = any_project(random.Random(moment))
    kill_after(moment * project.seconds, project, project.copy("killed"), tally)


@pytest.mark.times(90)
def test_a_run_killed_whole(any_project, tally, moment):
    drawn = random.Random(moment)
    project = any_project(drawn)
    checkout, seconds = project.with_work("killed", drawn)
    kill_after(moment * seconds, project, checkout, tally)


@contextmanager
def counting(file):
    """Writes to a file how many calls a stage makes at which it may be killed."""
    counted = Torment(CALLS.split(","), 0, "")
    counted.install()
    yield
    file.write_text(str(counted.seen))


@pytest.fixture(scope="module")
def calls_of(project_of, tmp_path_factory):
    """Returns how often DVC, running a stage, or the stage itself opens, writes, syncs or renames a file."""

    @functools.cache
    def get(stage, words):
        file = tmp_path_factory.mktemp("calls") / "count"
        checkout = project_of("gru").without("counted", stage)
        if words == "dvc repro":
            checkout.run("dvc", "repro", **torment(words), TORMENT_COUNT=str(file))
        else:
            assert run_stage(checkout, stage, torment=functools.partial(counting, file)).returncode == 0
        return int(file.read_text())

    return get


def torment(words, **more):
    return {"PYTHONPATH": str(SHIM), "TORMENT": CALLS, "TORMENT_IN": words, **more}


def pierced(project, calls_of, drawn, stage, words):
    """Returns a checkout in which DVC, or the stage that it ran, was killed at one of its calls."""
    at = drawn.randint(1, calls_of(stage, words))
    checkout = project.without("pierced", stage)
    killed = checkout.run("dvc", "repro", check=False, **torment(words, TORMENT_AT=str(at), TORMENT_BY="SIGKILL"))
    assert f" {at}, of " in killed.stderr, killed.stderr
    assert killed.returncode != 0
    assert remaining(checkout, 10.0) == []
    assert_nothing_half_done_committed(project, checkout)
    return checkout


@pytest.mark.times(80)
def test_a_stage_killed_where_it_writes(any_project, calls_of, tally, moment):
    drawn = random.Random(f"{moment}")
    project, stage = any_project(drawn), drawn.choice([*STAGES])
    with tally.trying("SIGKILL of a stage at an open, write, fsync or rename"):
        checkout = pierced(project, calls_of, drawn, stage, f"stages.{stage}")
        records = [file.read_text() for file in checkout.path.glob(".dvc/cache/runs/*/*/*")]
        assert not any(f"stages.{stage}" in record for record in records)
        assert_golden(project, checkout)


@pytest.mark.times(40)
def test_dvc_killed_where_it_writes(any_project, calls_of, tally, moment):
    drawn = random.Random(f"{moment}")
    project, stage = any_project(drawn), drawn.choice([*STAGES])
    with tally.trying("SIGKILL of dvc at an open, write, fsync or rename"):
        checkout = pierced(project, calls_of, drawn, stage, "dvc repro")
        assert_golden(project, checkout)


@pytest.mark.times(60)
def test_a_run_whose_dvc_is_killed_alone(any_project, tally, moment):
    drawn = random.Random(moment)
    project = any_project(drawn)
    checkout, seconds = project.with_work("beheaded", drawn)
    with tally.trying("SIGKILL of dvc alone, at any time"):
        process = start(checkout, "dvc", "repro")
        end_after(process, moment * seconds)
        process.kill()
        process.wait()
        assert remaining(checkout, 10.0) == []  # torch is imported before a stage looks for its parent
        rest_of(process)
        assert_nothing_half_done_committed(project, checkout)
        assert_golden(project, checkout)
