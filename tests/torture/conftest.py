"""An undisturbed run of each cell, copies of it to disturb, and a tally of the promises that held."""

import functools
import random
import re
import shutil
import sys
from contextlib import contextmanager

import pytest

from tests.checkout import SMALL, Checkout
from tests.forks import STAGES, clear, run_stage
from tests.torture.cage import Cage

CELLS = ("gru", "rnn", "lstm")
"""The first one is the cell of the finished checkout."""

TINY = {
    **SMALL,
    "generate.windows": {"train": 300, "validation": 60, "test": 60},
    "generate.shard_windows": 150,
    "train.epochs": 1,
    "train.batch_size": 100,
    "train.snapshots": 2,
    "train.snapshot_windows": 1,
    "train.validations_per_epoch": 1,
    "plot.windows": 1,
    "plot.bins": 2,
}

REPRO = ("make", "--old-file", "environment", "repro")


class Tally:
    """Counts how often a test tried each promise, and how often it held."""

    def __init__(self):
        self.counts = {}

    @contextmanager
    def trying(self, promise):
        """Counts the block as tried and, if it does not raise, as survived."""
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
    """A cell's project: `golden` after an undisturbed run, `fresh` before one, and the seconds of that run."""

    def __init__(self, golden, folder, whole):
        """In a fraction `whole` of the copies with work, all stages have to run; in the others one stage."""
        self.folder = folder
        self.whole = whole
        self.golden = golden
        self.digests = golden.digests()
        self.seconds = (golden.path / "dvc.lock").stat().st_mtime - (golden.path / "params.yaml").stat().st_mtime
        self.fresh = Checkout(folder / "fresh")
        shutil.copytree(golden.path, self.fresh.path, symlinks=True, ignore=shutil.ignore_patterns("cache"))
        for name in STAGES:
            clear(self.fresh, name)
        # As in a clone whose last commit recorded a run with other parameters.
        lock = self.fresh.path / "dvc.lock"
        lock.write_text(re.sub(r"md5: \w{32}", f"md5: {'f' * 32}", lock.read_text()))
        self.fresh.commit()

    def copy(self, name, of="fresh"):
        """Returns a copy of `fresh` or `golden` without state, which replaces an earlier copy of that name.

        DVC's memory of the earlier copy's files is deleted, too: DVC does not read a file again if path, inode and time
        are the same, so it would open more files in one copy than in the next.
        """
        path = self.folder / name
        for former in (path, f"{path}.state", f"{path}.known"):
            shutil.rmtree(former, ignore_errors=True)
        copy = getattr(self, of).copy(path)
        copy.env["DVC_SITE_CACHE_DIR"] = f"{path}.known"
        (path / ".venv").symlink_to(sys.prefix)
        return copy

    def with_work(self, name, drawn):
        """Returns a copy in which all stages have to run, or one stage, and the seconds that this takes."""
        if drawn.random() < self.whole:
            return self.copy(name), self.seconds
        return self.without(name, drawn.choice([*STAGES])), self.seconds / 2.5

    def without(self, name, stage):
        """Returns a copy of the golden run without a stage's outputs and without DVC's copies of them."""
        copy = self.copy(name, of="golden")
        shutil.rmtree(copy.path / ".dvc/cache/runs")
        for output in copy.yaml("dvc.lock")["stages"][stage]["outs"]:
            (copy.path / ".dvc/cache/files/md5" / output["md5"][:2] / output["md5"][2:]).unlink(missing_ok=True)
        clear(copy, stage)
        return copy


@pytest.fixture(scope="session")
def project_of(finished, share, tmp_path_factory, request):
    """Returns `get(cell)`, which makes a cell's project once. In full, a tenth of its copies run all stages."""
    whole = 0.1 if in_full(request.config) else 0.0

    def finish(cell, folder):
        checkout = Checkout.make(folder, {**SMALL, "model.cell": cell})
        checkout.repro()
        checkout.commit()

    @functools.cache
    def get(cell):
        golden = finished if cell == CELLS[0] else Checkout(share(cell, functools.partial(finish, cell)))
        assert golden.yaml("params.yaml")["model"]["cell"] == cell
        return Project(golden, tmp_path_factory.mktemp(cell), whole)

    return get


@pytest.fixture
def any_project(project_of, request):
    """Returns a function that draws a cell's project. `make test` has time for the first cell only."""
    cells = CELLS if in_full(request.config) else CELLS[:1]
    return lambda drawn: project_of(drawn.choice(cells))


@pytest.fixture(scope="session")
def tiny(share):
    """A tiny project after all its stages, run without DVC. Tests copy it and do not change it."""

    def fill(folder):
        checkout = Checkout.make(folder, TINY)
        for name in STAGES:
            assert run_stage(checkout, name).returncode == 0

    return Checkout(share("tiny", fill))


@pytest.fixture(scope="session")
def cage(tmp_path_factory):
    """Runs commands in processes with limits."""
    cage = Cage(tmp_path_factory.mktemp("cage"))
    yield cage
    cage.close()


def in_full(config):
    """Whether the full counts are run."""
    return config.getoption("torture") >= 1.0


def pytest_generate_tests(metafunc):
    """Runs a test marked `times(count)` that often, or a fraction of it, each with a fixed `moment` from 0 to 1."""
    if marker := metafunc.definition.get_closest_marker("times"):
        count = max(1, int(marker.args[0] * metafunc.config.getoption("torture")))
        drawn = random.Random(metafunc.function.__name__)
        metafunc.parametrize("moment", [drawn.random() for _ in range(count)], ids=str)


@pytest.fixture
def chosen(request):
    """Returns `choose(cases)`, which draws the fraction given by --torture, at least one, the same in every run."""

    def choose(cases):
        count = max(1, int(len(cases) * request.config.getoption("torture")))
        return random.Random(request.node.name).sample(cases, count)

    return choose
