"""The page on which the trained network runs, in the browser: its weights, and what the sliders range over.

templates/playground.js computes the network, as torch defines it, and the baselines. The page's policy allows that one
script, by its digest, and nothing else.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quadrature.reporting.model_file import Blueprint, ModelFile
from quadrature.reporting.page import TEMPLATES, render
from quadrature.signals.params import GenerateParams
from quadrature.storage.arrow import Columns

MOST_WEIGHTS = 2**20
"""Of a network that runs in a page, which holds them as text: 1.3 bytes for each of their 4."""

LONGEST = 256
"""Samples in a window for which the page holds least squares: a table of their square."""

_ROWS = 4096  # windows by which least squares is found again
_LEAST = 1e-5  # singular values that float32's rounding of the estimates has not spoiled, relative to the largest


class Slider(NamedTuple):
    """What a slider sets, its ends, where it starts, and the values that were in training."""

    id: str
    unit: str
    low: float
    high: float
    value: float
    seen: tuple[float, float] | None

    @property
    def step(self) -> float:
        """The slider's resolution."""
        return (self.high - self.low) / 360.0


def playground(file: ModelFile, task: GenerateParams, windows: Columns) -> bytes:
    """Returns the page. `windows` are some of data/predictions.parquet, at least as many as a window has samples."""
    model, ranges = file.blueprint, sliders(file.blueprint, task)
    linear = None
    if model.window_length <= LONGEST:
        linear = affine_map(windows["input"][:_ROWS], windows["least_squares"][:_ROWS], model.scale)
    values = {
        "model": model.model,
        "length": model.window_length,
        "scale": model.scale,
        "weights": {name: _text(weights) for name, weights in (file.tensors or {}).items()},
        "least_squares": linear if linear is None else [[float(f"{x:.6g}") for x in row] for row in linear],
        "task": {
            "unit_angle": task.unit_angle,
            "end": task.unit_angle if task.rate is None else (task.length - 1) / task.rate,
            "label": "instant (radians, at frequency 1)" if task.rate is None else "instant (seconds)",
            "seen": {each.id: each.seen for each in ranges if each.seen},
        },
    }
    script = (TEMPLATES / "playground.js").read_text(encoding="utf-8")
    page = {
        "network": model.model,
        "length": model.window_length,
        "limit": MOST_WEIGHTS,
        "sliders": ranges,
        "has_least_squares": linear is not None,
        "script": script,
        "digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        # In a script's element only `</` and `<!` could end the text.
        "data": json.dumps(values).replace("<", "\\u003c") if file.tensors else None,
    }
    return render("playground.html", page)


def affine_map(windows: NDArray[np.floating], estimates: NDArray[np.floating], scale: float) -> NDArray[np.float64]:
    """Returns the affine map that made estimates of windows, both (count, length): rows of a constant and factors."""
    inputs = np.concatenate([np.full((len(windows), 1), scale), windows], axis=1, dtype=np.float64)
    with threadpool_limits(limits=1, user_api="blas"):  # the order of a sum would depend on the number of cores
        found = np.linalg.lstsq(inputs, estimates.astype(np.float64), rcond=_LEAST)[0].T.astype(np.float64)
    found[:, 0] *= scale
    return found


def sliders(model: Blueprint, task: GenerateParams) -> Sequence[Slider]:
    """Returns the sliders: somewhat wider than what the windows in training were like."""
    seen = _seen(model, task)
    (slow, fast), (_, high), (_, noise) = seen["frequency"], seen["amplitude"], seen["noise"]
    low, most = seen["offset"]
    widest = max(high, abs(low), abs(most))
    hertz = "" if task.rate is None else "Hz"
    return (
        Slider("phase", "degrees", 0.0, 360.0, 60.0, None),
        Slider(
            "frequency", hertz, slow - 0.5 * abs(slow), fast + 0.5 * abs(fast), (slow + fast) / 2.0, seen["frequency"]
        ),
        Slider("amplitude", "", 0.0, 1.5 * high, high, seen["amplitude"]),
        Slider("noise", "standard deviation", 0.0, max(3.0 * noise, 0.3 * high), noise, (0.0, noise)),
        Slider("offset", "", -widest, widest, min(max(0.0, low), most), (min(0.0, low), max(0.0, most))),
    )


def _seen(model: Blueprint, task: GenerateParams) -> Mapping[str, tuple[float, float]]:
    """Returns the range of each quantity in training: of the drawn windows, or as measured on one's own."""
    if task.source is None:
        return {
            "frequency": (task.frequency.low, task.frequency.high or 1.0),
            "amplitude": (task.amplitude.low, task.amplitude.high or 1.0),
            "noise": (0.0, task.noise_std),
            "offset": (-3.0 * task.offset_std, 3.0 * task.offset_std),
        }
    turn = task.unit_angle / (task.length - 1)  # radians a sample at frequency 1
    if model.ranges is None:  # too few windows to tell
        return {
            "frequency": (0.0, math.pi / 2.0 / turn), "amplitude": (0.0, model.scale), "noise": (0.0, 0.0),
            "offset": (0.0, 0.0),
        }  # fmt: skip
    slow, fast = model.ranges["frequency"]
    return {**model.ranges, "frequency": (slow / turn, fast / turn)}


def _text(weights: NDArray[np.floating]) -> str:
    return base64.b64encode(np.ascontiguousarray(weights, "<f4").tobytes()).decode()
