"""Starts and stops runs of the whole pipeline, and checks the state that they leave."""

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
    """Waits for some seconds, or until the process ends."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def send(process, number):
    """Sends a signal to a run's process group, if it still exists."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def at_work(checkout):
    """Returns the processes whose working directory is in a checkout."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(checkout.path):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def remaining(checkout, seconds):
    """Waits until no process runs in a checkout, at most some seconds; returns those that still run."""
    end = time.monotonic() + seconds
    while (left := at_work(checkout)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def status(checkout):
    """Returns the result of `dvc status`, empty if everything is up to date."""
    with Repo(str(checkout.path), config={"core": {"site_cache_dir": checkout.env["DVC_SITE_CACHE_DIR"]}}) as repo:
        return repo.status()


def assert_golden(project, checkout):
    """Runs the pipeline again; asserts that it ends in the golden bytes and leaves nothing behind."""
    result = checkout.run(*REPRO)
    assert checkout.digests() == project.digests, result.stdout + result.stderr
    assert status(checkout) == {}
    assert [path for path in checkout.path.rglob("*.tmp") if ".dvc" not in path.parts] == []
    assert remaining(checkout, 1.0) == []


def assert_nothing_half_done_committed(project, checkout):
    """Asserts that DVC's record of each stage is that of a finished run, or the earlier one."""
    whole, found = ((tree.path / "dvc.lock").read_text() for tree in (project.golden, checkout))
    if whole.startswith(found) or not found.endswith("\n"):  # torn while DVC wrote it: see test_torn.py
        return
    before, after = (tree.yaml("dvc.lock")["stages"] for tree in (project.fresh, project.golden))
    for name, record in checkout.yaml("dvc.lock")["stages"].items():
        assert record in (before[name], after[name])
