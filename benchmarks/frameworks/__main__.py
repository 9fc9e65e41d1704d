"""Measures training beside other frameworks, on the same windows and the same network: `make bench`, over an hour.

    .venv/bin/python -m benchmarks.frameworks           # measures, and writes benchmarks/frameworks/results.*
    .venv/bin/python -m benchmarks.frameworks search    # beforehand: the cells of benchmarks/frameworks/grid.json
    .venv/bin/python -m benchmarks.frameworks search --tasks article   # of one task; the other tasks keep their cells
    .venv/bin/python -m benchmarks.frameworks --tiny --output /tmp/bench   # everything in seconds; figures mean nothing

Every measurement is a process. The frameworks take turns. Settings that a user would tune are tried in the first round
and then kept: the thread count at each size, and the grid's cell (one for each batch size) that reaches the target
first.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.frameworks.results import best_cell, better_threads, summarise, to_json
from benchmarks.frameworks.search import GRID, read_grid, search, write_grid
from benchmarks.frameworks.tasks import Cell, Task, give_targets, make_tree, set_params, tasks, tiny_tasks
from benchmarks.processes import PROJECT, Outcome, described, machine, options, run
from benchmarks.turns import rotated

FOLDER = PROJECT / "benchmarks/frameworks"
PEERS_PYTHON = PROJECT / ".venv-bench/bin/python"
PACKAGES = ("equinox", "jax", "jaxlib", "keras", "numpy", "optax", "pyarrow", "pytorch-lightning", "torch")


class Framework(NamedTuple):
    """How a framework's script is run."""

    module: str
    backend: str = ""  # of Keras
    on_jax: bool = False  # JAX starts a thread for each processor that it may run on


FRAMEWORKS = {
    "ours": Framework("ours"),
    "article": Framework("article"),
    "torch": Framework("torch_loop"),
    "lightning": Framework("lightning_loop"),
    "keras-jax": Framework("keras_loop", backend="jax", on_jax=True),
    "keras-torch": Framework("keras_loop", backend="torch"),
    "equinox": Framework("equinox_loop", on_jax=True),
}


class Settings(NamedTuple):
    """The amount of measuring."""

    tasks: Sequence[Task]
    cells: dict[str, list[Cell]]  # by task; every peer tries them
    sizes: tuple[str, ...] = ("16x32", "32x256", "32x1024", "64x1024", "128x1024")
    threads: tuple[int, ...] = (1, 2)
    rounds: int = 3
    seconds: float = 1.0  # of steady training at each size


def tiny() -> Settings:
    """Returns settings for a run of seconds."""
    chosen = tiny_tasks()
    cells = {task.name: [task.cell(64, 0.01, 0)] for task in chosen}
    return Settings(chosen, cells, sizes=("4x32", "8x64"), threads=(1,), rounds=1, seconds=0.01)


class Bench:
    """Runs the frameworks and collects their measurements."""

    def __init__(self, settings: Settings, python: Path, frameworks: Sequence[str], folder: Path) -> None:
        self.settings = settings
        self.python = python  # the peers' interpreter
        self.frameworks = list(frameworks)
        self.throughput: list[dict[str, Any]] = []
        self.target: list[dict[str, Any]] = []
        self.trees, self.our_trees = {}, {}
        for task in settings.tasks:
            self.trees[task.name] = make_tree(folder / task.name, task.changes)
            if task.given:
                give_targets(self.trees[task.name])
            self.our_trees[task.name] = make_tree(folder / f"{task.name}-ours", {**task.changes, **task.ours})

    def measure(self) -> None:
        """Measures everything, round by round."""
        for turn in range(self.settings.rounds):
            order = rotated(self.frameworks, turn)
            for name in order:
                self.measure_throughput(name, turn)
            for task in self.settings.tasks:
                for name in order:
                    self.measure_target(name, task, turn)

    def measure_throughput(self, name: str, turn: int) -> None:
        """Measures steady training: with every thread count in the first round, then with the better at each size."""
        for threads in self.settings.threads:
            sizes = [size for size in self.settings.sizes if turn == 0 or self.threads(name, size) == threads]
            if sizes:
                asked = options(sizes=",".join(sizes), seconds=self.settings.seconds)
                tree = self.trees[self.settings.tasks[0].name]
                speeds = self.run_script(name, "throughput", tree, threads, asked).answer["speeds"]
                for size, speed in speeds.items():
                    row = {"round": turn, "framework": name, "size": size, "threads": threads}
                    self.throughput.append(tell({**row, "windows_per_second": speed}))

    def measure_target(self, name: str, task: Task, turn: int) -> None:
        """Measures a whole training: with every cell in the first round, then with the fastest to the target."""
        if name == "ours":
            self.keep(name, task, turn, self.train_ours(task, turn))
            return
        if turn:
            self.keep(name, task, turn, self.train_peer(name, task, best_cell(self.target, name, task.name), turn))
            return
        for cell in self.settings.cells[task.name]:
            # The grid was searched with torch's initial weights. A peer with other ones may need a few more windows.
            for rung in range(task.rung(cell), len(task.passes))[:3]:
                figures = self.train_peer(name, task, task.cell(cell.batch, cell.rate, rung), turn)
                self.keep(name, task, turn, figures)
                if figures["mse"] <= task.target:
                    break

    def keep(self, name: str, task: Task, turn: int, figures: dict[str, Any]) -> None:
        """Records a training and whether it reached the target."""
        reached = figures["mse"] <= task.target  # False for NaN
        row = {"round": turn, "framework": name, "task": task.name, "reached": reached, **figures}
        self.target.append(tell(row))

    def train_peer(self, name: str, task: Task, cell: Cell, seed: int) -> dict[str, Any]:
        """Trains a peer with a cell's settings. Scoring, in the same process, is not timed."""
        tree, threads = self.trees[task.name], self.threads(name, task.like)
        asked = options(test=tree / "data/windows/test", hidden=task.hidden, seed=seed, **cell._asdict())
        done = self.run_script(name, "target", tree, threads, asked)
        figures = figures_of(done)
        figures["seconds"] -= done.answer["scoring_seconds"]
        return {"threads": threads, **cell._asdict(), **figures, "mse": done.answer["mse"]}

    def train_ours(self, task: Task, seed: int) -> dict[str, Any]:
        """Runs the train stage, and before it the targets stage if that is a part of this project's time.

        Then scores the model in another process: the stages read no test windows.
        """
        tree, threads = self.our_trees[task.name], task.ours.get("train.threads") or self.threads("ours", task.like)
        set_params(tree, {**task.changes, **task.ours, "train.seed": seed, "train.threads": threads})
        stages = ("targets", "train") if task.counts_targets else ("train",)
        done = [run([sys.executable, "-m", f"stages.{stage}"], tree) for stage in stages]
        score = run([sys.executable, "-m", "benchmarks.frameworks.peers.ours", "score"], tree).answer
        return {"threads": threads, **figures_of(*done), **score}

    def run_script(self, name: str, mode: str, tree: Path, threads: int, asked: list[str]) -> Outcome:
        """Runs a framework's script as a process."""
        framework = FRAMEWORKS[name]
        python = Path(sys.executable) if name == "ours" else self.python
        command = [python, "-m", f"benchmarks.frameworks.peers.{framework.module}", mode]
        command += [*options(train=tree / "data/windows/train", threads=threads), *asked]
        env = {"KERAS_BACKEND": framework.backend} if framework.backend else {}
        return run(command, tree, cpus=threads if framework.on_jax else None, **env)

    def threads(self, name: str, size: str) -> int:
        """Returns the thread count that a framework keeps at a size; the largest if the size was not measured."""
        return better_threads(self.throughput, name, size) or max(self.settings.threads)


