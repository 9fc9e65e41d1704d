"""Runs that are killed, interrupted or run into each other end, run again, in the bytes of one left in peace."""

import os
import random
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.torture.conftest import CELLS, REPRO
from tests.torture.forks import STAGES

pytestmark = pytest.mark.slow
SHIM = Path(__file__).parent / "shim"


def start(checkout, *command):
    return subprocess.Popen(
        command, cwd=checkout.path, env=checkout.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def at_work(checkout):
    """Returns the processes that run in a checkout."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(checkout.path):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def remaining(checkout, seconds):
    """Returns what still runs in a checkout after so many seconds: nothing as soon as that is so."""
    end = time.monotonic() + seconds
    while (left := at_work(checkout)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def assert_golden(project, checkout):
    """Runs the pipeline again: it ends well, in the golden bytes, and leaves nothing behind."""
    result = checkout.run(*REPRO)
    assert checkout.digests() == project.digests, result.stdout + result.stderr
    assert checkout.run("dvc", "status", "--quiet").returncode == 0
    assert [path for path in checkout.path.rglob("*.tmp") if ".dvc" not in path.parts] == []
    assert remaining(checkout, 1.0) == []


def assert_nothing_half_done_committed(project, checkout):
    """DVC's record of each stage is that of a run to its end, or the one that was there before."""
    whole, found = ((tree.path / "dvc.lock").read_text() for tree in (project.golden, checkout))
    if whole.startswith(found) or not found.endswith("\n"):  # torn, as DVC wrote it: see test_torn.py
        return
    stages = checkout.yaml("dvc.lock")["stages"]
    before, after = (tree.yaml("dvc.lock")["stages"] for tree in (project.fresh, project.golden))
    for name, record in stages.items():
        assert record in (before[name], after[name])


def end_after(process, seconds):
    """Waits for a moment of the run, or its end."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def send(process, number):
    """Sends a signal to a run and all that it started, unless that has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@pytest.mark.times(40)
@pytest.mark.parametrize("cell", CELLS)
def test_a_run_killed_whole(project_of, tally, cell, moment):
    project = project_of(cell)
    checkout, seconds = project.with_work("killed", random.Random(f"{cell} {moment}"))
    with tally.trying("SIGKILL of all, at any time"):
        process = start(checkout, *REPRO)
        end_after(process, moment * seconds)
        send(process, signal.SIGKILL)
        process.communicate()
        assert remaining(checkout, 5.0) == []
        assert_nothing_half_done_committed(project, checkout)
        assert_golden(project, checkout)


@pytest.fixture(scope="module")
def calls_of(project_of, tmp_path_factory):
    """Returns how often DVC, as it runs a stage, or the stage opens, writes, makes safe or renames a file."""
    known = {}

    def get(stage, words):
        if (stage, words) not in known:
            file = tmp_path_factory.mktemp("calls") / "count"
            checkout = project_of("gru").without("counted", stage)
            checkout.run("dvc", "repro", **torment(words), TORMENT_COUNT=str(file))
            known[stage, words] = int(file.read_text())
        return known[stage, words]

    return get


def torment(words, **more):
    return {"PYTHONPATH": str(SHIM), "TORMENT": "open,write,fsync,replace", "TORMENT_IN": words, **more}


@pytest.mark.times(40)
@pytest.mark.parametrize("cell", CELLS)
def test_a_process_killed_where_it_writes(project_of, calls_of, tally, cell, moment):
    project, drawn = project_of(cell), random.Random(f"{cell} {moment}")
    stage = drawn.choice([*STAGES])
    words = drawn.choice([f"stages.{stage}", f"stages.{stage}", "dvc repro"])
    at = drawn.randint(1, calls_of(stage, words))
    checkout = project.without("pierced", stage)
    with tally.trying(f"SIGKILL of {'dvc' if words == 'dvc repro' else 'a stage'} at an open, write, fsync or rename"):
        killed = checkout.run("dvc", "repro", check=False, **torment(words, TORMENT_AT=str(at), TORMENT_BY="SIGKILL"))
        assert f" {at}, of " in killed.stderr, killed.stderr
        assert killed.returncode != 0
        assert remaining(checkout, 10.0) == []
        assert_nothing_half_done_committed(project, checkout)
        records = [file.read_text() for file in checkout.path.glob(".dvc/cache/runs/*/*/*")]
        assert words == "dvc repro" or not any(f"stages.{stage}" in record for record in records)
        assert_golden(project, checkout)


@pytest.mark.times(20)
@pytest.mark.parametrize("cell", CELLS)
def test_a_run_whose_dvc_is_killed_alone(project_of, tally, cell, moment):
    project = project_of(cell)
    checkout, seconds = project.with_work("beheaded", random.Random(f"{cell} {moment}"))
    with tally.trying("SIGKILL of dvc alone, at any time"):
        process = start(checkout, "dvc", "repro")
        end_after(process, moment * seconds)
        process.kill()
        process.wait()
        assert remaining(checkout, 10.0) == []  # torch is imported before a stage looks for its parent
        process.communicate()
        assert_nothing_half_done_committed(project, checkout)
        assert_golden(project, checkout)


@pytest.mark.times(20)
@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGINT"], ["SIGINT", "SIGINT"]], ids="+".join)
def test_a_run_that_is_interrupted(project_of, tally, signals, moment):
    drawn = random.Random(moment)
    project = project_of(drawn.choice(CELLS))
    checkout, seconds = project.with_work("interrupted", drawn)
    with tally.trying(f"{' twice, '.join(dict.fromkeys(signals)) + (' twice' if len(signals) > 1 else '')}"):
        process = start(checkout, *REPRO)
        end_after(process, moment * seconds)
        ended = process.poll() is not None
        for name in signals:
            send(process, getattr(signal, name))
            time.sleep(0.2)
        assert remaining(checkout, 5.0) == []
        log, _ = process.communicate()
        number = getattr(signal, signals[0])
        assert process.returncode == 0 if ended else process.returncode in (-number, 2), log  # make's own
        codes = set(re.findall(r"exited with (-?[0-9]+)", log))
        # Python's own, for a Ctrl-C before it has read a line of ours: "What is not promised" in docs/reliability.md.
        unread = {"1"} if number == signal.SIGINT and "Fatal Python error: init_" in log else set()
        assert codes <= {"75", str(-number)} | unread, log
        assert_nothing_half_done_committed(project, checkout)
        assert_golden(project, checkout)


@pytest.mark.times(50)
def test_two_runs_at_once(project_of, tally, moment):
    drawn = random.Random(moment)
    project = project_of(drawn.choice(CELLS))
    checkout, seconds = project.with_work("twice", drawn)
    with tally.trying("two `make repro` at once"):
        first = start(checkout, *REPRO)
        time.sleep(moment * seconds / 2)
        second = start(checkout, *REPRO)
        logs = [process.communicate(timeout=120)[0] for process in (first, second)]
        for process, log in zip((first, second), logs, strict=True):
            assert process.returncode == 0 or "is busy, it is being blocked by" in log or "acquire lock" in log, log
        assert_golden(project, checkout)


@pytest.mark.times(20)
def test_a_run_beside_an_orphan(project_of, tally, moment):
    drawn = random.Random(moment)
    project = project_of(drawn.choice(CELLS))
    checkout, seconds = project.with_work("orphan", drawn)
    with tally.trying("a run beside an orphaned stage"):
        first = start(checkout, "dvc", "repro")
        end_after(first, moment * seconds)
        first.kill()
        first.wait()
        assert_golden(project, checkout)
        first.communicate()
