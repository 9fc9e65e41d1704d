"""One step of gradient descent on the mean squared error: forward, loss, backward, clip, move."""

import torch
from torch import Tensor, nn

from quadrature.training.batches import Batch
from quadrature.training.distributed import Ranks
from quadrature.training.params import TrainParams
from quadrature.training.parts import PartGradients
from quadrature.training.state import Optimizer

ALONE = Ranks()


class TrainStep:
    """Moves a model's weights by one batch.

    A batch is split into `gradient_shards` parts. Processes share these, and their gradients are added in the order of
    the parts. So the bits do not depend on the number of processes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        params: TrainParams,
        gradients: PartGradients,
        ranks: Ranks = ALONE,
    ) -> None:
        self._optimizer = optimizer
        self._params = params
        self._gradients = gradients
        self._ranks = ranks
        self._weights = list(model.parameters())
        self._sizes = [weights.numel() for weights in self._weights]

    def __call__(self, batch: Batch, step: int, rate: float) -> Tensor:
        """Moves the weights once; returns the batch's sum of squared errors before the move, without waiting for it."""
        rows = self._ranks.gather(self._gradients(batch, step))  # forward, loss and backward
        total = rows[0]
        for other in rows[1:]:
            total += other
        gradient: Tensor = total[:-1]
        norm = gradient.norm()
        loss: Tensor = total[-1] + 0.0 * norm  # not finite where the gradient is not
        if self._params.gradient_clip is not None:
            gradient *= (self._params.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        self._optimizer.step(self._by_weight(gradient), rate)
        return loss

    def _by_weight(self, gradient: Tensor) -> list[Tensor]:
        parts = torch.split(gradient, self._sizes)
        return [part.view_as(weights) for part, weights in zip(parts, self._weights, strict=True)]