def figures_of(*done: Outcome) -> dict[str, float]:
    """Returns the seconds of processes that ran one after another, and the peak memory of the largest."""
    return {"seconds": sum(each.seconds for each in done), "peak_mb": max(each.peak_mb for each in done)}


def tell(row: dict[str, Any]) -> dict[str, Any]:
    """Prints a measurement and returns it."""
    shown = (f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items())
    print(", ".join(shown), file=sys.stderr, flush=True)
    return row


def about(python: Path) -> dict[str, Any]:
    """Returns the date, commit, machine and versions of the measurements."""
    commit = subprocess.check_output(["git", "describe", "--always", "--dirty"], cwd=PROJECT, text=True).strip()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit,
        "machine": machine(),
        "versions": {"ours": described(Path(sys.executable), PACKAGES), "peers": described(python, PACKAGES)},
    }


def measure(settings: Settings, python: Path, frameworks: Sequence[str], output: Path) -> None:
    """Measures everything and writes results.json, results.md and results.svg."""
    begun = about(python)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(settings, python, frameworks, Path(folder))
        bench.measure()
    results = {
        **begun,
        "settings": {
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "targets": {task.name: task.target for task in settings.tasks},
            "cells": {name: [cell._asdict() for cell in cells] for name, cells in settings.cells.items()},
            "ours": {task.name: task.ours for task in settings.tasks},
        },
        "summary": summarise(bench.throughput, bench.target),
        "throughput": bench.throughput,
        "target": bench.target,
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(to_json(results) + "\n")
    # In another process, so that this one stays small: see benchmarks/processes.py.
    subprocess.run([sys.executable, "-m", "benchmarks.frameworks.page", output.resolve()], cwd=PROJECT, check=True)


def search_grid(chosen: Sequence[Task], python: Path, path: Path) -> None:
    """Searches the grid with the plain torch loop and writes it to a file."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Settings(chosen, {}), python, ["torch"], Path(folder))
        found = search(chosen, lambda task, cell, seed: float(bench.train_peer("torch", task, cell, seed)["mse"]))
    write_grid(found, path, **about(python))


def main() -> None:
    """Runs the action of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", nargs="?", choices=("measure", "search"), default="measure")
    parser.add_argument("--tiny", action="store_true", help="sizes for a run of seconds; its figures mean nothing")
    names = [task.name for task in tasks()]
    parser.add_argument("--tasks", nargs="+", metavar="NAME", choices=names, help="search these only (all)")
    parser.add_argument("--frameworks", nargs="+", choices=FRAMEWORKS, default=list(FRAMEWORKS), metavar="NAME")
    parser.add_argument("--python", type=Path, default=PEERS_PYTHON, help="the peers' interpreter (%(default)s)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder of the results (%(default)s)")
    arguments = parser.parse_args()
    if not arguments.python.exists():
        sys.exit(f"{arguments.python} is missing; `make bench` makes it")
    if arguments.action == "search":
        known = tiny_tasks() if arguments.tiny else tasks()
        chosen = [task for task in known if not arguments.tasks or task.name in arguments.tasks]
        search_grid(chosen, arguments.python, arguments.output / GRID.name)
    else:
        if not arguments.tiny and not GRID.exists():
            sys.exit(f"{GRID} is missing; `python -m benchmarks.frameworks search` makes it")
        settings = tiny() if arguments.tiny else Settings(tasks(), read_grid(GRID))
        measure(settings, arguments.python, arguments.frameworks, arguments.output)


if __name__ == "__main__":
    main()
