import functools
import os
import shutil
import sys
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml
from filelock import FileLock
from playwright.sync_api import sync_playwright

from tests import forks
from tests.checkout import OWN_PARAMETERS, PROJECT, Checkout, git
from tests.cost import Cost

# Many containers set PYTHONDONTWRITEBYTECODE, with which pytest would rewrite the assertions of all tests in each run.
sys.dont_write_bytecode = False

SLOW_FIXTURES = {"browser", "cage", "checkout", "finished", "make_checkout", "project_of"}
"""Fixtures that start programs; a test with one of them is slow."""


def pytest_addoption(parser):
    """Adds the option for the scale of tests/torture."""
    parser.addoption(
        "--torture",
        type=float,
        default=0.01,
        metavar="FRACTION",
        help="fraction of the full counts to run (%(default)s)",
    )


def pytest_configure(config):
    """Registers the plugin that prints the tests' processor time."""
    config.pluginmanager.register(Cost())


def pytest_collection_modifyitems(items):
    """Marks the tests with a slow fixture as slow."""
    for item in items:
        if SLOW_FIXTURES & {*item.fixturenames}:
            item.add_marker("slow")


def pytest_runtest_setup(item):
    """Skips tests of the committed results if the tree has other results."""
    if item.get_closest_marker("committed_results") and (reason := other_results()):
        pytest.skip(reason)


@functools.cache
def other_results():
    """Returns why this tree does not have the project's committed results, empty if it has."""
    if load_yaml(str(PROJECT / "params.yaml")) != load_yaml(str(OWN_PARAMETERS)):
        return "params.yaml has other values than benchmarks/params.yaml, so the results are not the committed ones"
    if changed := git("diff", "--name-only", "HEAD", "--", "dvc.lock", "metrics", cwd=PROJECT).split():
        return f"{changed[0]} is not the committed one"
    return ""


def pytest_sessionfinish():
    """Ends the process from which stages are forked."""
    forks.stop()


tormented: dict[str, list[int]] = {}
"""How often each promise of tests/torture was tried, and how often it held."""


def pytest_runtest_logreport(report):
    """Sums the counts of the tests, in the process that gets all reports."""
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
    """Returns `share(name, fill)`, which makes a folder once for all processes of pytest-xdist."""
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
    """A small checkout after `dvc repro`. Tests must not change it."""
    return Checkout(share("finished", finish))


@pytest.fixture
def make_checkout(tmp_path):
    """Returns a function that makes checkouts in the test's folder."""
    return lambda name="checkout", parameters=None: Checkout.make(tmp_path / name, parameters)


@pytest.fixture
def checkout(make_checkout):
    return make_checkout()


@pytest.fixture
def again(finished, tmp_path):
    """A copy of the finished checkout with DVC's cache, which the test may change."""
    return finished.copy(tmp_path / "checkout")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, as installed on the system."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
    with sync_playwright() as playwright:
        # Without Chromium's sandbox: containers do not allow it, and the pages are the project's own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *quiet])
        yield browser
        browser.close()
