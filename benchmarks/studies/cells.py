"""Tries the recurrent family on the default task, and makes the table and the picture of docs/cells.md of it.

    .venv/bin/python -m benchmarks.studies.cells queue    # the experiments, into DVC's queue
    .venv/bin/dvc queue start                     # one after another; `dvc queue status` tells how far it is
    .venv/bin/python -m benchmarks.studies.cells collect  # their figures -> docs/cells.csv, then the page
    .venv/bin/python -m benchmarks.studies.cells time     # a step's cost each -> docs/cells_steps.csv, then the page
    .venv/bin/python -m benchmarks.studies.cells          # the page again, from both files

Parameters and metrics are what DVC says of an experiment, its seconds those that the train stage logged. An hour of
experiments sees a shared machine fast and slow, so what they cost beside each other is measured apart: all
networks take steps of training by turns, a few at a time.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.pages import write_section
from benchmarks.studies.experiments import finished_experiments, run_dvc, set_params, training_seconds, value_at
from quadrature.network.device import compute_alone, set_up_device
from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.plotting.figures import BLUE, GREEN, ORANGE, style
from quadrature.runtime.params import load_params
from quadrature.runtime.threads import Workers
from quadrature.training.batches import Batch
from quadrature.training.state import make_optimizer
from quadrature.training.step import TrainStep
from stages.train import Params

TRIALS = Path("docs/cells.csv")
STEPS = Path("docs/cells_steps.csv")
PAGE = Path("docs/cells.md")
PICTURE = Path("docs/cells.svg")
SEEDS = "0,1,2"
GRIDS = {
    "cells-widths": {"model.hidden_size": "8,16,32,64"},
    "cells-stepwise": {"model.hidden_size": "32", "model.execution": "stepwise"},
    "cells-every": {"model.hidden_size": "32", "model.head": "every", "model.bidirectional": "false,true"},
}
"""What is varied beside the cell and the seed, by the name of its experiments: every combination of the choices."""
PARAMETERS = ("cell", "hidden_size", "execution", "head", "bidirectional")
LOOKS = {"rnn": (GREEN, "^"), "lstm": (BLUE, "s"), "gru": (ORANGE, "o")}
KINDS = {
    ("sequence", "last", False): "last",
    ("stepwise", "last", False): "last,\nstepwise",
    ("sequence", "every", False): "every,\none direction",
    ("sequence", "every", True): "every,\ntwo directions",
}


def queue() -> None:
    """Queues the grids by DVC's own choice sweeps, up to their scores.

    Forced, as what comes from the cache takes no seconds.
    """
    for name, grid in GRIDS.items():
        choices = {"model.cell": ",".join(LOOKS), **grid, "train.seed": SEEDS}
        print(run_dvc("exp", "run", "--queue", "--force", "--name", name, *set_params(choices), "evaluate"))


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
                    "seconds": training_seconds(run_dvc("queue", "logs", name)),
                    "mse": test["mse"],
                    "excess": test["excess"],
                }
            )
    if not rows:
        sys.exit(
            "none of the current commit's experiments is of these grids; queue and collect without a commit between"
        )
    return pd.DataFrame(rows).sort_values([*PARAMETERS, "seed"])


def time_steps(rounds: int = 9, steps: int = 20) -> pd.DataFrame:
    """Returns what a step of training costs each network in params.yaml's batches: milliseconds, median over rounds."""
    params = load_params(Params)
    set_up_device("cpu", threads=1)
    windows = torch.randn(params.train.batch_size, 10, 1, generator=torch.Generator().manual_seed(0))
    batch = Batch(windows, windows.squeeze(-1))
    steps_of = {}
    workers = Workers(params.train.threads, compute_alone)
    for key in pd.read_csv(TRIALS)[list(PARAMETERS)].drop_duplicates().itertuples(index=False, name=None):
        changes = dict(zip(PARAMETERS, key, strict=True))
        network = QuadratureNetwork(params.model.model_copy(update=changes), window_length=10)
        initialize(network, params.train.seed)
        steps_of[key] = TrainStep(network, make_optimizer(network, params.train), params.train, workers)
    seconds: dict[tuple[object, ...], list[float]] = {key: [] for key in steps_of}
    for turn in range(1 + rounds):  # the first warms up
        for key, take_step in steps_of.items():
            started = time.perf_counter()
            for step in range(steps):
                take_step(batch, turn * steps + step, params.train.learning_rate)
            seconds[key].append((time.perf_counter() - started) / steps)
    rows = [(*key, 1000.0 * statistics.median(taken[1:])) for key, taken in seconds.items()]
    return pd.DataFrame(rows, columns=[*PARAMETERS, "milliseconds"])


