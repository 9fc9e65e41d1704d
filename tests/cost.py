"""What the tests cost: processor time, of the tests' own processes and all that they start, in imports of torch.

Seconds differ from machine to machine; how many times `import torch` would fit into them hardly does.
"""

import os
import statistics
import subprocess
import sys

import pytest

from tests import forks

LIMIT = 500
"""Imports of torch that the tests of a change may cost."""

_BEGAN = pytest.StashKey[float]()


def processor_seconds():
    """Returns the processor time of this process, of all that it started and waited for, and of the stages it forks."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + forks.processor_seconds()


def import_torch_seconds():
    """Returns the processor time of `import torch` in a process of its own, the median of three."""
    seconds = []
    for _ in range(3):
        before = processor_seconds()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        seconds.append(processor_seconds() - before)
    return statistics.median(seconds)


class Cost:
    """A pytest plugin that prints what the tests have cost, and the ten dearest."""

    def __init__(self):
        self._by_test = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        """Notes when a test begins, its fixtures included."""
        item.stash[_BEGAN] = processor_seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Adds what a test has cost to its last report, which pytest-xdist sends to the process that prints."""
        report = yield
        if call.when == "teardown":
            report.user_properties.append(("processor_seconds", processor_seconds() - item.stash[_BEGAN]))
        return report

    def pytest_runtest_logreport(self, report):
        """Collects the costs, in the process that prints."""
        if report.when == "teardown":
            self._by_test[report.nodeid] = dict(report.user_properties)["processor_seconds"]

    def pytest_terminal_summary(self, terminalreporter):
        """Prints the ten dearest tests and the total; pytest-xdist's workers have ended, and are counted in it."""
        total = processor_seconds()
        if total < 100.0:  # not worth the seconds that the unit takes to measure
            return
        unit = import_torch_seconds()
        terminalreporter.section("processor time")
        for nodeid, seconds in sorted(self._by_test.items(), key=lambda cost: -cost[1])[:10]:
            terminalreporter.write_line(f"{seconds:6.1f} s  {nodeid}")
        ratio = f"{total / unit:.0f} times `import torch` ({unit:.2f} s)"
        terminalreporter.write_line(f"{total:6.1f} s  in all, {ratio}; `make test` may take {LIMIT} times")
