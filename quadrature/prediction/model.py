"""A trained network for Python users: arrays of windows in, the analytic signal out.

import quadrature

model = quadrature.load("models/model.safetensors")
signal = model(windows)  # (count, model.window_length)
signal.amplitude, signal.phase, signal.frequency
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quadrature.network.model import QuadratureNetwork, analytic_signal, predict
from quadrature.network.model_file import load_model
from quadrature.prediction.derived import as_complex, frequency, phase
from quadrature.prediction.likeness import Likeness

BATCH_SIZE = 8192
"""Windows in a forward pass."""


class AnalyticSignal(NamedTuple):
    """Estimates in the shape of the windows, float32. quadrature/prediction/derived.py has the formulas."""

    in_phase: NDArray[np.float32]
    quadrature: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    phase: NDArray[np.float32]  # radians in (-pi, pi]
    frequency: NDArray[np.float32]  # radians a sample, NaN where it is not defined


class Model:
    """A trained network, on the CPU."""

    def __init__(self, network: QuadratureNetwork) -> None:
        self._network = network

    @property
    def window_length(self) -> int:
        """Samples in a window."""
        return self._network.window_length

    def __call__(self, windows: ArrayLike) -> AnalyticSignal:
        """Returns the analytic signal of windows, (count, window_length), or of a single one, (window_length,).

        Warns if the windows are unlike those in training. Raises TypeError if they are not real numbers, and ValueError
        if a window has another number of samples, a sample is not finite or too large for float32, or an estimate is.
        """
        if np.ma.is_masked(windows):
            raise ValueError("a sample is masked; fill it, for example with numpy.interp, or leave the window out")
        given = np.asarray(windows)
        if given.dtype.kind not in "iuf":
            raise TypeError(f"windows hold {given.dtype}, not real numbers")
        if given.ndim not in (1, 2) or given.shape[-1] != self.window_length:
            raise ValueError(
                f"windows have the shape {given.shape}; the model reads windows of {self.window_length} samples: "
                f"(count, {self.window_length}) or ({self.window_length},)"
            )
        with np.errstate(over="ignore"):
            samples = np.atleast_2d(given).astype(np.float32)
        if not np.isfinite(samples).all():
            window, sample = np.argwhere(~np.isfinite(samples))[0]
            value = np.atleast_2d(given)[window, sample]
            raise ValueError(f"sample {sample} of window {window} is {value:g}, not a finite number of float32")
        return AnalyticSignal(*(each.reshape(given.shape) for each in self._estimate(samples)))

    def _estimate(self, samples: NDArray[np.float32]) -> AnalyticSignal:
        if not len(samples):
            return AnalyticSignal(*[samples] * len(AnalyticSignal._fields))
        signal = analytic_signal(samples, predict(self._network, samples, BATCH_SIZE)).astype(np.float32, copy=False)
        if not np.isfinite(signal).all():
            raise ValueError("an estimate is not finite; scale the samples to the size of those in training")
        likeness = Likeness(self._network.ranges)
        likeness.add(samples, signal)
        if (words := likeness.describe()) is not None:
            warnings.warn(words, stacklevel=3)
        in_phase, quadrature = signal.swapaxes(0, 1)
        return AnalyticSignal(
            in_phase, quadrature, np.hypot(in_phase, quadrature), phase(in_phase, quadrature),
            frequency(as_complex(in_phase, quadrature)),
        )  # fmt: skip


def load(path: Path | str) -> Model:
    """Returns the network in a model file. Raises DataError."""
    return Model(load_model(Path(path)))
