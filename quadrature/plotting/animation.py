"""The estimates during training, as an animated GIF. The same snapshots give the same bytes."""

import io
import math
from collections.abc import Iterator

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from quadrature.plotting.figures import BLUE, GREY, ORANGE, style
from quadrature.plotting.time_axis import TimeAxis
from quadrature.storage.arrow import Columns

FRAME_MILLISECONDS = 160
LAST_FRAME_MILLISECONDS = 3000


def training(columns: Columns, axis: TimeAxis) -> bytes:
    """Draws a frame for each snapshot. columns are those of data/snapshots.parquet: step, input, target, prediction."""
    frames = _frames(columns, axis)
    # One palette for all frames, of the most frequent colours of the last one: a palette for each frame would flicker.
    colors, counts = np.unique(next(frames).reshape(-1, 3), axis=0, return_counts=True)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colors[np.argsort(-counts, kind="stable")[:256]].flatten().tolist())
    first, *others = (Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    durations = [FRAME_MILLISECONDS] * len(others) + [LAST_FRAME_MILLISECONDS]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return buffer.getvalue()


def _frames(columns: Columns, axis: TimeAxis) -> Iterator[NDArray[np.uint8]]:
    """Yields the pixels of a frame, (height, width, 3): of the last one first, then of all in order."""
    steps = np.unique(columns["step"])
    inputs, target, prediction = (
        columns[name].reshape(len(steps), -1, columns[name].shape[1]) for name in ("input", "target", "prediction")
    )  # (snapshots, windows, window_length)
    errors = np.square(prediction.astype(np.float64) - target).mean(axis=(1, 2))
    instants = axis.instants(target.shape[2])
    with style():
        figure, lines = _draw_background(instants, inputs[0], target[0], axis.label)
        title = figure.suptitle(_caption(steps[-1], steps[-1], errors[-1]), family="DejaVu Sans Mono", size="medium")
        figure.draw_without_rendering()  # computes the layout, before artists are animated
        figure.set_layout_engine("none")
        title.set_animated(True)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        background = canvas.copy_from_bbox(figure.bbox)
        for index in (-1, *range(len(steps))):
            canvas.restore_region(background)
            title.set_text(_caption(steps[index], steps[-1], errors[index]))
            figure.draw_artist(title)
            for line, estimate in zip(lines, prediction[index], strict=True):
                line.set_data(instants, estimate)
                figure.draw_artist(line)
            # 16 shades of each primary colour: lines look smooth, and a palette of 256 colours holds them.
            yield np.rint(np.asarray(canvas.buffer_rgba())[..., :3] / 17.0).astype(np.uint8) * 17


def _draw_background(
    instants: NDArray[np.float64], inputs: NDArray[np.float32], target: NDArray[np.float32], label: str
) -> tuple[Figure, list[Line2D]]:
    """Draws the samples and the target of each window, two in a row, as a phone has room for no more.

    Returns the lines of the estimates, not yet drawn.
    """
    width = min(2, len(target))
    height = math.ceil(len(target) / width)
    figure = Figure(figsize=(4.8, 1.7 * height + 0.9), dpi=140)
    panels = figure.subplots(height, width, sharex=True, sharey=True, squeeze=False).flat
    limit = 1.25 * max(np.abs(inputs).max(), np.abs(target).max()) or 1.0
    lines = []
    for panel in panels[len(target) :]:
        panel.axis("off")
    for panel, samples, truth in zip(panels, inputs, target, strict=False):
        panel.plot(instants, samples, "o", color=GREY, markersize=3.5, label="input: sine samples")
        panel.plot(instants, truth, color=BLUE, label="target: cosine")
        lines += panel.plot(instants, truth, "--", color=ORANGE, label="estimate", animated=True)
        panel.set(ylim=(-limit, limit))
    for panel in panels[max(0, len(target) - width) : len(target)]:  # the lowest ones
        panel.set_xlabel(label, fontsize="small")
        panel.tick_params(labelbottom=True)
    figure.supylabel("signal (units of the input)", fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure, lines


def _caption(step: float, last: float, error: float) -> str:
    return f"step {step:>{len(f'{last:,.0f}')},.0f} of {last:,.0f}, mean squared error {error:.1e}"
