"""Trains the recurrent family on the default task, and writes the table and the picture of docs/cells.md.

    .venv/bin/python -m benchmarks.studies.cells queue    # puts the experiments into DVC's queue
    .venv/bin/dvc queue start                             # runs them one by one; `dvc queue status` shows progress
    .venv/bin/python -m benchmarks.studies.cells collect  # their figures -> docs/cells.csv, then the page
    .venv/bin/python -m benchmarks.studies.cells time     # milliseconds a step -> docs/cells_steps.csv, then the page
    .venv/bin/python -m benchmarks.studies.cells          # the page again, from both files

DVC reports an experiment's parameters and metrics. A shared machine is faster and slower within the hour that the
experiments take. So the cost of a step is measured apart, with all networks taking turns.
"""

import math
import statistics
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.pages import write_section
from benchmarks.studies.axes import mark_decades
from benchmarks.studies.experiments import finished_experiments, run_dvc, set_params, value_at
from benchmarks.turns import take_turns, timed
from quadrature.network.device import set_up_device
from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.plotting.figures import BLUE, GREEN, ORANGE, style
from quadrature.runtime.params import load_params
from quadrature.training.batches import Batch
from quadrature.training.parts import PartGradients
from quadrature.training.state import make_optimizer
from quadrature.training.step import TrainStep
from stages.train import Params

TRIALS = Path("docs/cells.csv")
STEPS = Path("docs/cells_steps.csv")
PAGE = Path("docs/cells.md")
PICTURE = Path("docs/cells.svg")
SEEDS = "0,1"
EPOCHS = "12"
GRIDS = {
    "cells-widths": {"model.hidden_size": "8,16,32,64"},
    "cells-every": {"model.hidden_size": "32", "model.head": "every", "model.bidirectional": "false,true"},
}
"""Parameters varied beside the cell and the seed, by the name of the experiments: every combination of the choices."""

OUTPUT = {"model.output": "quadrature"}
"""What all networks of the study estimate."""

PARAMETERS = ("cell", "hidden_size", "head", "bidirectional")
LOOKS = {"rnn": (GREEN, "^"), "lstm": (BLUE, "s"), "gru": (ORANGE, "o")}
KINDS = {
    ("last", False): "last",
    ("every", False): "every,\none direction",
    ("every", True): "every,\ntwo directions",
}


def queue() -> None:
    """Queues the grids as DVC's choice sweeps, up to the evaluate stage."""
    for name, grid in GRIDS.items():
        choices = {"model.cell": ",".join(LOOKS), **OUTPUT, **grid, "train.seed": SEEDS, "train.epochs": EPOCHS}
        print(run_dvc("exp", "run", "--queue", "--name", name, *set_params(choices), "evaluate"))


def collect() -> pd.DataFrame:
    """Returns a row for each finished experiment."""
    rows = []
    for name, found in finished_experiments().items():
        if name.rpartition("-")[0] in GRIDS:
            params, test, train = (found[file] for file in ("params.yaml", "metrics/test.json", "metrics/train.json"))
            rows.append(
                {
                    **{parameter: params["model"][parameter] for parameter in PARAMETERS},
                    "seed": value_at(params, "train.seed"),
                    "parameters": train["parameters"],
                    "mse": test["mse"],
                    "excess": test["excess"],
                }
            )
    if not rows:
        sys.exit("the current commit has no experiment of these grids; do not commit between queue and collect")
    return pd.DataFrame(rows).sort_values([*PARAMETERS, "seed"])


def time_steps(rounds: int = 9, steps: int = 20) -> pd.DataFrame:
    """Returns the milliseconds of a training step for each network, with params.yaml's batches: medians of rounds."""
    params = load_params(Params)
    set_up_device("cpu", threads=1)
    windows = torch.randn(params.train.batch_size, 10, 1, generator=torch.Generator().manual_seed(0))
    batch = Batch(windows, windows.squeeze(-1))
    ways = {}

    def take_steps(take_step: TrainStep) -> None:
        for step in range(steps):
            take_step(batch, step, params.train.learning_rate)

    for key in pd.read_csv(TRIALS)[list(PARAMETERS)].drop_duplicates().itertuples(index=False, name=None):
        changes = dict(zip(PARAMETERS, key, strict=True))
        changes["output"] = OUTPUT["model.output"]
        network = QuadratureNetwork(params.model.model_copy(update=changes), window_length=10)
        initialize(network, params.train.seed)
        gradients = PartGradients(network, params.train, processes=params.train.threads)
        take_step = TrainStep(network, make_optimizer(network, params.train), params.train, gradients)
        ways[key] = partial(timed, partial(take_steps, take_step))
    seconds = take_turns(ways, 1 + rounds)  # the first round warms up
    rows = [(*key, 1000.0 * statistics.median(taken[1:]) / steps) for key, taken in seconds.items()]
    return pd.DataFrame(rows, columns=[*PARAMETERS, "milliseconds"])


