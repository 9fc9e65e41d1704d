"""Runs of the whole pipeline that are stopped from outside, and what must be true after them."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
from dvc.repo import Repo

from tests.torture.conftest import REPRO


def start(checkout, *command):
    return subprocess.Popen(
        command, cwd=checkout.path, env=checkout.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def end_after(process, seconds):
    """Waits for a moment of the run, or its end."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def send(process, number):
    """Sends a signal to a run and all that it started, unless that has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


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


def status(checkout):
    """Returns what `dvc status` prints: nothing where all is up to date."""
    with Repo(str(checkout.path), config={"core": {"site_cache_dir": checkout.env["DVC_SITE_CACHE_DIR"]}}) as repo:
        return repo.status()


def assert_golden(project, checkout):
    """Runs the pipeline again: it ends well, in the golden bytes, and leaves nothing behind."""
    result = checkout.run(*REPRO)
    assert checkout.digests() == project.digests, result.stdout + result.stderr
    assert status(checkout) == {}
    assert [path for path in checkout.path.rglob("*.tmp") if ".dvc" not in path.parts] == []
    assert remaining(checkout, 1.0) == []


def assert_nothing_half_done_committed(project, checkout):
    """DVC's record of each stage is that of a run to its end, or the one that was there before."""
    whole, found = ((tree.path / "dvc.lock").read_text() for tree in (project.golden, checkout))
    if whole.startswith(found) or not found.endswith("\n"):  # torn, as DVC wrote it: see test_torn.py
        return
    before, after = (tree.yaml("dvc.lock")["stages"] for tree in (project.fresh, project.golden))
    for name, record in checkout.yaml("dvc.lock")["stages"].items():
        assert record in (before[name], after[name])
