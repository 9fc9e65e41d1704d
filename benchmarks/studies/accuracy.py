"""Runs trials as DVC experiments, and writes the table and the picture of docs/accuracy.md.

    .venv/bin/python -m benchmarks.studies.accuracy NAME model.hidden_size=32 train.epochs=4  # adds a trial
    .venv/bin/python -m benchmarks.studies.accuracy                    # writes the page again from docs/accuracy.csv

A trial is an experiment of `dvc exp run --temp` with a name and some changes to params.yaml. DVC reports its parameters
and metrics. Its seconds are those that the train stage logs, so nothing else should run meanwhile.
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.pages import write_section
from benchmarks.studies.axes import mark_decades
from benchmarks.studies.experiments import finished_experiments, run_dvc, training_seconds, value_at
from quadrature.plotting.figures import BLUE, GREEN, GREY, ORANGE, style

TRIALS = Path("docs/accuracy.csv")
PAGE = Path("docs/accuracy.md")
PICTURE = Path("docs/accuracy.svg")
PARAMETERS = {
    "targets": "targets.kind",
    "cell": "model.cell",
    "hidden_size": "model.hidden_size",
    "head": "model.head",
    "output": "model.output",
    "bidirectional": "model.bidirectional",
    "optimizer": "train.optimizer",
    "learning_rate": "train.learning_rate",
    "schedule": "train.schedule",
    "batch_size": "train.batch_size",
    "windows": "generate.windows.train",
    "epochs": "train.epochs",
    "seed": "train.seed",
}
METRICS = ("mse", "floor_mse", "excess", "excess_standard_error")
COLORS = {("clean", "adam"): ORANGE, ("clean", "soap"): BLUE, ("posterior_mean", "soap"): GREEN}
"""By targets and optimizer."""
HIDDEN_SIZE = 64
"""Of most trials."""
MARKERS = {"gru": "o", "lstm": "s", "rnn": "^"}


def try_out(name: str, changes: list[str]) -> dict[str, object]:
    """Runs a trial up to the evaluate stage; returns its row of the table."""
    options = [word for change in changes for word in ("--set-param", change)]
    log = run_dvc("exp", "run", "--temp", "--force", "--name", name, *options, "evaluate")
    found = finished_experiments()[name]
    return {
        "name": name,
        **{column: value_at(found["params.yaml"], path) for column, path in PARAMETERS.items()},
        "seconds": training_seconds(log),
        **{metric: found["metrics/test.json"][metric] for metric in METRICS},
    }


def draw(trials: pd.DataFrame) -> None:
    """Draws excess against training seconds, a point for each trial."""
    with style():
        figure = Figure(figsize=(7.2, 4.6))
        panel = figure.subplots()
        for (targets, optimizer, cell), group in trials.groupby(["targets", "optimizer", "cell"]):
            color, marker = COLORS[targets, optimizer], MARKERS[cell]
            panel.errorbar(
                group["seconds"],
                group["excess"],
                group["excess_standard_error"],
                fmt=marker,
                color=color,
                capsize=2,
                linewidth=1,
                label=f"{cell}, {optimizer}, {targets.replace('_', ' ')}",
            )
            for _, trial in group.iterrows():
                if trial["hidden_size"] != HIDDEN_SIZE:
                    panel.annotate(
                        f"{trial['hidden_size']} units",
                        (trial["seconds"], trial["excess"]),
                        (6, 4),
                        textcoords="offset points",
                        fontsize="small",
                    )
        panel.axhline(0.005, color=GREY, linestyle=":", linewidth=1, label="the gate's mark, 0.5 %")  # gates.yaml
        panel.set(xscale="log", yscale="log", xlabel="training (seconds, two cores)", ylabel="excess over the floor")
        panel.set_title(f"What the default task costs ({HIDDEN_SIZE} units, if no number says another)")
        mark_decades(panel.xaxis)
        mark_decades(panel.yaxis, percent=True)
        panel.legend()
        figure.savefig(PICTURE, metadata={"Date": None})


def tabulate(trials: pd.DataFrame) -> str:
    """Returns the table in Markdown, the best trial first."""
    lines = [
        "| network | seed | targets | optimizer, rate, schedule | windows x epochs, batch | seconds | excess |",
        "|" + "---|" * 7,
    ]
    for _, trial in trials.sort_values("excess").iterrows():
        ways = ", two directions" if trial["bidirectional"] else ""
        head = ", head every" if trial["head"] == "every" else ""
        lines.append(
            f"| {trial['cell']} {trial['hidden_size']}{ways}{head}, {trial['output']} | {trial['seed']} "
            f"| {trial['targets'].replace('_', ' ')} "
            f"| {trial['optimizer']}, {trial['learning_rate']:g}, {trial['schedule']} "
            f"| {trial['windows']:,} x {trial['epochs']}, {trial['batch_size']} | {trial['seconds']:.0f} "
            f"| {100 * trial['excess']:.2f} ± {100 * trial['excess_standard_error']:.2f} % |"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    trials = pd.read_csv(TRIALS) if TRIALS.exists() else pd.DataFrame()
    if arguments:
        name, *changes = arguments
        trial = pd.DataFrame([try_out(name, changes)])
        trials = pd.concat([trials[trials["name"] != name] if len(trials) else trials, trial], ignore_index=True)
        trials.to_csv(TRIALS, index=False)
    draw(trials)
    write_section(PAGE, "trials", tabulate(trials))


if __name__ == "__main__":
    main(sys.argv[1:])
