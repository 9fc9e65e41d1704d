"""Tries configurations as DVC experiments, and makes the table and the picture of docs/accuracy.md of what they reach.

    .venv/bin/python -m benchmarks.accuracy NAME model.hidden_size=32 train.epochs=4  # one trial more
    .venv/bin/python -m benchmarks.accuracy                    # the page again, from docs/accuracy.csv

A trial is an experiment of `dvc exp run --temp` under the name given, with params.yaml so changed. Its parameters and
metrics are what DVC says of it; its seconds are those that the train stage logs, so nothing else should be running.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter

TRIALS = Path("docs/accuracy.csv")
PAGE = Path("docs/accuracy.md")
PICTURE = Path("docs/accuracy.svg")
PARAMETERS = {
    "cell": "model.cell",
    "hidden_size": "model.hidden_size",
    "head": "model.head",
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
LOOKS = {("adam", "gru"): ("#D55E00", "o"), ("adam", "lstm"): ("#D55E00", "s"), ("adam", "rnn"): ("#D55E00", "^")}
LOOKS |= {("soap", cell): ("#0072B2", marker) for (_, cell), (_, marker) in LOOKS.items()}
BEGIN, END = "<!-- trials -->", "<!-- end of trials -->"


def try_out(name: str, changes: list[str]) -> dict[str, object]:
    """Runs one trial; returns its row of the table."""
    options = [word for change in changes for word in ("--set-param", change)]
    log = dvc("exp", "run", "--temp", "--force", "--name", name, *options)
    (seconds,) = re.findall(r"steps in ([\d.]+) seconds", log)
    found = json.loads(dvc("params", "diff", "HEAD", name, "--all", "--json"))["params.yaml"]
    test = json.loads(dvc("metrics", "diff", "HEAD", name, "--all", "--json"))["metrics/test.json"]
    return {
        "name": name,
        **{column: found[path]["new"] for column, path in PARAMETERS.items()},
        "seconds": float(seconds),
        **{metric: test[metric]["new"] for metric in METRICS},
    }


def dvc(*arguments: str) -> str:
    """Returns what dvc prints, with its log but where that is JSON; ends with its last words when it fails."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"dvc {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout if "--json" in arguments else done.stdout + done.stderr


def draw(trials: pd.DataFrame) -> None:
    """Draws excess against training seconds, a point a trial."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rc("svg", hashsalt="quadrature")
        mpl.rc("axes.spines", right=False, top=False)
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        panel = figure.subplots()
        for (optimizer, cell), group in trials.groupby(["optimizer", "cell"]):
            color, marker = LOOKS[optimizer, cell]
            panel.errorbar(
                group["seconds"],
                group["excess"],
                group["excess_standard_error"],
                fmt=marker,
                color=color,
                capsize=2,
                linewidth=1,
                label=f"{cell}, {optimizer}",
            )
            for _, trial in group.iterrows():
                panel.annotate(
                    str(trial["hidden_size"]),
                    (trial["seconds"], trial["excess"]),
                    (6, 4),
                    textcoords="offset points",
                    fontsize="small",
                )
        panel.axhline(0.02, color="#767676", linestyle=":", linewidth=1)
        panel.set(xscale="log", yscale="log", xlabel="training (seconds, two cores)", ylabel="excess over the floor")
        panel.set_title("What the default task costs (numbers: hidden size)", fontsize="medium")
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(ScalarFormatter())
        for axis in ("major", "minor"):
            getattr(panel.yaxis, f"set_{axis}_formatter")(PercentFormatter(1.0, decimals=0))
        panel.grid(alpha=0.3, which="both")
        panel.legend(frameon=False)
        figure.savefig(PICTURE, metadata={"Date": None})


def tabulate(trials: pd.DataFrame) -> str:
    """Returns the table in markdown, the best first."""
    lines = [
        "| network | seed | optimizer, rate, schedule | windows x epochs, batch | seconds | excess |",
        "|" + "---|" * 6,
    ]
    for _, trial in trials.sort_values("excess").iterrows():
        ways = ", two directions" if trial["bidirectional"] else ""
        head = ", head every" if trial["head"] == "every" else ""
        lines.append(
            f"| {trial['cell']} {trial['hidden_size']}{ways}{head} | {trial['seed']} "
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
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tabulate(trials)}\n\n{END}{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
