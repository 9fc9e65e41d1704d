"""The plot stage: the same bytes for any row groups of its predictions, and memory that does not grow with them."""

import shutil
import sys

import numpy as np
import pytest

from quadrature.storage.windows import ESTIMATE_COLUMNS, IN_PHASE_COLUMNS, WINDOW_COLUMNS, read_windows, writing
from tests.checkout import Checkout
from tests.forks import written

PREDICTIONS = "data/predictions.parquet"


@pytest.fixture
def tree(finished, tmp_path):
    """The finished checkout, to be changed."""
    tree = Checkout(tmp_path / "tree")
    shutil.copytree(finished.path, tree.path, ignore=shutil.ignore_patterns(".dvc", ".git"))
    return tree


@pytest.mark.parametrize("size", [1, 299])
def test_the_row_groups_of_the_predictions_change_no_byte(finished, tree, size):
    columns = read_windows(tree.path / PREDICTIONS, (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS, *IN_PHASE_COLUMNS))
    with writing(tree.path / PREDICTIONS) as file:
        for start in range(0, 300, size):
            file.write({name: values[start : start + size] for name, values in columns.items()})
    tree.stage("plot")
    assert written(tree, "plot") == written(finished, "plot")


def test_predictions_with_a_changed_byte_are_refused_before_anything_is_written(tree):
    for path in tree.path.glob("metrics/error_by_*.csv"):
        path.unlink()
    content = bytearray((tree.path / PREDICTIONS).read_bytes())
    content[len(content) // 2] ^= 1
    (tree.path / PREDICTIONS).write_bytes(content)
    done = tree.stage("plot", check=False)
    assert (done.returncode, done.stderr.splitlines()[-1].startswith(PREDICTIONS)) == (65, True)
    assert not list(tree.path.glob("metrics/error_by_*.csv"))


PEAK = """
import os, runpy, sys
os._exit = sys.exit
try: runpy.run_module("stages.plot", run_name="__main__")
finally: print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def write_predictions(path, count, length=100, group=3000):
    """Writes windows at random; a window of 100 samples takes the memory of ten of the project's own."""
    rng = np.random.default_rng(0)
    lists = ("input", "target", *ESTIMATE_COLUMNS, *IN_PHASE_COLUMNS)
    with writing(path) as file:
        for _ in range(0, count, group):
            columns = {name: rng.standard_normal((group, length), np.float32) for name in lists}
            numbers = {name: rng.uniform(0.5, 2.0, group) for name in ("phase", "frequency", "amplitude")}
            names = (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS, *IN_PHASE_COLUMNS)
            file.write({name: (columns | numbers)[name] for name in names})


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_predictions(tree):
    """Ten times the windows take 130 MB more in float32 if all are held; their errors in float64 take as much again."""
    peaks = []
    for count in (6_000, 60_000):
        write_predictions(tree.path / PREDICTIONS, count)
        peaks.append(int(tree.run("python", "-c", PEAK).stdout.split()[1]))
    assert peaks[1] < 1.1 * peaks[0]
