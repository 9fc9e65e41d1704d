"""docs/performance.md: its commands run, on tiny sizes; the roofline counts the same products as torch."""

import os
import shlex
import sys

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.costs.profile import called
from benchmarks.costs.roofline import Need, Rates, need
from tests.forked_python.server import forking
from tests.promises.test_readme import commands

PAGE = "docs/performance.md"
TINY = {
    "profile": (["1"], "| | seconds |"),
    "generate": (["1000", "1"], "1,000 windows, medians of 1 rounds (lowest to highest)"),
    "generate memory 1000000 10000000 100000000": (["memory", "1000", "2000"], "| windows | peak memory (MB) |"),
    "evaluate": (["500"], "| training windows | test windows | peak memory (MB) | seconds |"),
    "roofline": (
        ["1", "0.001", "8,16"],
        "| threads | products (GFLOP/s) | sigmoid (10^9/s) | tanh (10^9/s) | memory (GB/s) |",
    ),
}
"""For each command of the page: arguments that take seconds, and its first line of output."""

PREFIX = ".venv/bin/python -m benchmarks.costs."


def test_every_command_of_the_page_is_run_here():
    assert commands(PAGE) == [PREFIX + name for name in TINY]


def table(checkout, name, arguments):
    """Returns the cells printed by a command, without the header of its first table."""
    (forking(checkout).path / ".venv").symlink_to(sys.prefix)
    lines = checkout.run(*shlex.split(PREFIX + name)[:3], *arguments).stdout.splitlines()
    assert lines[0] == TINY[name][1]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:] if line]


@pytest.mark.nightly
@pytest.mark.parametrize("name", TINY)
def test_a_command_of_the_page_prints_its_table(name, checkout):
    arguments, _ = TINY[name]
    rows = table(checkout, name, arguments)
    if name == "profile":
        seconds = {what.strip("*"): float(figure) for what, figure in rows}
        stages = ("generate", "targets", "train", "evaluate", "plot", "report")
        assert seconds["all stages"] == pytest.approx(sum(seconds[stage] for stage in stages), abs=0.05)
        assert {"loop.train", "floor.OptionalFloor.estimate", "animation.training"} <= set(seconds)
        assert 0.0 < seconds["dvc repro** when nothing changed, median of 1"] < seconds["dvc repro"]
    if name == "evaluate":
        assert_each_size(rows, arguments)
    if name == "roofline":
        assert all(0.0 < float(row[-1].rstrip(" %")) <= 100.0 for row in rows if row[0] == "8, 16")


@pytest.mark.nightly
def test_evaluate_is_measured_at_each_size_of_each_split(checkout):
    sizes = ["500", "700"]
    assert_each_size(table(checkout, "evaluate", sizes), sizes)


def assert_each_size(rows, sizes):
    """Asserts that each split has each size, beside the smallest size of the other."""
    smallest, *larger = sizes
    beside = [[smallest, smallest], *([smallest, size] for size in larger), *([size, smallest] for size in larger)]
    assert [row[:2] for row in rows] == beside
    assert all(100.0 < float(peak) < 2000.0 for _, _, peak, _ in rows)


def plain_gradient(windows: Tensor, hidden: int) -> None:
    """Takes the gradient of a GRU written as matrix products, without those of the initial state, which is zero."""
    batch, length = windows.shape
    of_input, of_state, head = (
        torch.randn(shape, requires_grad=True) for shape in ((1, 3 * hidden), (hidden, 3 * hidden), (hidden, length))
    )
    state = torch.zeros(batch, hidden)
    for instant in range(length):
        gates = windows[:, [instant]] @ of_input
        reset, update, candidate = (gates + state @ of_state if instant else gates).split(hidden, 1)
        state = torch.lerp(torch.tanh(candidate * torch.sigmoid(reset)), state, torch.sigmoid(update))
    (state @ head).sum().backward()


@pytest.mark.parametrize(("hidden", "batch", "length"), [(3, 5, 2), (16, 4, 10), (7, 3, 6)])
def test_the_rooflines_products_are_those_that_torch_counts(hidden, batch, length):
    with FlopCounterMode(display=False) as counter:
        plain_gradient(torch.randn(batch, length), hidden)
    assert need(hidden, batch, length).products == counter.get_total_flops()


def test_no_step_is_shorter_than_its_products_and_nonlinearities_or_its_memory():
    rates = Rates(products=10.0, sigmoids=4.0, tanhs=2.0, memory=100.0)
    assert Need(products=100.0, nonlinearities=8.0, memory=10.0).bound(rates) == 12.0
    assert Need(products=100.0, nonlinearities=8.0, memory=5000.0).bound(rates) == 50.0


def test_the_profile_books_time_on_the_library_function_that_the_stage_called():
    script = """
def inner():
    import sys
    return called(sys._getframe(), "stages/some.py")
def outer():
    return inner()
"""
    library, stage = {"called": called}, {}
    exec(compile(script, "/any/quadrature/scoring/floor.py", "exec"), library)  # noqa: S102
    exec(compile("def main(call): return call()", "/any/stages/some.py", "exec"), stage)  # noqa: S102
    assert stage["main"](library["outer"]) == "floor.outer"


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="for tests that run in parallel: -n")
def test_tests_beside_others_take_a_thread_each():
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
