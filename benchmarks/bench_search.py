"""The grid that the peers' cells come from: for each batch size and rate, the fewest windows that reach the target.

Searched with the plain torch loop, before anything is timed, and kept in benchmarks/grid.json. A cell counts when
each of three seeds reaches the target.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.bench_processes import PROJECT
from benchmarks.bench_tasks import Cell, Task

GRID = PROJECT / "benchmarks/grid.json"
BATCHES = (256, 512, 1024)
RATES = (0.005, 0.01, 0.02)
SEEDS = (0, 1, 2)

Score = Callable[[Task, Cell, int], float]
"""Trains as a cell says, from a seed; returns the mse on the test windows."""


def search(tasks: Iterable[Task], score: Score) -> dict[str, list[Cell]]:
    """Returns, by task, the cells of the grid that reach its target."""
    return {
        task.name: [
            task.cell(batch, rate, rung)
            # A batch of all windows is the same whatever its name.
            for batch in sorted({min(batch, task.windows) for batch in BATCHES})
            for rate in RATES
            if (rung := lowest_rung(task, batch, rate, score)) is not None
        ]
        for task in tasks
    }


def lowest_rung(task: Task, batch: int, rate: float, score: Score) -> int | None:
    """Returns the lowest rung of the task's ladder that reaches the target for each seed, None if none does.

    Halves the ladder with the first seed, as more windows do better, then climbs from there for the others.
    """

    def reaches(rung: int, seed: int) -> bool:
        cell = task.cell(batch, rate, rung)
        mse = score(task, cell, seed)
        print(f"{task.name} {cell} seed {seed}: mse {mse:.3g}, target {task.target:.3g}", file=sys.stderr, flush=True)
        return mse <= task.target

    low, high = 0, len(task.passes)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle, SEEDS[0]) else (middle + 1, high)
    waiting = list(SEEDS[1:])
    while low < len(task.passes) and waiting:
        if reaches(low, waiting[0]):
            waiting.pop(0)
        else:
            low, waiting = low + 1, list(SEEDS)
    return low if low < len(task.passes) else None


def write_grid(found: dict[str, list[Cell]], path: Path, **about: object) -> None:
    """Writes what was found, and where; ends if no cell of a task reaches its target: nothing could be timed."""
    if missing := [name for name, cells in found.items() if not cells]:
        sys.exit(f"no cell of the grid reaches the target of {', '.join(missing)}")
    cells = {name: [cell._asdict() for cell in cells] for name, cells in found.items()}
    path.write_text(json.dumps({**about, "seeds": SEEDS, "cells": cells}, indent=2) + "\n")


def best_cells(path: Path) -> dict[str, list[Cell]]:
    """Returns, by task, the cell with the fewest windows of each batch size: those that every peer tries."""
    best: dict[str, dict[int, Cell]] = {}
    for name, cells in json.loads(path.read_text())["cells"].items():
        of_task = best.setdefault(name, {})
        for cell in (Cell(**cell) for cell in cells):
            held = of_task.get(cell.batch)
            if held is None or cell.windows * cell.epochs < held.windows * held.epochs:
                of_task[cell.batch] = cell
    return {name: list(cells.values()) for name, cells in best.items()}
