"""Draws curves of several runs in one picture, as SVG bytes. Needs matplotlib and pandas, no torch."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from quadrature.experiments.comparison import Setting, short_names
from quadrature.experiments.text_tables import one_line
from quadrature.plotting.error_figures import least_drawn, phase_ticks
from quadrature.plotting.figures import BLUE, GREEN, GREY, MSE, ORANGE, plain_powers, style, svg
from quadrature.reporting.page import spelled
from quadrature.runtime.errors import DataError

PINK = "#CC79A7"
LOOKS = [(color, line) for line, color in product(("-", "--"), (BLUE, ORANGE, GREEN, PINK))]
"""Line colours and styles, one for each setting: distinct for colour-blind readers, and in print."""

MAX_LABEL_LENGTH = 48
"""Characters of a label."""

Tables = Mapping[str, pd.DataFrame]
"""A run's tables by name, from runs.read_tables."""


class Overlay(NamedTuple):
    """A table in metrics/, the columns of its two axes, and their labels."""

    table: str
    across: str
    column: str
    label: str
    title: str


OVERLAYS = (
    Overlay("history", "epoch", "validation_mse", "epoch", "Learning curves: error on validation windows"),
    Overlay("error_by_position", "position", "prediction", "sample in the window", "Error by position"),
    Overlay("error_by_frequency", "frequency", "prediction", "frequency (relative, or Hz)", "Error by frequency"),
    Overlay("error_by_phase", "phase", "prediction", "phase of the first sample (radians)", "Error by phase"),
)


class Drawing(NamedTuple):
    """A picture as SVG bytes, and its content in words."""

    content: bytes
    words: str


def choose(settings: Sequence[Setting]) -> list[Setting]:
    """Returns the best settings of the reference's task, one for each of LOOKS, with the reference among them."""
    (reference,) = (setting for setting in settings if setting.is_reference)
    same_task = [setting for setting in settings if setting.task == reference.task]
    best = same_task[: len(LOOKS)]
    return best if any(each.is_reference for each in best) else [*best[:-1], reference]


def look_of(setting: Setting, shown: Sequence[Setting]) -> tuple[str, str] | None:
    """Returns the colour and style of a setting's curves, None if it is not among those shown."""
    return next((look for each, look in zip(shown, LOOKS, strict=False) if each is setting), None)


def label(setting: Setting) -> str:
    """Returns the parameters in which a setting differs from the others, in one line; its name if they are too long.

    Cut to length, the parameters of several settings would be the same.
    """
    names = short_names([*setting.varied])
    varied = ", ".join(f"{names[name]} {spelled(value)}" for name, value in setting.varied.items())
    mark = " (reference)" if setting.is_reference else ""
    room = MAX_LABEL_LENGTH - len(mark)
    text = one_line(varied)
    if not 0 < len(text) <= room:
        text = one_line(setting.name)
    return (text if len(text) <= room else f"{text[: room - 1]}…") + mark


def draw(settings: Sequence[Setting], tables: Sequence[Sequence[Tables]]) -> Iterator[Drawing]:
    """Yields a picture for each table that a run has: bold lines are means over a setting's runs, thin lines are runs.

    `tables` holds the tables of each run of each setting, in order. The lines have no legend: dots.draw has it. Raises
    DataError if a table lacks a column that the plot stage writes.
    """
    for setting, runs in zip(settings, tables, strict=True):
        for run, found in zip(setting.runs, runs, strict=True):
            _check(run.name, found)
    for overlay in OVERLAYS:
        curves = [
            (label(setting), _curves([run[overlay.table] for run in runs if overlay.table in run], overlay))
            for setting, runs in zip(settings, tables, strict=True)
        ]
        floors = [
            run[overlay.table].set_index(overlay.across)["posterior_mean"].dropna()
            for setting, runs in zip(settings, tables, strict=True)
            for run in runs[:1]
            if setting.is_reference and "posterior_mean" in run.get(overlay.table, ())
        ]
        if any(lines for _, lines in curves):
            ends = [f"{name}: {lines[0].iloc[-1]:.3g} at the right end" for name, lines in curves if lines]
            words = f"{overlay.title}, mean squared error. {'; '.join(ends)}."
            yield Drawing(_draw(overlay, [lines for _, lines in curves], floors), words)


def _check(run: str, tables: Tables) -> None:
    for overlay in OVERLAYS:
        if (table := tables.get(overlay.table)) is None:
            continue
        floor = ["posterior_mean"] if "posterior_mean" in table else []
        for name in (overlay.across, overlay.column, *floor):
            if not len(table) or name not in table or not pd.api.types.is_numeric_dtype(table[name]):
                raise DataError(
                    f"metrics/{overlay.table}.csv of {run} has no numbers in the column {name}; run `dvc repro` there"
                )


def _curves(tables: Sequence[pd.DataFrame], overlay: Overlay) -> list[pd.Series]:
    """Returns a setting's curves: the mean over its runs, then each run's. No mean if the runs' positions differ."""
    single = [table.set_index(overlay.across)[overlay.column] for table in tables]
    if any(not each.index.equals(single[0].index) for each in single):
        return single  # each seed's windows have their own range of frequencies
    return [pd.concat(single, axis=1).mean(axis=1), *single] if single else []


def _draw(overlay: Overlay, curves: Sequence[Sequence[pd.Series]], floors: Sequence[pd.Series]) -> bytes:
    with style():
        figure = Figure(figsize=(5.4, 3.6))
        panel = figure.subplots()
        least = least_drawn([*(values for lines in curves for values in lines), *floors])
        for lines, (color, line) in zip(curves, LOOKS, strict=False):
            for thin, values in enumerate(lines):
                width, alpha = (0.7, 0.35) if thin else (1.8, 1.0)
                panel.plot(values.index, values.clip(least), line, color=color, linewidth=width, alpha=alpha)
        for floor in floors:
            if len(floor):
                panel.plot(floor.index, floor.clip(least), ":", color=GREY, label="floor")
        panel.set(xlabel=overlay.label, ylabel=MSE, title=overlay.title, yscale="log")
        plain_powers(panel.yaxis)
        if overlay.table == "error_by_phase":
            phase_ticks(panel)
        if any(len(floor) for floor in floors):
            panel.legend(loc="best")
        return svg(figure)
