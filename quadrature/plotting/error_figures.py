"""The pictures of a run's errors by position, frequency and phase, from the tables of error_tables. No torch."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from quadrature.plotting.figures import BLUE, GREEN, GREY, MSE, ORANGE, plain_powers, style, svg
from quadrature.plotting.time_axis import TimeAxis


class CurveStyle(NamedTuple):
    """How an estimate is drawn."""

    label: str
    color: str
    linestyle: str
    marker: str


ESTIMATES = {
    "hilbert": CurveStyle("Hilbert transform", GREY, ":", "v"),
    "least_squares": CurveStyle("least squares", GREEN, "-.", "s"),
    "prediction": CurveStyle("network", ORANGE, "-", "o"),
    "posterior_mean": CurveStyle("floor", BLUE, "--", ""),
}
"""The estimates in data/predictions.parquet, in the order of the legend."""

ROUNDING = 1e-17
"""The least error drawn, relative to the largest beside it. A logarithmic axis cannot show 0."""


def error_by_position(errors: pd.DataFrame) -> bytes:
    """Draws the table `position` of error_tables.make_tables: the mean squared error at each sample of the window."""
    with style():
        figure = Figure(figsize=(5.4, 5.2 if _has_excess(errors) else 4.0))
        (panels,) = _columns(figure, [errors])
        panels[0].set(ylabel=MSE, title="Error by position", yscale="log")
        plain_powers(panels[0].yaxis)
        panels[-1].set(xlabel="sample in the window")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return svg(figure)


def error_by_signal(
    by_frequency: pd.DataFrame, by_phase: pd.DataFrame, axis: TimeAxis, *, narrow: bool = False
) -> bytes:
    """Draws the tables `frequency` and `phase` of error_tables.make_tables side by side, or one below the other."""
    with style():
        height = 5.4 if _has_excess(by_frequency) else 4.2
        if narrow:
            figure = Figure(figsize=(4.4, 2.0 * height - 0.6))
            upper, lower = figure.subfigures(2, 1, squeeze=False).flat
            (left,), (right,) = _columns(upper, [by_frequency]), _columns(lower, [by_phase])
            right[0].set(ylabel=MSE, yscale="log")
            plain_powers(right[0].yaxis)
        else:
            figure = Figure(figsize=(8.4, height))
            left, right = _columns(figure, [by_frequency, by_phase])
        left[0].set(ylabel=MSE, title="Error by frequency", yscale="log")
        plain_powers(left[0].yaxis)
        left[-1].set(xlabel=axis.frequency_label)
        right[0].set(title="Error by phase")
        right[-1].set(xlabel="phase of the first sample (radians)")
        phase_ticks(right[-1])
        columns = 2 if narrow else len(ESTIMATES)
        figure.legend(*right[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
        return svg(figure)


def error_by_size(shares: pd.DataFrame) -> bytes:
    """Draws the table `size` of error_tables.make_tables: the share of samples whose error is larger."""
    with style():
        figure = Figure(figsize=(5.4, 4.0))
        panel = figure.subplots()
        for name, look in ESTIMATES.items():
            some = shares[name][shares[name] > 0.0]
            if len(some):
                panel.plot(some.index, some, **{**look._asdict(), "marker": ""})
        panel.set(
            xlabel="error (units of the input)", ylabel="share of samples with a larger error",
            title="Sizes of errors", xscale="log", yscale="log",
        )  # fmt: skip
        plain_powers(panel.xaxis)
        plain_powers(panel.yaxis)
        figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return svg(figure)


def _has_excess(errors: pd.DataFrame) -> bool:
    return bool(errors["excess"].notna().any())


def _columns(figure: FigureBase, tables: Sequence[pd.DataFrame]) -> list[list[Axes]]:
    """Draws each table in a column: its errors and, where there is a floor, the excess over it below them."""
    heights = (2, 1) if _has_excess(tables[0]) else (1,)
    grid = figure.subplots(len(heights), len(tables), sharex="col", sharey="row", squeeze=False, height_ratios=heights)
    for errors, column in zip(tables, grid.T, strict=True):
        _draw(column[0], errors)
        for panel in column[1:]:
            panel.plot(errors.index, 100.0 * errors["excess"], color=ORANGE, marker="o", markersize=4)
            panel.margins(y=0.15)
            panel.set_ylim(0.0)
    for panel in grid[1:, 0]:
        panel.set_ylabel("excess (%)")
    return [list(column) for column in grid.T]


def least_drawn(errors: Iterable[pd.Series]) -> float:
    """Returns the error drawn in place of smaller ones on a logarithmic axis that shows all of `errors`."""
    return ROUNDING * (max((float(each.max()) for each in errors if each.notna().any()), default=0.0) or 1.0)


def phase_ticks(panel: Axes) -> None:
    """Sets a horizontal axis to one turn of phase, with ticks at the quarters."""
    panel.set_xticks(np.pi * np.arange(0.0, 2.5, 0.5), ["0", "π/2", "π", "3π/2", "2π"])
    panel.set_xlim(0.0, 2.0 * np.pi)  # after set_xticks, which can widen the limits


def _draw(panel: Axes, errors: pd.DataFrame) -> None:
    """Draws a line for each estimate with errors; without a floor there are none for it."""
    least = least_drawn(errors[name] for name in ESTIMATES)
    for name, look in ESTIMATES.items():
        if errors[name].notna().any():
            panel.plot(errors.index, errors[name].clip(least), markersize=4, **look._asdict())
