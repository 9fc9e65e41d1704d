"""Runs that are interrupted, or meet another run, end in the golden bytes."""

import random
import re
import signal
import time
from functools import partial

import pytest

from tests.processes import rest_of
from tests.torture.conftest import REPRO
from tests.torture.runs import (
    assert_golden,
    assert_nothing_half_done_committed,
    end_after,
    remaining,
    send,
    start,
    status,
)

pytestmark = pytest.mark.slow


@pytest.mark.times(20)
@pytest.mark.parametrize(
    "what",
    [
        pytest.param("SIGTERM", marks=pytest.mark.nightly),
        "SIGTERM of make alone",
        pytest.param("SIGHUP", marks=pytest.mark.nightly),
        "SIGINT",
        "SIGINT twice",
    ],
)
def test_a_run_that_is_interrupted(any_project, tally, what, moment):
    drawn = random.Random(f"{what} {moment}")
    project = any_project(drawn)
    checkout, seconds = project.with_work("interrupted", drawn)
    number = getattr(signal, what.split()[0])
    with tally.trying(what):
        process = start(checkout, *REPRO)
        end_after(process, moment * seconds)
        for _ in range(2 if what.endswith("twice") else 1):
            (process.send_signal if what.endswith("alone") else partial(send, process))(number)
            time.sleep(0.2)
        # Without a signal of its own, a stage looks for its parent, once torch is imported.
        assert remaining(checkout, 10.0 if what.endswith("alone") else 5.0) == []
        log, _ = rest_of(process)
        if process.returncode == 0:  # it had just finished
            assert status(checkout) == {}, log
        else:
            assert process.returncode in (-number, 2), log  # make's own code
        codes = set(re.findall(r"exited with (-?[0-9]+)", log))
        # Python's own code for a Ctrl-C while it starts: see "Limits" in docs/reliability.md.
        unread = {"1"} if number == signal.SIGINT and "Fatal Python error: init_" in log else set()
        assert codes <= {"75", str(-number)} | unread, log
        assert_nothing_half_done_committed(project, checkout)
        assert_golden(project, checkout)


@pytest.mark.times(50)
def test_two_runs_at_once(any_project, tally, moment):
    drawn = random.Random(moment)
    project = any_project(drawn)
    checkout, seconds = project.with_work("twice", drawn)
    with tally.trying("two `make repro` at once"):
        first = start(checkout, *REPRO)
        time.sleep(moment * seconds / 2)
        second = start(checkout, *REPRO)
        logs = [rest_of(process)[0] for process in (first, second)]
        for process, log in zip((first, second), logs, strict=True):
            assert process.returncode == 0 or "is busy, it is being blocked by" in log or "acquire lock" in log, log
        assert_golden(project, checkout)


@pytest.mark.times(20)
def test_a_run_beside_an_orphan(any_project, tally, moment):
    drawn = random.Random(moment)
    project = any_project(drawn)
    checkout, seconds = project.with_work("orphan", drawn)
    with tally.trying("a run beside an orphaned stage"):
        first = start(checkout, "dvc", "repro")
        end_after(first, moment * seconds)
        first.kill()
        first.wait()
        assert_golden(project, checkout)
        rest_of(first)
