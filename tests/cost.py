"""Measures the processor time of the tests and of all processes that they start, in multiples of `import torch`.

Seconds depend on the machine; this ratio hardly does.
"""

import os
import statistics
import subprocess
import sys

import pytest

from tests import forks

LIMIT = 500
"""The most processor time that `make test` may take, in imports of torch."""

_BEGAN = pytest.StashKey[float]()


def processor_seconds():
    """Returns the processor time of this process, its finished children and the stages forked for it."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + forks.processor_seconds()


def import_torch_seconds():
    """Returns the processor time of `import torch` in a new process, the median of three."""
    seconds = []
    for _ in range(3):
        before = processor_seconds()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        seconds.append(processor_seconds() - before)
    return statistics.median(seconds)


class Cost:
    """A pytest plugin that prints the tests' total processor time and the ten longest tests."""

    def __init__(self):
        self._by_test = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        """Records the processor time at the start of a test, before its fixtures."""
        item.stash[_BEGAN] = processor_seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Adds a test's processor time to its last report, which pytest-xdist sends to the process that prints."""
        report = yield
        if call.when == "teardown":
            report.user_properties.append(("processor_seconds", processor_seconds() - item.stash[_BEGAN]))
        return report

    def pytest_runtest_logreport(self, report):
        """Collects the times, in the process that prints."""
        if report.when == "teardown":
            self._by_test[report.nodeid] = dict(report.user_properties)["processor_seconds"]

    def pytest_terminal_summary(self, terminalreporter):
        """Prints the ten longest tests and the total, which includes pytest-xdist's workers, as they have ended."""
        total = processor_seconds()
        if total < 300.0:  # not worth the seconds of measuring the unit
            return
        unit = import_torch_seconds()
        terminalreporter.section("processor time")
        for nodeid, seconds in sorted(self._by_test.items(), key=lambda cost: -cost[1])[:10]:
            terminalreporter.write_line(f"{seconds:6.1f} s  {nodeid}")
        ratio = f"{total / unit:.0f} times `import torch` ({unit:.2f} s)"
        terminalreporter.write_line(f"{total:6.1f} s  in total, {ratio}; the limit of `make test` is {LIMIT} times")
