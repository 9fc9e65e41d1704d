"""What the network makes of a few windows as training goes on: data/snapshots.parquet, for the animation."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quadrature.storage.windows import writing
from quadrature.training.batches import Batch


def snapshot_steps(count: int, steps: int) -> list[int]:
    """Returns up to `count` of the steps 0 to `steps`, evenly spaced on a logarithmic scale after the untrained 0.

    There are fewer where two would round to one; the last step is always among them.
    """
    return sorted({0, *np.rint(np.geomspace(steps, 1, count - 1)).astype(int).tolist()})


class Snapshots:
    """Estimates of the same windows after each of the given steps, kept in the order in which they are taken."""

    def __init__(self, windows: Batch, steps: list[int]) -> None:
        self._windows = windows
        self._steps = set(steps)  # that are to come
        self._taken: list[tuple[int, Tensor]] = []

    @torch.inference_mode()
    def take(self, model: nn.Module, step: int) -> None:
        """Estimates the windows if `step` is one of those asked for."""
        if step in self._steps:
            training = model.training
            model.eval()
            self._taken.append((step, model(self._windows.input).cpu()))
            self._steps.remove(step)
            model.train(training)

    def state(self) -> dict[str, Tensor]:
        """Returns what was taken."""
        steps = torch.tensor([step for step, _ in self._taken], dtype=torch.int64)
        return {"steps": steps, "estimates": torch.stack([estimates for _, estimates in self._taken])}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what was taken."""
        self._taken = list(zip(state["steps"].tolist(), state["estimates"].unbind(), strict=True))
        self._steps -= {step for step, _ in self._taken}

    def write(self, path: Path) -> None:
        """Writes a row a window for each snapshot: step, input, target, prediction."""
        with writing(path) as file:
            for step, estimates in self._taken:
                columns: dict[str, NDArray[np.floating]] = {
                    "step": np.full(len(estimates), float(step)),
                    "input": self._windows.input.squeeze(-1).cpu().numpy(),
                    "target": self._windows.target.cpu().numpy(),
                    "prediction": estimates.numpy(),
                }
                file.write(columns)
