"""The pictures of a run, as SVG bytes that are the same for the same data. matplotlib and pandas, no torch.

Colours are Okabe and Ito's, told apart by colour-blind readers; lines differ in style as well, for print.
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pydantic import Field

from quadrature.history import Record
from quadrature.params import Section
from quadrature.windows import Columns

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"

_MSE = "mean squared error"


class PlotParams(Section):
    """The `plot` section."""

    windows: Annotated[int, Field(ge=1, le=48)]  # test windows drawn
    bins: Annotated[int, Field(ge=1, le=1000)]  # intervals of frequency and of phase


def learning_curves(history: Sequence[Record]) -> bytes:
    """Draws the mean squared errors and the learning rate over the epochs."""
    epochs = [record.epoch for record in history]
    marker = "o" if len(history) < 20 else ""
    with _style():
        figure = Figure(figsize=(6.4, 4.8))
        errors, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        errors.semilogy(
            epochs, [record.train_mse for record in history], color=BLUE, marker=marker, label="train (running mean)"
        )
        errors.semilogy(
            epochs, [record.validation_mse for record in history], "--", color=ORANGE, marker=marker, label="validation"
        )
        errors.set(ylabel=_MSE, title="Learning curves")
        errors.legend()
        rates.plot(epochs, [record.learning_rate for record in history], color=GREY, marker=marker)
        rates.set(xlabel="epoch", ylabel="learning rate", ylim=(0.0, None))
        return _svg(figure)


def predictions(columns: Columns, params: PlotParams, span: float) -> bytes:
    """Draws the first test windows: input samples, true quadrature component, the network's estimate."""
    count = min(params.windows, len(columns["input"]))
    width = min(4, count)
    height = math.ceil(count / width)
    with _style():
        figure = Figure(figsize=(max(2.3 * width, 4.6) + 0.4, 1.8 * height + 0.7))
        panels = figure.subplots(height, width, sharex=True, sharey=True, squeeze=False)
        instants = np.linspace(0.0, span, columns["input"].shape[1])
        for index, panel in enumerate(panels.flat):
            if index >= count:
                panel.axis("off")
                continue
            panel.plot(instants, columns["input"][index], "o", color=GREY, markersize=3.5, label="input: sine samples")
            panel.plot(instants, columns["target"][index], color=BLUE, label="target: cosine")
            panel.plot(instants, columns["prediction"][index], "--", color=ORANGE, label="estimate")
            panel.set_title(_describe(columns, index), fontsize="small")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        figure.supxlabel("instant (radians, at frequency 1)")
        figure.supylabel("signal (units of the input)")
        return _svg(figure)


def error_by_position(columns: Columns) -> bytes:
    """Draws the mean squared error at each sample of the window."""
    errors = _squared_error(columns).mean(axis=0)
    with _style():
        figure = Figure(figsize=(6.4, 3.6))
        panel = figure.subplots()
        panel.plot(np.arange(1, len(errors) + 1), errors, "o-", color=ORANGE, label="network")
        panel.set(xlabel="sample in the window", ylabel=_MSE, title="Error by position")
        panel.set_ylim(bottom=0.0)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.legend()
        return _svg(figure)


def error_by_signal(columns: Columns, params: PlotParams) -> bytes:
    """Draws the mean squared error over windows alike in frequency, and alike in phase."""
    table = pd.DataFrame(
        {
            "frequency": columns["frequency"],
            "phase": _wrapped(columns["phase"]),
            "network": _squared_error(columns).mean(axis=1),
        }
    )
    with _style():
        figure = Figure(figsize=(8.4, 3.6))
        by_frequency, by_phase = figure.subplots(1, 2, sharey=True)
        _binned(by_frequency, table, "frequency", params.bins)
        by_frequency.set(xlabel="frequency (relative)", ylabel=_MSE, title="Error by frequency")
        _binned(by_phase, table, "phase", params.bins)
        by_phase.set(xlabel="phase of the first sample (radians)", xlim=(0.0, 2.0 * np.pi), title="Error by phase")
        by_phase.set_xticks(np.pi * np.arange(0.0, 2.5, 0.5), ["0", "π/2", "π", "3π/2", "2π"])
        by_frequency.set_ylim(0.0, 1.05 * by_frequency.get_ylim()[1])
        by_frequency.legend()
        return _svg(figure)


def _wrapped(phase: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns phases within [0, 2 pi); one that rounding left a hair below a full turn is 0."""
    wrapped = np.mod(phase, 2.0 * np.pi)
    return np.where(2.0 * np.pi - wrapped < 1e-6, 0.0, wrapped)


def _binned(panel: Axes, table: pd.DataFrame, quantity: str, bins: int) -> None:
    """Draws each bin's mean at its middle; a quantity that does not vary has one bin."""
    groups = table.groupby(pd.cut(table[quantity], bins if np.ptp(table[quantity]) else 1), observed=True)
    means = groups["network"].mean()
    panel.plot([interval.mid for interval in means.index], means, "o-", color=ORANGE, markersize=4, label="network")


def _squared_error(columns: Columns) -> NDArray[np.float64]:
    error: NDArray[np.float64] = columns["prediction"].astype(np.float64) - columns["target"]
    return np.square(error)


def _describe(columns: Columns, index: int) -> str:
    return f"frequency {columns['frequency'][index]:.2f}, phase {_wrapped(columns['phase'])[index]:.2f}"


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()  # so that a reader's matplotlibrc does not change the bytes
        mpl.rc("axes", grid=True, titlesize="medium")
        mpl.rc("axes.formatter", limits=(-2, 4), use_mathtext=True)
        mpl.rc("axes.spines", right=False, top=False)
        mpl.rc("figure.constrained_layout", use=True)
        mpl.rc("font", family="DejaVu Sans")  # comes with matplotlib, so the glyphs do not depend on the machine
        mpl.rc("grid", alpha=0.3)
        mpl.rc("legend", frameon=False)
        mpl.rc("lines", linewidth=1.6)
        mpl.rc("svg", hashsalt="quadrature")  # element ids are drawn at random without it
        yield


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
