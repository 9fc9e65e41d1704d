"""Draws the figures of docs/article.md from docs/article/*.csv, which `benchmarks.studies.article measure` writes.

.venv/bin/python -m benchmarks.studies.article_figures
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from quadrature.plotting.figures import BLUE, GREEN, GREY, ORANGE, plain_powers, style

FOLDER = Path("docs/article")
TICKS = np.pi * np.arange(0.0, 2.5, 0.5), ["0", "π/2", "π", "3π/2", "2π"]


def period() -> Figure:
    """Draws a sine and a cosine over one period."""
    figure = Figure(figsize=(6.4, 3.2))
    panel = figure.subplots()
    steps = np.linspace(0.0, 2.0 * np.pi, 100)
    panel.plot(steps, np.sin(steps), color=GREY, linestyle=":", linewidth=1)
    samples = np.linspace(0.0, np.pi, 10)
    panel.plot(samples, np.sin(samples), "o", color=GREY, label="given: ten samples of the sine")
    panel.plot(steps, np.cos(steps), color=BLUE, linestyle=":", linewidth=1)
    panel.plot(samples, np.cos(samples), "s", color=BLUE, label="wanted: the cosine at the same instants")
    panel.set(xlabel="angle (radians)", ylabel="signal")
    panel.set_xticks(*TICKS)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def window() -> Figure:
    """Draws the trained network's estimate of the first window."""
    first = pd.read_csv(FOLDER / "windows.csv").query("window == 0")
    figure = Figure(figsize=(6.4, 3.2))
    panel = figure.subplots()
    angle = np.pi * first["sample"] / 9
    panel.plot(angle, first["input"], "o", color=GREY, label="input: sine samples")
    panel.plot(angle, first["target"], color=BLUE, label="target: cosine")
    panel.plot(angle, first["prediction"], "--", color=ORANGE, label="estimate")
    panel.set(xlabel="angle (radians)", ylabel="signal")
    panel.set_xticks(TICKS[0][:3], TICKS[1][:3])
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def windows() -> Figure:
    """Draws all hundred windows end to end, in four rows."""
    table = pd.read_csv(FOLDER / "windows.csv")
    half_periods = table["window"] + table["sample"] / 9
    figure = Figure(figsize=(9.6, 5.6))
    for row, panel in enumerate(figure.subplots(4, 1, sharey=True)):
        shown = (table["window"] >= 25 * row) & (table["window"] < 25 * (row + 1))
        panel.plot(half_periods[shown], table["target"][shown], color=BLUE, label="target: cosine")
        panel.plot(half_periods[shown], table["prediction"][shown], "--", color=ORANGE, label="estimate")
        panel.set_xlim(25 * row, 25 * (row + 1))
    panel.set_xlabel("angle (multiples of π; one window each)")
    figure.supylabel("signal")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def phases() -> Figure:
    """Draws the error against the phase of the window's first sample."""
    table = pd.read_csv(FOLDER / "phases.csv")
    figure = Figure(figsize=(6.4, 3.2))
    panel = figure.subplots()
    panel.plot(table["phase"], table["mse"], color=ORANGE)
    panel.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    panel.annotate("estimating zero everywhere", (np.pi / 2, 0.5), (0, 3), textcoords="offset points", ha="center")
    for angle in (0.0, np.pi, 2.0 * np.pi):
        panel.plot(angle, 0.0, "o", color=BLUE, clip_on=False)
    panel.annotate("learnt by heart", (np.pi, 0.01), (np.pi, 0.2), ha="center", arrowprops={"arrowstyle": "->"})
    panel.set(
        xlabel="phase of the window's first sample (radians)", ylabel="mean squared error", xlim=(0.0, 2.0 * np.pi)
    )
    panel.set_ylim(0.0, None)
    panel.set_xticks(*TICKS)
    return figure


def epochs() -> Figure:
    """Draws the loss over a thousand epochs, with a constant rate and with schedules."""
    table = pd.read_csv(FOLDER / "epochs.csv")
    figure = Figure(figsize=(6.4, 3.6))
    panel = figure.subplots()
    for schedule, color, line in (("constant", ORANGE, "-"), ("onecycle", BLUE, "--"), ("cosine", GREEN, "-.")):
        panel.semilogy(table["epoch"], table[schedule], line, color=color, linewidth=1, label=schedule)
    plain_powers(panel.yaxis)
    panel.axvline(100, color=GREY, linestyle=":", linewidth=1)
    panel.annotate("the article ends here", (100, 1.0), (4, -4), textcoords="offset points", va="top", fontsize="small")
    panel.set(xlabel="epoch", ylabel="mean squared error", xlim=(0, 1000))
    figure.legend(loc="outside upper center", ncols=3, title="train.schedule")
    return figure


def states() -> Figure:
    """Draws the states in `output` and in `h_n`, for two layers and six steps."""
    figure = Figure(figsize=(9.6, 3.6))
    one, two = figure.subplots(1, 2)
    layers(one, ["layer 1", "layer 2"], [False, False])
    one.set_title("one direction")
    rows = ["layer 1, forward", "layer 1, backward", "layer 2, forward", "layer 2, backward"]
    layers(two, rows, [False, True, False, True])
    two.set_title("two directions")
    handles = [
        Rectangle((0, 0), 1, 1, facecolor="white", edgecolor=GREY),
        Rectangle((0, 0), 1, 1, facecolor="#BBD9EC", edgecolor=GREY),
        Rectangle((0, 0), 1, 1, facecolor="white", edgecolor=ORANGE, linewidth=3),
    ]
    labels = ["a hidden state, (batch, hidden_size)", "in output", "in h_n"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def layers(panel: Axes, rows: list[str], backward: list[bool]) -> None:
    """Draws a row of states for each layer and direction, the last layer on top."""
    last = 2 if len(rows) == 4 else 1
    for row, back in enumerate(backward):
        final = 0 if back else 5
        for step in range(6):
            kept = "#BBD9EC" if row >= len(rows) - last else "white"
            panel.add_patch(Rectangle((step, row), 0.72, 0.62, facecolor=kept, edgecolor=GREY))
            if step < 5:
                ends = ((step + 0.74, row + 0.31), (step + 0.98, row + 0.31))
                start, end = ends[::-1] if back else ends
                panel.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": GREY})
        panel.add_patch(Rectangle((final, row), 0.72, 0.62, fill=False, edgecolor=ORANGE, linewidth=3))
        panel.text(final + 0.36, row + 0.31, f"h_n[{row}]", ha="center", va="center", fontsize="x-small")
    panel.set(xlim=(-0.2, 5.9), ylim=(-0.2, len(rows)), xlabel="step")
    panel.set_xticks(np.arange(6) + 0.36, range(1, 7))
    panel.set_yticks(np.arange(len(rows)) + 0.31, rows)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.grid(visible=False)


FIGURES = (period, window, windows, phases, epochs, states)


def main() -> None:
    with style():
        for draw in FIGURES:
            draw().savefig(FOLDER / f"{draw.__name__}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
