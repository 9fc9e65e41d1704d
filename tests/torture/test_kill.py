"""Runs that are killed, interrupted or run into each other end, run again, in the bytes of one left in peace."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.torture.conftest import CELLS, REPRO

pytestmark = pytest.mark.slow
SECONDS = 12.0
"""About as long as an undisturbed run takes."""


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


def all_gone(checkout, seconds):
    """Returns whether nothing runs in a checkout any more, or soon."""
    end = time.monotonic() + seconds
    while at_work(checkout):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def assert_golden(project, checkout):
    """Runs the pipeline again: it ends well, in the golden bytes, and leaves nothing behind."""
    result = checkout.run(*REPRO)
    assert checkout.digests() == project.digests, result.stdout + result.stderr
    assert checkout.run("dvc", "status", "--quiet").returncode == 0
    assert [path for path in checkout.path.rglob("*.tmp") if ".dvc" not in path.parts] == []
    assert all_gone(checkout, 1.0)


def end_after(process, moment):
    """Waits for a moment of the run, or its end."""
    try:
        process.wait(moment * SECONDS)
    except subprocess.TimeoutExpired:
        return
    finally:
        process.stdout.close()


def send(process, number):
    """Sends a signal to a run and all that it started, unless that has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@pytest.mark.times(40)
@pytest.mark.parametrize("cell", CELLS)
def test_a_run_killed_whole(project_of, tally, cell, moment):
    project = project_of(cell)
    checkout = project.copy("killed")
    with tally.trying("SIGKILL of all, at any time"):
        process = start(checkout, *REPRO)
        end_after(process, moment)
        send(process, signal.SIGKILL)
        process.wait()
        assert all_gone(checkout, 5.0)
        assert_golden(project, checkout)


@pytest.mark.times(20)
@pytest.mark.parametrize("cell", CELLS)
def test_a_run_whose_dvc_is_killed_alone(project_of, tally, cell, moment):
    project = project_of(cell)
    checkout = project.copy("beheaded")
    with tally.trying("SIGKILL of dvc alone, at any time"):
        process = start(checkout, "dvc", "repro")
        end_after(process, moment)
        process.kill()
        process.wait()
        assert all_gone(checkout, 10.0)  # torch is imported before a stage looks for its parent
        assert_golden(project, checkout)


@pytest.mark.times(20)
@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGINT"], ["SIGINT", "SIGINT"]], ids="+".join)
def test_a_run_that_is_interrupted(project_of, tally, signals, moment):
    project = project_of(CELLS[round(moment * 1e6) % 3])
    checkout = project.copy("interrupted")
    with tally.trying(f"{' twice, '.join(dict.fromkeys(signals)) + (' twice' if len(signals) > 1 else '')}"):
        process = start(checkout, *REPRO)
        end_after(process, moment)
        for name in signals:
            send(process, getattr(signal, name))
            time.sleep(0.2)
        assert all_gone(checkout, 5.0)
        process.wait()
        assert_golden(project, checkout)


@pytest.mark.times(50)
def test_two_runs_at_once(project_of, tally, moment):
    project = project_of(CELLS[round(moment * 1e6) % 3])
    checkout = project.copy("twice")
    with tally.trying("two `make repro` at once"):
        first = start(checkout, *REPRO)
        time.sleep(moment * SECONDS / 2)
        second = start(checkout, *REPRO)
        logs = [process.communicate(timeout=120)[0] for process in (first, second)]
        for process, log in zip((first, second), logs, strict=True):
            assert process.returncode == 0 or "is busy, it is being blocked by" in log or "acquire lock" in log, log
        assert_golden(project, checkout)


@pytest.mark.times(20)
def test_a_run_beside_an_orphan(project_of, tally, moment):
    project = project_of(CELLS[round(moment * 1e6) % 3])
    checkout = project.copy("orphan")
    with tally.trying("a run beside an orphaned stage"):
        first = start(checkout, "dvc", "repro")
        end_after(first, moment)
        first.kill()
        first.wait()
        assert_golden(project, checkout)
