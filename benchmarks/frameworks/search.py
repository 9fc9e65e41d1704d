"""Searches the cells that peers train with: for each batch size, the rate that needs the fewest windows to the target.

The search uses the plain torch loop, before anything is timed. benchmarks/frameworks/grid.json holds its result.
A cell is accepted if all three seeds reach the target.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.frameworks.results import to_json
from benchmarks.frameworks.tasks import Cell, Task
from benchmarks.processes import PROJECT

GRID = PROJECT / "benchmarks/frameworks/grid.json"
BATCHES = (256, 512, 1024)
RATES = (0.01, 0.02, 0.04)
SEEDS = (0, 1, 2)

Score = Callable[[Task, Cell, int], float]
"""Trains with a cell's settings from a seed; returns the mse on the test windows."""


def search(tasks: Iterable[Task], score: Score) -> dict[str, list[Cell]]:
    """Returns by task, for each batch size that reaches the target, the cell with the fewest windows."""
    found: dict[str, list[Cell]] = {task.name: [] for task in tasks}
    for task in tasks:
        for batch in sorted({min(batch, task.windows) for batch in BATCHES}):  # a batch has at most all windows
            best, rung = None, len(task.passes)
            for rate in reversed(RATES):
                lower = lowest_rung(task, batch, rate, rung, score)
                if lower < rung:
                    best, rung = rate, lower
            if best is not None:
                found[task.name].append(task.cell(batch, best, rung))
    return found


def lowest_rung(task: Task, batch: int, rate: float, limit: int, score: Score) -> int:
    """Returns the lowest rung of the task's ladder below a limit that reaches the target, or the limit if none does.

    Bisects with the first seed, as more windows score better, then climbs from there for the other seeds. Where the
    limit is another rate's rung, a rate that misses the target on the rung below it is given up at once.
    """

    def reaches(rung: int, seed: int) -> bool:
        cell = task.cell(batch, rate, rung)
        mse = score(task, cell, seed)
        print(f"{task.name} {cell} seed {seed}: mse {mse:.3g}, target {task.target:.3g}", file=sys.stderr, flush=True)
        return mse <= task.target

    if limit == 0 or (limit < len(task.passes) and not reaches(limit - 1, SEEDS[0])):
        return limit
    low, high = 0, limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle, SEEDS[0]) else (middle + 1, high)
    waiting = list(SEEDS[1:])
    while low < limit and waiting:
        if reaches(low, waiting[0]):
            waiting.pop(0)
        else:
            low, waiting = low + 1, list(SEEDS)
    return low


def write_grid(found: dict[str, list[Cell]], path: Path, **about: object) -> None:
    """Writes tasks' cells, each with what `about` says of them, and keeps those of the file's other tasks.

    Exits if a task has no cell, as nothing could be timed.
    """
    if missing := [name for name, cells in found.items() if not cells]:
        sys.exit(f"no cell of the grid reaches the target of {', '.join(missing)}")
    grid = json.loads(path.read_text()) if path.exists() else {}
    for name, cells in found.items():
        grid[name] = {**about, "seeds": SEEDS, "cells": [cell._asdict() for cell in cells]}
    path.write_text(to_json(grid) + "\n")


def read_grid(path: Path) -> dict[str, list[Cell]]:
    """Returns by task the cells that every peer tries."""
    return {name: [Cell(**cell) for cell in task["cells"]] for name, task in json.loads(path.read_text()).items()}
