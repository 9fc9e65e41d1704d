import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.checkout import Checkout

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several tests run at once, one a core: what is not asked for threads takes one, and those of a test that asks for
    # two do not spin while they wait. Two trainings of two threads each on two cores took 65 ms a step beside each
    # other, and 27 ms so. Read when torch is imported, which is later.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_addoption(parser):
    """Adds the scale of tests/torture."""
    parser.addoption("--torture", type=float, default=0.1, metavar="FRACTION", help="of the full counts of torments")


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
def finished(tmp_path_factory):
    """A small checkout after `dvc repro`, to be read and not changed."""
    checkout = Checkout(tmp_path_factory.mktemp("finished"))
    checkout.repro()
    checkout.commit()
    return checkout


@pytest.fixture
def make_checkout(tmp_path):
    """Makes checkouts in directories of the test's own."""
    return lambda name="checkout", parameters=None: Checkout(tmp_path / name, parameters)


@pytest.fixture
def checkout(make_checkout):
    return make_checkout()


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
