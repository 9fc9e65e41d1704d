"""Estimates at the newest sample of a running signal, from it and the samples before it, in constant memory."""

from collections import deque
from typing import Protocol

import numpy as np
import torch

from quadrature.network.model import QuadratureNetwork, analytic_signal, estimate
from quadrature.prediction.likeness import Likeness
from quadrature.prediction.tracker import Tracker


class Live(Protocol):
    """Follows a signal sample by sample."""

    likeness: Likeness
    """How like those in training the windows were."""

    def update(self, sample: float) -> tuple[float, float] | None:
        """Returns the in-phase and quadrature components at a sample; None where there is no estimate.

        NaN stands for a missing sample.
        """


def follow(network: QuadratureNetwork) -> Live:
    """Returns what follows a signal by a network in evaluation mode, on the CPU.

    Head `every` in one direction keeps its state between samples, any other network reads the last window again.
    """
    return WindowEnd(network) if network.params.sees_whole_window else Stateful(network)


class WindowEnd:
    """Estimates at the end of the window of the last samples, once there are enough, and none is missing."""

    def __init__(self, network: QuadratureNetwork) -> None:
        self._network = network
        self.likeness = Likeness(network.ranges)
        self._window: deque[float] = deque(maxlen=network.window_length)

    def update(self, sample: float) -> tuple[float, float] | None:
        """Returns the components, or None, as Live does."""
        self._window.append(sample)
        window = np.asarray(self._window, np.float32)[None]
        if window.shape[1] < self._network.window_length or np.isnan(window).any():
            return None
        found = estimate(self._network, torch.from_numpy(window).unsqueeze(-1)).numpy()
        signal = analytic_signal(window, found)
        if np.isfinite(signal).all():
            self.likeness.add(window, signal)
        in_phase, quadrature = signal[0, :, -1].tolist()
        return in_phase, quadrature


class Stateful:
    """Estimates from the first sample on; a missing sample begins a new signal. There are no windows to compare."""

    def __init__(self, network: QuadratureNetwork) -> None:
        self.likeness = Likeness(None)
        self._tracker = Tracker(network)

    def update(self, sample: float) -> tuple[float, float] | None:
        """Returns the components, or None, as Live does."""
        if np.isnan(sample):
            self._tracker.reset()
            return None
        found = self._tracker.update(sample)
        in_phase, quadrature = found.tolist() if found.ndim else (sample, float(found))
        return in_phase, quadrature
