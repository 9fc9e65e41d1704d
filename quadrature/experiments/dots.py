"""Draws a metric of every run as a dot, with each setting's mean and its confidence interval, as SVG bytes."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import stdtrit

from quadrature.experiments.comparison import RELATIVE, Setting, Statistic, finite
from quadrature.experiments.curves import Drawing, label, look_of
from quadrature.experiments.setting_tables import heading, mean_in_words, percent
from quadrature.plotting.figures import GREY, scale_by_logarithm, style, svg

MAX_ROWS = 40
"""Settings drawn, and those that have curves."""

CONFIDENCE = 0.95
"""The probability with which an interval contains the mean over all seeds, if runs are normally distributed."""


def draw(settings: Sequence[Setting], shown: Sequence[Setting], metric: str) -> Drawing | None:
    """Draws a row for each setting, with the line of its curves at the right if it is among those `shown`.

    So this is the legend of the curves, and has a row without dots for a setting that lacks the metric.

    Settings of another task than the reference's are left out, unless the metric is compared across tasks. Returns None
    if no run has the metric.
    """
    task = next(setting.task for setting in settings if setting.is_reference)
    comparable = [each for each in settings if metric in RELATIVE or each.task == task]
    best = [each for each in comparable if each.figures[metric].n][:MAX_ROWS]
    if not best:
        return None
    names = {each.name for each in best}
    rows = best + [each for each in comparable if look_of(each, shown) and each.name not in names]
    values = [_values(row, metric) for row in rows]
    words = f"{heading(metric)} of every run by setting. " + "; ".join(
        f"{label(row)}: {mean_in_words(row.figures[metric], percent(metric))}" for row in rows
    )
    with style():
        picture = Figure(figsize=(8.4, 1.3 + 0.3 * len(rows)))
        panel = picture.subplots()
        _set_axis(panel, [value for found in values for value in found])
        for height, (row, found) in enumerate(zip(rows, values, strict=True)):
            look = look_of(row, shown)
            color, line = look or (GREY, "-")
            panel.plot(found, [height] * len(found), "o", color=color, markersize=4.5, alpha=0.55)
            _draw_mean(panel, height, row.figures[metric], percent(metric), color)
            if look:
                outside = panel.get_yaxis_transform()  # across: parts of the panel's width
                panel.plot([1.02, 1.08], [height] * 2, line, color=color, transform=outside, clip_on=False)
            if row.is_reference and (mean := row.figures[metric].mean) is not None:
                panel.axvline(percent(metric) * mean, color=GREY, linestyle=":", linewidth=1.2)
        panel.set_yticks(range(len(rows)), [label(row) for row in rows])
        for text in panel.get_yticklabels():
            text.set_parse_math(False)  # so that a dollar sign in a parameter is text
        panel.set(ylim=(len(rows) - 0.4, -0.6), xlabel=heading(metric))
        return Drawing(svg(picture), words)


def interval(statistic: Statistic) -> float | None:
    """Returns half the width of the mean's confidence interval, by Student's t; None with fewer than two values."""
    if statistic.standard_deviation is None:
        return None
    quantile = float(stdtrit(statistic.n - 1, (1.0 + CONFIDENCE) / 2.0))
    return quantile * statistic.standard_deviation / math.sqrt(statistic.n)


def _values(setting: Setting, metric: str) -> list[float]:
    """Returns the metric of each run that has it, as drawn."""
    found = [finite(run.metrics.get(metric)) for run in setting.runs]
    return [percent(metric) * value for value in found if not math.isnan(value)]


def _set_axis(panel: Axes, values: Sequence[float]) -> None:
    """Sets the horizontal axis to the range of the dots; an interval of few runs may leave it."""
    low, high = min(values), max(values)
    if scale_by_logarithm(panel, "x", values):
        panel.set_xlim(low / 1.5, high * 1.5)
    else:
        margin = 0.25 * (high - low) or 0.05 * abs(high) or 1.0
        panel.set_xlim(low - margin, high + margin)


def _draw_mean(panel: Axes, height: int, statistic: Statistic, factor: float, color: str) -> None:
    if statistic.mean is not None and (half := interval(statistic)) is not None:
        mean = factor * statistic.mean
        panel.plot([mean - factor * half, mean + factor * half], [height] * 2, color=color, linewidth=1.6)
        panel.plot([mean], [height], "|", color=color, markersize=13, markeredgewidth=2.0)