def summarize(trials: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Returns each network's mean and standard deviation over seeds, and what a step costs it."""
    figures = trials.groupby([*PARAMETERS, "parameters"])[["seconds", "excess"]]
    summary = figures.agg(["mean", "std"])
    summary.columns = ["_".join(column) for column in summary.columns]
    summary = summary.join(figures.size().rename("seeds")).reset_index()
    return summary.merge(steps, how="left", on=list(PARAMETERS))


def draw(summary: pd.DataFrame) -> None:
    """Draws excess against a step's cost over widths, and against head and execution at one width."""
    with style():
        figure = Figure(figsize=(9.6, 4.4))
        widths, kinds = figure.subplots(1, 2, width_ratios=(3, 2.4))
        plain = summary[(summary["execution"] == "sequence") & (summary["head"] == "last")]
        for cell, group in plain.groupby("cell"):
            points = group.sort_values("hidden_size")
            plot(widths, str(cell), points["milliseconds"], points)
            for point in points.itertuples():
                at = (point.milliseconds, point.excess_mean)
                widths.annotate(str(point.hidden_size), at, (6, 4), textcoords="offset points", fontsize="small")
        widths.set(
            xscale="log",
            xlabel="a training step of 1,024 windows (milliseconds, two cores)",
            ylabel="excess over the floor",
        )
        widths.set_title("Cells and widths (numbers: hidden size)")
        spell(widths.xaxis, lambda cost: f"{cost:g}")
        widths.legend()

        labels = list(KINDS.values())
        same = summary[summary["hidden_size"] == 32]
        for shift, (cell, group) in enumerate(same.groupby("cell")):
            keys = zip(group["execution"], group["head"], group["bidirectional"], strict=True)
            at = pd.Series([labels.index(KINDS[key]) + 0.15 * (shift - 1) for key in keys])
            plot(kinds, str(cell), at, group, joined=False)
        kinds.set_xticks(range(len(labels)), labels, fontsize="small")
        kinds.set_xlabel("head, execution")
        kinds.set_title("Heads and executions at hidden size 32")
        for panel in (widths, kinds):
            panel.set_yscale("log")
            spell(panel.yaxis, lambda excess: f"{100 * excess:g} %")
        figure.savefig(PICTURE, metadata={"Date": None})


def spell(axis: Axis, label: Callable[[float], str]) -> None:
    """Marks 1, 2 and 5 of each decade of a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))
    axis.set_minor_formatter(NullFormatter())


def plot(panel: Axes, cell: str, at: pd.Series, points: pd.DataFrame, joined: bool = True) -> None:
    """Draws means with the spread over seeds."""
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
    """Returns the table in markdown, the best first."""
    lines = ["| network | head | execution | weights | a step (ms) | training (s) | excess |", "|" + "---|" * 7]
    for row in summary.sort_values("excess_mean").itertuples():
        ways = ", two directions" if row.bidirectional else ""
        lines.append(
            f"| {row.cell} {row.hidden_size}{ways} | {row.head} | {row.execution} | {row.parameters:,} "
            f"| {row.milliseconds:.3g} | {row.seconds_mean:.0f} ± {row.seconds_std:.0f} "
            f"| {percent(row.excess_mean, row.excess_std)} |"
        )
    return "\n".join(lines)


def percent(mean: float, spread: float) -> str:
    """Returns both in percent, with the decimals that the spread makes sense of."""
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
