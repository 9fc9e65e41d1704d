import functools
import os
import shutil
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml
from filelock import FileLock
from playwright.sync_api import sync_playwright

from tests import forks
from tests.checkout import OWN_PARAMETERS, PROJECT, Checkout, git
from tests.cost import Cost

SLOW_FIXTURES = {"browser", "cage", "checkout", "finished", "make_checkout", "project_of"}
"""Fixtures that start programs, so that a test with one of them is slow."""


def pytest_addoption(parser):
    """Adds the scale of tests/torture."""
    parser.addoption("--torture", type=float, default=0.01, metavar="FRACTION", help="of the full counts of torments")


def pytest_configure(config):
    """Has the tests' processor time printed."""
    config.pluginmanager.register(Cost())


def pytest_collection_modifyitems(items):
    """Marks as slow what has a slow fixture."""
    for item in items:
        if SLOW_FIXTURES & {*item.fixturenames}:
            item.add_marker("slow")


def pytest_runtest_setup(item):
    """Skips tests of the committed results where there are others."""
    if item.get_closest_marker("committed_results") and (reason := other_results()):
        pytest.skip(reason)


@functools.cache
def other_results():
    """Returns why the results in this tree are not those that the project has committed, nothing if they are."""
    if load_yaml(str(PROJECT / "params.yaml")) != load_yaml(str(OWN_PARAMETERS)):
        return "params.yaml has other values than benchmarks/params.yaml, so the results are not the committed ones"
    if changed := git("diff", "--name-only", "HEAD", "--", "dvc.lock", "metrics", cwd=PROJECT).split():
        return f"{changed[0]} is not the committed one"
    return ""


def pytest_sessionfinish():
    """Ends what stages were forked from."""
    forks.stop()


tormented: dict[str, list[int]] = {}
"""By promise of tests/torture, how often it was tried and how often it survived."""


def pytest_runtest_logreport(report):
    """Adds up what the tests tried, in the process that has all their reports."""
    if report.when == "teardown":
        for name, value in report.user_properties:
            if name == "torture":
                promise, tried, survived = value
                counts = tormented.setdefault(promise, [0, 0])
                counts[0] += tried
                counts[1] += survived


def pytest_terminal_summary(terminalreporter):
    """Prints the table of tests/torture."""
    if tormented:
        terminalreporter.write_line("\n| promise | tried | survived |\n|---|---|---|")
        for promise, (tried, survived) in sorted(tormented.items()):
            terminalreporter.write_line(f"| {promise} | {tried:,} | {survived:,} |")


@pytest.fixture(scope="session")
def share(tmp_path_factory):
    """Returns a folder that is filled once for all of pytest-xdist's processes: `share(name, fill)`."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def get(name, fill):
        filled = shared / f"{name}.filled"
        with FileLock(shared / f"{name}.lock"):
            if not filled.exists():
                fill(shared / name)
                filled.touch()
        return shared / name

    return get


def finish(folder: Path):
    """Fills a folder with a small checkout after `dvc repro`."""
    checkout = Checkout.make(folder)
    checkout.repro()
    checkout.commit()


@pytest.fixture(scope="session")
def finished(share):
    """A small checkout after `dvc repro`, to be read and not changed."""
    return Checkout(share("finished", finish))


@pytest.fixture
def make_checkout(tmp_path):
    """Makes checkouts in directories of the test's own."""
    return lambda name="checkout", parameters=None: Checkout.make(tmp_path / name, parameters)


@pytest.fixture
def checkout(make_checkout):
    return make_checkout()


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished checkout, DVC's cache included, to be changed."""
    return finished.copy(tmp_path / "checkout")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium of the system's, to look at pages with."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
    with sync_playwright() as playwright:
        # Without a sandbox of its own: containers refuse it one, and the pages are ours.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *quiet])
        yield browser
        browser.close()
