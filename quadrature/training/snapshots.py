"""The network's estimates of a few windows in the course of training: data/snapshots.parquet, for the animation."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quadrature.network.model import estimate
from quadrature.storage.windows import writing
from quadrature.training.batches import Batch


def snapshot_steps(count: int, steps: int) -> list[int]:
    """Returns step 0, the untrained network, and steps up to `steps` evenly spaced on a logarithmic scale.

    There are at most `count`, fewer if two would round to the same step; the last step is always included.
    """
    return sorted({0, *np.rint(np.geomspace(steps, 1, count - 1)).astype(int).tolist()})


def _quadrature(estimate: Tensor) -> Tensor:
    """Returns the quadrature component of an estimate or a target, (count, window_length)."""
    return estimate[:, -1] if estimate.ndim == 3 else estimate


class Snapshots:
    """Estimates of the same windows after each of the given steps, in the order they were taken.

    They are those of the quadrature component.

    The windows, and the estimates until they are written, are in units of `scale`.
    """

    def __init__(self, windows: Batch, steps: list[int], scale: float = 1.0) -> None:
        self._windows = windows
        self._scale = scale
        self._steps = set(steps)  # still to come
        self._taken: list[tuple[int, Tensor]] = []

    def take(self, model: nn.Module, step: int) -> None:
        """Estimates the windows if `step` is one of the given steps."""
        if step in self._steps:
            training = model.training
            model.eval()
            self._taken.append((step, _quadrature(estimate(model, self._windows.input)).cpu().contiguous()))
            self._steps.remove(step)
            model.train(training)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the snapshots taken so far."""
        steps = torch.tensor([step for step, _ in self._taken], dtype=torch.int64)
        return {"steps": steps, "estimates": torch.stack([estimates for _, estimates in self._taken])}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues after the snapshots that `state_dict` returned."""
        self._taken = list(zip(state["steps"].tolist(), state["estimates"].unbind(), strict=True))
        self._steps -= {step for step, _ in self._taken}

    def write(self, path: Path) -> None:
        """Writes one row per window and snapshot: step, and in the signal's unit input, target, prediction."""
        with writing(path) as file:
            for step, estimates in self._taken:
                columns: dict[str, NDArray[np.floating]] = {
                    "step": np.full(len(estimates), float(step)),
                    "input": self._scale * self._windows.input.squeeze(-1).cpu().numpy(),
                    "target": self._scale * _quadrature(self._windows.target).cpu().numpy(),
                    "prediction": self._scale * estimates.numpy(),
                }
                file.write(columns)
