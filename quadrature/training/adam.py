"""Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1), as torch.optim.Adam computes it.

Constructing any optimizer of torch.optim imports torch's compiler, which takes longer than a short training. Hence this
one.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

MEAN_DECAY = 0.9
"""Decay per step of the running mean of gradients."""

SQUARE_DECAY = 0.999
"""Decay per step of the running mean of squared gradients."""

EPSILON = 1e-8
"""Added to the root of the mean square to avoid a division by 0."""


class Adam:
    """Adam over weights of any shape, joined into one vector."""

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self._weights = list(weights)
        self._steps = 0
        self._mean = torch.zeros_like(_vector(self._weights))
        self._square = torch.zeros_like(self._mean)
        self._move = torch.zeros_like(self._mean)
        parts = torch.split(self._move, [one.numel() for one in self._weights])
        self._moves = [part.view_as(one) for part, one in zip(parts, self._weights, strict=True)]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Moves the weights against their gradients."""
        gradient = _vector(gradients)
        self._steps += 1
        self._mean.lerp_(gradient, 1.0 - MEAN_DECAY)
        self._square.mul_(SQUARE_DECAY).addcmul_(gradient, gradient, value=1.0 - SQUARE_DECAY)
        root = self._square.sqrt().div_((1.0 - SQUARE_DECAY**self._steps) ** 0.5).add_(EPSILON)
        torch.div(self._mean, root, out=self._move).mul_(rate / (1.0 - MEAN_DECAY**self._steps))
        for weights, move in zip(self._weights, self._moves, strict=True):
            weights.sub_(move)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the step count and both running means."""
        return {"steps": torch.tensor(self._steps), "mean": self._mean, "square": self._square}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues from a state that `state_dict` returned."""
        self._steps = int(state["steps"])
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])


def _vector(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