def summarize(trials: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Returns each network's mean and standard deviation over seeds, and the milliseconds of a step."""
    excess = trials.groupby([*PARAMETERS, "parameters"])["excess"]
    summary = excess.agg(excess_mean="mean", excess_std="std", seeds="size").reset_index()
    return summary.merge(steps, how="left", on=list(PARAMETERS))


def draw(summary: pd.DataFrame) -> None:
    """Draws excess against the cost of a step for all widths, and by head for one width."""
    with style():
        figure = Figure(figsize=(9.6, 4.4))
        widths, kinds = figure.subplots(1, 2, width_ratios=(3, 2.4))
        plain = summary[summary["head"] == "last"]
        for cell, group in plain.groupby("cell"):
            points = group.sort_values("hidden_size")
            plot(widths, str(cell), points["milliseconds"], points)
            for point in points.itertuples():
                at = (point.milliseconds, point.excess_mean)
                widths.annotate(str(point.hidden_size), at, (6, 4), textcoords="offset points", fontsize="small")
        widths.set(
            xscale="log",
            xlabel="a training step of 256 windows (milliseconds, two cores)",
            ylabel="excess over the floor",
        )
        widths.set_title("Cells and widths (numbers: hidden size)")
        mark_decades(widths.xaxis)
        widths.legend()

        labels = list(KINDS.values())
        same = summary[summary["hidden_size"] == 32]
        for shift, (cell, group) in enumerate(same.groupby("cell")):
            keys = zip(group["head"], group["bidirectional"], strict=True)
            at = pd.Series([labels.index(KINDS[key]) + 0.15 * (shift - 1) for key in keys])
            plot(kinds, str(cell), at, group, joined=False)
        kinds.set_xticks(range(len(labels)), labels, fontsize="small")
        kinds.set_xlabel("head")
        kinds.set_title("Heads at hidden size 32")
        for panel in (widths, kinds):
            panel.set_yscale("log")
            mark_decades(panel.yaxis, percent=True)
        figure.savefig(PICTURE, metadata={"Date": None})


def plot(panel: Axes, cell: str, at: pd.Series, points: pd.DataFrame, joined: bool = True) -> None:
    """Draws means with the standard deviation over seeds."""
    color, marker = LOOKS[cell]
    panel.errorbar(
        at,
        points["excess_mean"],
        points["excess_std"],
        color=color,
        marker=marker,
        linestyle="-" if joined else "",
        linewidth=1,
        capsize=2,
        label=cell,
    )


def tabulate(summary: pd.DataFrame) -> str:
    """Returns the table in Markdown, the best network first."""
    lines = ["| network | head | weights | a step (ms) | excess |", "|" + "---|" * 5]
    for row in summary.sort_values("excess_mean").itertuples():
        ways = ", two directions" if row.bidirectional else ""
        lines.append(
            f"| {row.cell} {row.hidden_size}{ways} | {row.head} | {row.parameters:,} | {row.milliseconds:.3g} "
            f"| {percent(row.excess_mean, row.excess_std)} |"
        )
    return "\n".join(lines)


def percent(mean: float, spread: float) -> str:
    """Returns a mean and its spread in percent, with as many decimals as the spread justifies."""
    decimals = max(0, -math.floor(math.log10(100.0 * spread))) if spread > 0.0 else 2
    return f"{100.0 * mean:,.{decimals}f} ± {100.0 * spread:.{decimals}f} %"


def main(arguments: list[str]) -> None:
    match arguments:
        case ["queue"]:
            queue()
            return
        case ["collect"]:
            collect().to_csv(TRIALS, index=False)
        case ["time"]:
            time_steps().to_csv(STEPS, index=False, float_format="%.4g")
        case []:
            pass
        case _:
            sys.exit(__doc__)
    summary = summarize(pd.read_csv(TRIALS), pd.read_csv(STEPS))
    draw(summary)
    write_section(PAGE, "trials", tabulate(summary))


if __name__ == "__main__":
    main(sys.argv[1:])
