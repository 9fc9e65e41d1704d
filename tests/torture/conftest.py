"""What the tests here share: a golden run of each cell, copies of its project to torment, and a tally of it all."""

import random
import shutil
import sys
import time
from contextlib import contextmanager

import pytest

from tests.checkout import SMALL, Checkout
from tests.torture.cage import Cage
from tests.torture.forks import STAGES, clear

CELLS = ("rnn", "lstm", "gru")


class Tally:
    """What one test tried of each promise, and what came through."""

    def __init__(self):
        self.counts = {}

    @contextmanager
    def trying(self, promise):
        """Counts the block as tried and, unless it raises, as survived."""
        tried, survived = self.counts.get(promise, (0, 0))
        self.counts[promise] = (tried + 1, survived)
        yield
        self.counts[promise] = (tried + 1, survived + 1)


@pytest.fixture
def tally(record_property):
    found = Tally()
    yield found
    for promise, counts in found.counts.items():
        record_property("torture", (promise, *counts))


class Project:
    """A cell's project that was never run, what an undisturbed run makes of it, and how long that takes."""

    def __init__(self, folder, cell, whole):
        """From nothing to the end are a fraction `whole` of the runs that are tormented."""
        self.folder = folder
        self.cell = cell
        self.whole = whole
        self.fresh = Checkout(folder / "fresh", {**SMALL, "model.cell": cell, "train.epochs": 8})
        (self.fresh.path / ".venv").symlink_to(sys.prefix)
        self.golden = self.copy("golden")
        began = time.monotonic()
        self.golden.run(*REPRO)
        self.seconds = time.monotonic() - began
        self.digests = self.golden.digests()

    def copy(self, name, of="fresh"):
        """Returns a copy, of `fresh` or `golden`, in the place of any earlier one of that name, with no state.

        Nor does DVC know its files: it takes a file for one that it has read where path, inode and time are the same,
        so that it would open more files in one copy than in the next.
        """
        path = self.folder / name
        for former in (path, f"{path}.state", f"{path}.known"):
            shutil.rmtree(former, ignore_errors=True)
        shutil.copytree(self.folder / of, path, symlinks=True)
        copy = Checkout.__new__(Checkout)
        copy.path = path
        places = {"QUADRATURE_STATE_DIR": f"{path}.state", "DVC_SITE_CACHE_DIR": f"{path}.known"}
        copy.env = {**self.fresh.env, **places}
        return copy

    def with_work(self, name, drawn):
        """Returns a copy with all stages to run, or one whose outputs are lost, and the seconds that takes."""
        if drawn.random() < self.whole:
            return self.copy(name), self.seconds
        return self.without(name, drawn.choice([*STAGES])), self.seconds / 2.5

    def without(self, name, stage):
        """Returns a copy of the golden run that lacks a stage's outputs, and what DVC would take them from."""
        copy = self.copy(name, of="golden")
        shutil.rmtree(copy.path / ".dvc/cache/runs")
        for output in copy.yaml("dvc.lock")["stages"][stage]["outs"]:
            (copy.path / ".dvc/cache/files/md5" / output["md5"][:2] / output["md5"][2:]).unlink(missing_ok=True)
        clear(copy, stage)
        return copy


REPRO = ("make", "--old-file", "environment", "repro")


@pytest.fixture(scope="session")
def project_of(tmp_path_factory, request):
    """Returns a cell's project, made when it is first asked for.

    In full, each run is one from nothing. Of the few that every change has time for most are of one stage.
    """
    made = {}
    whole = 1.0 if request.config.getoption("torture") >= 1.0 else 0.1

    def get(cell):
        if cell not in made:
            made[cell] = Project(tmp_path_factory.mktemp(cell), cell, whole)
        return made[cell]

    return get


@pytest.fixture(scope="session")
def cage(tmp_path_factory):
    """Runs commands in processes with limits."""
    cage = Cage(tmp_path_factory.mktemp("cage"))
    yield cage
    cage.close()


def pytest_generate_tests(metafunc):
    """Gives a test marked `times(count)` a `moment` for each: from 0 to 1, the same each time, a fraction of them."""
    if marker := metafunc.definition.get_closest_marker("times"):
        count = max(1, round(marker.args[0] * metafunc.config.getoption("torture")))
        drawn = random.Random(metafunc.function.__name__)
        metafunc.parametrize("moment", [drawn.random() for _ in range(count)], ids=str)


@pytest.fixture
def chosen(request):
    """Returns the fraction of the cases that is asked for, at least one, the same each time."""

    def choose(cases):
        count = max(1, round(len(cases) * request.config.getoption("torture")))
        return random.Random(request.node.name).sample(cases, count)

    return choose
