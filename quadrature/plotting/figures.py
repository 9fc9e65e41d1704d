"""The pictures of a run as SVG. The same data give the same bytes. matplotlib and pandas, no torch.

The colours are Okabe and Ito's, which colour-blind readers can distinguish. For print, lines differ in style as well.
"""

import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation
from numpy.typing import NDArray

from quadrature.plotting.error_tables import wrapped
from quadrature.plotting.time_axis import TimeAxis
from quadrature.signals.waves import sine_and_cosine
from quadrature.storage.arrow import Columns
from quadrature.storage.history import History

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"

MSE = "mean squared error"

WIDE = 10.0
"""A ratio of values from which on their axis is logarithmic."""

WORST = 4
"""Windows with the largest errors that are drawn."""


class Chosen(NamedTuple):
    """The windows that are drawn."""

    first: Columns
    worst: Columns  # with the largest mean squared errors, the largest first
    fastest: Columns  # the one of highest frequency, which shows most of its wave; of several, the first


def choose_windows(parts: Iterable[Columns], count: int) -> Chosen:
    """Returns the first windows, `count` at most, the WORST worst ones, and the fastest. The parts are read once."""
    first: list[Columns] = []
    worst: Columns | None = None
    missing, fastest = count, None
    for part in parts:
        if missing > 0:
            first.append({name: values[:missing].copy() for name, values in part.items()})
            missing -= len(part["frequency"])
        row = [int(np.argmax(part["frequency"]))]
        if fastest is None or part["frequency"][row] > fastest["frequency"]:
            fastest = {name: values[row] for name, values in part.items()}
        worst = _worst(part) if worst is None else _worst(_joined([worst, _worst(part)]))
    assert fastest is not None  # noqa: S101, a file holds windows
    assert worst is not None  # noqa: S101, as above
    return Chosen(_joined(first), worst, fastest)


def mean_squares(windows: Columns) -> NDArray[np.float64]:
    """Returns the network's mean squared error on each window."""
    errors: NDArray[np.float64] = np.square(windows["prediction"].astype(np.float64) - windows["target"]).mean(axis=1)
    return errors


def _worst(windows: Columns) -> Columns:
    """Returns the WORST windows with the largest errors; of equal ones, the first."""
    rows = np.argsort(-mean_squares(windows), kind="stable")[:WORST]
    return {name: values[rows] for name, values in windows.items()}


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def task(window: Columns, axis: TimeAxis, *, narrow: bool = False) -> bytes:
    """Draws the task: the samples of one window, the wave they came from, and the target.

    A wave with chirp is not drawn: no column holds its chirp.
    """
    amplitude, phase, frequency = (window[name].astype(np.float64) for name in ("amplitude", "phase", "frequency"))
    finely, count = axis.instants(512), window["input"].shape[1]
    sine, cosine = (amplitude * wave[0] for wave in sine_and_cosine(phase, frequency, len(finely), axis.unit_angle))
    instants = axis.instants(count)
    expected = amplitude * sine_and_cosine(phase, frequency, count, axis.unit_angle)[1][0]
    is_described = np.allclose(expected, window["target"][0], rtol=0.0, atol=1e-3 * float(amplitude[0]))  # no chirp
    limit = max(float(amplitude[0]), float(np.abs(window["input"]).max())) or 1.0
    with style():
        figure = Figure(figsize=(4.4, 6.6) if narrow else (8.4, 3.6))
        given, asked = figure.subplots(*((2, 1) if narrow else (1, 2)), sharex=True, sharey=True)
        if is_described:
            given.plot(finely, sine, color=GREY, linewidth=1.0, alpha=0.6, label="its sine, which nobody sees")
            asked.plot(finely, sine, color=GREY, linewidth=1.0, alpha=0.6)
            asked.plot(finely, cosine, color=BLUE, linewidth=1.0, alpha=0.6, label="its cosine, a quarter turn ahead")
        given.plot(instants, window["input"][0], "o", color=GREY, label="input: sine samples")
        given.set(title="Given: a short window of samples", ylabel="signal (units of the input)")
        asked.plot(instants, window["target"][0], "s", color=BLUE, label="target: the cosine at the same instants")
        asked.set(title="Asked: the wave a quarter turn ahead")
        for panel in (given, asked):
            panel.set(xlabel=axis.label, ylim=(-1.3 * limit, 2.2 * limit))
            panel.legend(loc="upper left")
        return svg(figure)


