"""The pictures of a run, as SVG bytes that are the same for the same data. matplotlib and pandas, no torch.

Colours are Okabe and Ito's, told apart by colour-blind readers; lines differ in style as well, for print.
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, NamedTuple

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

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"


class Look(NamedTuple):
    """How an estimate is drawn."""

    label: str
    color: str
    linestyle: str
    marker: str


ESTIMATES = {
    "hilbert": Look("Hilbert transform", GREY, ":", "v"),
    "least_squares": Look("least squares", GREEN, "-.", "s"),
    "prediction": Look("network", ORANGE, "-", "o"),
    "posterior_mean": Look("floor", BLUE, "--", ""),
}
"""The estimates in data/predictions.parquet, in the order of the legend."""

_MSE = "mean squared error"
_ROUNDING = 1e-17
"""What is drawn for an error of nothing, which a logarithmic axis does not have: less than float32 can show of 1."""


class PlotParams(Section):
    """The `plot` section."""

    windows: Annotated[int, Field(ge=1, le=48)]  # test windows drawn
    bins: Annotated[int, Field(ge=1, le=1000)]  # intervals of frequency and of phase


def learning_curves(history: Sequence[Record]) -> bytes:
    """Draws the mean squared errors and the learning rate over the epochs."""
    epochs = [record.epoch for record in history]
    marker = "o" if len(history) < 20 else ""
    with style():
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
    with style():
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
    columns = _comparable(columns)
    with style():
        figure = Figure(figsize=(6.4, 4.2))
        panel = figure.subplots()
        for name in ESTIMATES:
            errors = pd.DataFrame(_squared_error(columns, name)).mean()
            _draw(panel, name, errors.index + 1, errors)
        panel.set(xlabel="sample in the window", ylabel=_MSE, title="Error by position", yscale="log")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=len(ESTIMATES))
        return _svg(figure)


def error_by_signal(columns: Columns, params: PlotParams) -> bytes:
    """Draws the mean squared error over windows alike in frequency, and alike in phase."""
    columns = _comparable(columns)
    errors = pd.DataFrame({name: _squared_error(columns, name).mean(axis=1) for name in ESTIMATES})
    with style():
        figure = Figure(figsize=(8.4, 4.2))
        by_frequency, by_phase = figure.subplots(1, 2, sharey=True)
        _binned(by_frequency, errors, columns["frequency"], params.bins)
        by_frequency.set(xlabel="frequency (relative)", ylabel=_MSE, title="Error by frequency", yscale="log")
        _binned(by_phase, errors, _wrapped(columns["phase"]), params.bins)
        by_phase.set(xlabel="phase of the first sample (radians)", xlim=(0.0, 2.0 * np.pi), title="Error by phase")
        by_phase.set_xticks(np.pi * np.arange(0.0, 2.5, 0.5), ["0", "π/2", "π", "3π/2", "2π"])
        figure.legend(*by_phase.get_legend_handles_labels(), loc="outside lower center", ncols=len(ESTIMATES))
        return _svg(figure)


def _wrapped(phase: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns phases within [0, 2 pi); one that rounding left a hair below a full turn is 0."""
    wrapped = np.mod(phase, 2.0 * np.pi)
    return np.where(2.0 * np.pi - wrapped < 1e-6, 0.0, wrapped)


def _binned(panel: Axes, errors: pd.DataFrame, quantity: NDArray[np.floating], bins: int) -> None:
    """Draws each bin's mean at its middle; a quantity that does not vary has one bin."""
    groups = errors.groupby(pd.Series(pd.cut(quantity, bins if np.ptp(quantity) else 1)), observed=True)
    means = groups.mean()
    for name in ESTIMATES:
        _draw(panel, name, [interval.mid for interval in means.index], means[name])


def _draw(panel: Axes, name: str, at: Sequence[float] | pd.Index, errors: pd.Series) -> None:
    """Draws an estimate's errors; windows without a floor have none to draw."""
    look = ESTIMATES[name]
    if errors.notna().any():
        panel.plot(
            at,
            errors.clip(_ROUNDING),
            label=look.label,
            color=look.color,
            linestyle=look.linestyle,
            marker=look.marker,
            markersize=4,
        )


def _comparable(columns: Columns) -> Columns:
    """Returns the windows that have a floor, where some but not all do, so that every line is of the same ones."""
    known = ~np.isnan(columns["posterior_mean"]).any(axis=1)
    return {name: values[known] for name, values in columns.items()} if known.any() else columns


def _squared_error(columns: Columns, name: str) -> NDArray[np.float64]:
    """Returns the squared errors of an estimate, (windows, window_length), not numbers where a window has none."""
    error: NDArray[np.float64] = columns[name].astype(np.float64) - columns["target"]
    return np.square(error)


def _describe(columns: Columns, index: int) -> str:
    return f"frequency {columns['frequency'][index]:.2f}, phase {_wrapped(columns['phase'])[index]:.2f}"


@contextmanager
def style() -> Iterator[None]:
    """Sets matplotlib up for the project's pictures, whatever its user's settings, and back again."""
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
