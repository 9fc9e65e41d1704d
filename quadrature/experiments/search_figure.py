"""Draws a search: the metric of each trial in order, and against each parameter, as SVG bytes."""

import math
from collections.abc import Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from quadrature.experiments.curves import Drawing
from quadrature.experiments.search import Trial
from quadrature.plotting.figures import BLUE, ORANGE, scale_by_logarithm, style, svg
from quadrature.reporting.page import spelled

ACROSS = 3
"""Panels in a row."""


def draw(trials: Sequence[Trial], metric: str, parameters: Sequence[str]) -> Drawing:
    """Draws a panel of the trials in order, with the best so far, and one for each parameter."""
    values = [trial.value for trial in trials]
    best = min(trials, key=lambda trial: trial.value)
    rows = math.ceil((1 + len(parameters)) / ACROSS)
    across = min(ACROSS, 1 + len(parameters))
    with style():
        figure = Figure(figsize=(0.6 + 2.7 * across, 0.4 + 2.6 * rows))
        panels = list(figure.subplots(rows, across, sharey=True, squeeze=False).flat)
        first = panels[0]
        numbers = [trial.number for trial in trials]
        first.plot(numbers, values, "o", color=BLUE, alpha=0.6, markersize=4, label="a trial")
        first.step(numbers, list(accumulate(values, min)), where="post", color=ORANGE, label="the best so far")
        first.set(xlabel="trial")
        first.legend(loc="upper right", fontsize="small")
        for name, panel in zip(parameters, panels[1:], strict=False):
            _draw_parameter(panel, name, trials, best)
        for panel in panels[1 + len(parameters) :]:
            panel.axis("off")
        scale_by_logarithm(first, "y", values)
        figure.supylabel(metric)
        words = (
            f"{metric} of {len(trials)} trials, in their order and by each parameter; the lowest is {best.value:.4g}."
        )
        return Drawing(svg(figure), words)


def _draw_parameter(panel: Axes, name: str, trials: Sequence[Trial], best: Trial) -> None:
    """Draws the metric against a parameter; values that are not numbers get equal distances."""
    found = [trial.run.params.get(name) for trial in trials]
    numbers = [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
    panel.set(xlabel=name)
    panel.xaxis.label.set_parse_math(False)  # so that a dollar sign in a name is text
    if len(numbers) == len(found):
        places = [float(value) for value in numbers]
        scale_by_logarithm(panel, "x", places)
    else:
        words = sorted({spelled(value) for value in found})
        places = [float(words.index(spelled(value))) for value in found]
        panel.set_xticks(range(len(words)), words)
        panel.set_xlim(-0.5, len(words) - 0.5)
    panel.plot(places, [trial.value for trial in trials], "o", color=BLUE, alpha=0.6, markersize=4)
    panel.plot([places[trials.index(best)]], [best.value], "o", color=ORANGE, markersize=7)