def learning_curves(history: History, floor: float | None = None) -> bytes:
    """Draws the mean squared errors and the learning rate against the epoch.

    Against the posterior mean, the training error divided by the floor is the excess of the training windows. With a
    floor, of the components that the network estimates, it has a panel of its own: near the end, errors against the
    true wave are the floor and look flat.
    """
    records = history.records
    epochs = [record.epoch for record in records]
    marker = "o" if len(records) < 20 else ""
    train, validation = "train (running mean)", "validation"
    if history.train_target == "posterior_mean":
        train, validation = "train, against the posterior mean", "validation, against the true wave"
    excess = []
    if floor and history.train_target == "posterior_mean":
        excess = [100.0 * record.train_mse / floor for record in records]
    heights = (3, 2, 1) if excess else (3, 1)
    with style():
        figure = Figure(figsize=(5.4, 6.0 if excess else 4.4))
        errors, *_, rates = panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        errors.semilogy(epochs, [record.train_mse for record in records], color=BLUE, marker=marker, label=train)
        errors.semilogy(
            epochs, [record.validation_mse for record in records], "--", color=ORANGE, marker=marker, label=validation
        )
        errors.set(ylabel=MSE, title="Learning curves")
        plain_powers(errors.yaxis)
        errors.legend()
        if excess:
            panels[1].semilogy(epochs, excess, color=BLUE, marker=marker)
            panels[1].set(ylabel="training excess (%)")
            plain_powers(panels[1].yaxis)
        rates.plot(epochs, [record.learning_rate for record in records], color=GREY, marker=marker)
        rates.set(xlabel="epoch", ylabel="learning rate", ylim=(0.0, None))
        return svg(figure)


def predictions(columns: Columns, axis: TimeAxis, *, narrow: bool = False, errors: bool = False) -> bytes:
    """Draws windows: input samples, target, and the network's estimates; of the sine, too, if it has one.

    With `errors`, a panel's title has the window's mean squared error in place of its phase.
    """
    count = len(columns["input"])
    width = min(2 if narrow else 4, count)
    height = math.ceil(count / width)
    with style():
        figure = Figure(
            figsize=(max((1.9 if narrow else 2.3) * width, 3.8 if narrow else 4.6) + 0.4, 1.8 * height + 0.9)
        )
        panels = figure.subplots(height, width, sharex=True, sharey=True, squeeze=False)
        instants = axis.instants(columns["input"].shape[1])
        for index, panel in enumerate(panels.flat):
            if index >= count:
                panel.axis("off")
                continue
            panel.plot(instants, columns["input"][index], "o", color=GREY, markersize=3.5, label="input: sine samples")
            panel.plot(instants, columns["target"][index], color=BLUE, label="target: cosine")
            panel.plot(instants, columns["prediction"][index], "--", color=ORANGE, label="estimate of the cosine")
            if (sines := columns.get("in_phase_prediction")) is not None:
                panel.plot(instants, sines[index], ":", color=GREEN, label="estimate of the sine without noise")
            panel.set_title(_describe(columns, index, axis, errors=errors), fontsize="small")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=1 if narrow else 4)
        figure.supxlabel(axis.label)
        figure.supylabel("signal (units of the input)")
        return svg(figure)


class _PlainPowers(LogFormatterSciNotation):
    def __call__(self, x: float, pos: int | None = None) -> str:
        label = super().__call__(x, pos).removeprefix(r"$\mathdefault{").removesuffix("}$").replace(r"\times", "×")
        return re.sub(r"\^\{(.*)\}", lambda power: power[1].translate(_SUPERSCRIPTS), label)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain_powers(axis: Axis) -> None:
    """Labels a logarithmic axis in plain text, 2×10⁻³. matplotlib's formulas would take a third of a picture's time."""
    axis.set_major_formatter(_PlainPowers())
    axis.set_minor_formatter(_PlainPowers())


def scale_by_logarithm(panel: Axes, across: Literal["x", "y"], values: Sequence[float]) -> bool:
    """Makes an axis logarithmic if the values are positive and their range is WIDE; returns whether it is."""
    is_wide = min(values) > 0.0 and max(values) > WIDE * min(values)
    if is_wide:
        panel.set(**{f"{across}scale": "log"})
        plain_powers(panel.xaxis if across == "x" else panel.yaxis)
    return is_wide


def _describe(columns: Columns, index: int, axis: TimeAxis, *, errors: bool) -> str:
    frequency = f"frequency {axis.frequency_format.format(columns['frequency'][index])}"
    if errors:
        return f"{frequency}, error {mean_squares(columns)[index]:.2g}"
    return f"{frequency}, phase {wrapped(columns['phase'])[index]:.2f}"


@contextmanager
def style() -> Iterator[None]:
    """Sets matplotlib's parameters for the project's pictures, and restores the user's at the end."""
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc must not change the bytes
        mpl.rc("axes", grid=True, titlesize="medium")
        mpl.rc("axes.formatter", limits=(-4, 5))
        mpl.rc("axes.spines", right=False, top=False)
        mpl.rc("figure.constrained_layout", use=True)
        mpl.rc("font", family="DejaVu Sans")  # part of matplotlib: glyphs do not depend on the machine
        mpl.rc("grid", alpha=0.3)
        mpl.rc("legend", frameon=False)
        mpl.rc("lines", linewidth=1.6)
        mpl.rc("svg", hashsalt="quadrature")  # without it, ids of elements are random
        yield


def svg(figure: Figure) -> bytes:
    """Returns a figure made within `style` as SVG, without a date: the same figure has the same bytes."""
    buffer = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # savefig would draw twice
    return buffer.getvalue()
