"""Defines the bench's tasks and makes copies of the project with their parameters and windows."""

import compileall
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import yaml

from benchmarks.processes import PROJECT, run
from benchmarks.task import FLOOR_MSE, PARAMETERS

Changes = Mapping[str, object]
"""Parameters by their dotted paths."""

POSTERIOR: Changes = {"targets.kind": "posterior_mean"}
WINDOWS = 2**20  # of the default task
DEFAULT: Changes = {"generate.windows.train": WINDOWS}
GIVEN_WINDOWS = 2**17
GIVEN: Changes = {"generate.windows.train": GIVEN_WINDOWS, **POSTERIOR}
ARTICLE: Changes = {
    "generate.source": None,
    "generate.hop": None,
    "generate.windows": {"train": 100, "validation": 100, "test": 100},
    "generate.length": 10,
    "generate.span": 3.141592653589793,
    "generate.rate": None,
    "generate.phase": "consecutive",
    "generate.frequency": {"low": 1.0, "high": 1.0},
    "generate.amplitude": {"low": 1.0, "high": 1.0},
    "generate.noise_std": 0.0,
}
"""The article's windows; a test compares them with those of `make article`."""

OURS_DEFAULT: Changes = {
    **POSTERIOR,
    "generate.windows.train": 32768,
    "generate.shard_windows": 32768,
    "train.epochs": 3,
    "train.learning_rate": 0.06,
    "train.validations_per_epoch": 1,
}
OURS_ARTICLE: Changes = {
    "model.hidden_size": 16,
    "train.epochs": 52,
    "train.batch_size": 20,
    "train.optimizer": "adam",
    "train.learning_rate": 0.04,
    "train.gradient_clip": None,
    "train.validations_per_epoch": 1,
    "train.gradient_shards": 1,  # a batch of twenty windows is too small to share
    "train.threads": 1,
}
"""Changes to the project's parameters for the train stage, found by hand as the grid finds the peers' settings."""


class Cell(NamedTuple):
    """The settings of a peer's training: the first `windows` of the task, `epochs` times."""

    batch: int
    rate: float
    windows: int
    epochs: int


class Task(NamedTuple):
    """Windows to learn, and the target that ends the race."""

    name: str
    title: str
    hidden: int
    like: str  # the size of the throughput table that gives the thread count
    target: float  # mse on the test windows
    windows: int
    changes: Changes  # to the project's own parameters, for the windows
    ours: Changes  # further ones, for the train stage
    passes: tuple[int, ...]  # the ladder of the search: windows trained on, over all epochs
    given: bool = False  # whether everyone trains toward posterior means that were made beforehand

    @property
    def counts_targets(self) -> bool:
        """Whether the time of this project includes the targets stage: peers train toward the windows' own targets."""
        return not self.given and POSTERIOR.items() <= self.ours.items()

    def cell(self, batch: int, rate: float, rung: int) -> Cell:
        """Returns the cell of a rung: whole batches, and several epochs only if the task has too few windows."""
        epochs = -(-self.passes[rung] // self.windows)
        batch = min(batch, self.windows)
        return Cell(batch, rate, max(self.passes[rung] // epochs // batch, 1) * batch, epochs)

    def rung(self, cell: Cell) -> int:
        """Returns the rung of a cell found by the search."""
        return next(rung for rung in range(len(self.passes)) if self.cell(cell.batch, cell.rate, rung) == cell)


def ladder(first: int, last: int, factor: float = 1.25) -> tuple[int, ...]:
    """Returns numbers from the first up to the last, each larger by a factor than the one before."""
    rungs = [first]
    while rungs[-1] * factor <= last:
        rungs.append(round(rungs[-1] * factor))
    return tuple(rungs)


def tasks() -> list[Task]:
    """Returns the default task and the article's."""
    passes, target = ladder(2**19, 3 * 2**20), 1.05 * FLOOR_MSE
    default = Task("default", "default task", 64, "64x1024", target, WINDOWS, DEFAULT, OURS_DEFAULT, passes)
    given = Task(
        "given", "default task, posterior means given", 64, "64x1024", target, GIVEN_WINDOWS, GIVEN, OURS_DEFAULT,
        ladder(2**18, 2**21), given=True,
    )  # fmt: skip
    article = Task(
        "article", "article's windows", 16, "16x32", 2e-11, 100, ARTICLE, OURS_ARTICLE, ladder(5_000, 100_000)
    )
    return [default, given, article]


def tiny_tasks() -> list[Task]:
    """Returns the default task in a size for which the whole bench takes seconds."""
    small = {"generate.windows": {"train": 2048, "validation": 128, "test": 128}}
    ours = {"model.hidden_size": 8, "train.epochs": 1, "train.batch_size": 64, "train.validations_per_epoch": 1}
    return [Task("default", "default task", 8, "8x64", 0.6, 2048, small, ours, (2048,))]


def make_tree(folder: Path, changes: Changes) -> Path:
    """Copies the code to a folder, changes its parameters, and makes its windows and targets; returns the folder."""
    for package in ("benchmarks", "quadrature", "stages"):
        shutil.copytree(PROJECT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        # Processes are timed from their start. Compile for them, as they may not be allowed to write bytecode.
        compileall.compile_dir(folder / package, quiet=1)
    set_params(folder, changes)
    for stage in ("generate", "targets"):
        run([sys.executable, "-m", f"stages.{stage}"], folder)
    return folder


def give_targets(tree: Path) -> None:
    """Puts the posterior means in place of the training windows' clean targets, for peers, which read windows alone."""
    for path in sorted((tree / "data/windows/train").glob("*.parquet")):
        windows = pq.read_table(path, columns=["input"])
        means = pq.read_table(tree / "data/targets/train" / path.name, columns=["target"])
        pq.write_table(windows.append_column("target", means["target"]), path)


def set_params(folder: Path, changes: Changes) -> None:
    """Writes params.yaml with the project's own parameters, clean targets of the quadrature alone, and some changes."""
    tree: dict[str, Any] = yaml.safe_load(PARAMETERS.read_text())
    for path, value in {"device": "cpu", "targets.kind": "clean", "model.output": "quadrature", **changes}.items():
        *sections, key = path.split(".")
        section = tree
        for name in sections:
            section = section[name]
        section[key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
