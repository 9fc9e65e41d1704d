"""One step of gradient descent on the mean squared error."""

import numpy as np
import torch
from torch import Tensor, nn

from quadrature.runtime.threads import Workers
from quadrature.training.batches import Batch
from quadrature.training.distributed import Ranks
from quadrature.training.gradient import error_gradient
from quadrature.training.params import TrainParams
from quadrature.training.state import Optimizer

ALONE = Ranks()


class TrainStep:
    """One step of gradient descent, with all that stays the same from one to the next."""

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, params: TrainParams, workers: Workers, ranks: Ranks = ALONE
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._params = params
        self._workers = workers
        self._ranks = ranks
        self._weights = list(model.parameters())
        self._sizes = [weights.numel() for weights in self._weights]
        self._draws = draws(model)

    def __call__(self, batch: Batch, step: int, rate: float) -> Tensor:
        """Moves the weights once; returns the batch's sum of squared errors before the move, without waiting for it.

        The gradient is that of the mean squared error over the whole batch. It is computed shard by shard, a shard by
        one thread of one process, and added up in the shards' order, so that its bits do not depend on who computes
        which.
        """
        parts = self._parts(batch)

        def differentiate(part: int) -> Tensor:
            if not len(parts[part].input):
                return batch.input.new_zeros(sum(self._sizes) + 1)
            if self._draws:
                # From torch's global stream, so each shard of each step begins it anew: nothing to remember
                # between steps, and the same draws whoever computes the shard.
                _seed(batch.input.device, self._params.seed, step, part)
            return error_gradient(self._model, parts[part], batch.target.numel())

        own = self._ranks.own_parts(len(parts))
        total, *others = self._ranks.gather(torch.stack(list(self._workers.map(differentiate, own))))
        for other in others:
            total += other
        gradient: Tensor = total[:-1]
        norm = gradient.norm()
        loss: Tensor = total[-1] + 0.0 * norm  # not finite where the gradient is not
        if self._params.gradient_clip is not None:
            gradient *= (self._params.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        gradients = torch.split(gradient, self._sizes)
        self._optimizer.step([one.view_as(w) for one, w in zip(gradients, self._weights, strict=True)], rate)
        return loss

    def _parts(self, batch: Batch) -> list[Batch]:
        parts = (part.tensor_split(self._params.gradient_shards) for part in batch)
        return [Batch(*part) for part in zip(*parts, strict=True)]


def draws(model: nn.Module) -> bool:
    """Whether a model's forward pass in training draws random numbers."""
    return any(getattr(module, "dropout", 0.0) or isinstance(module, nn.Dropout) for module in model.modules())


def _seed(device: torch.device, seed: int, step: int, shard: int) -> None:
    """Begins torch's random numbers anew; the key's length sets them apart from those of the windows' order."""
    sequence = np.random.SeedSequence(seed, spawn_key=(step, shard, 0))
    state = int(sequence.generate_state(1, np.uint64)[0])
    if device.type == "cpu":
        torch.default_generator.manual_seed(state)  # 1 microsecond; torch.manual_seed, for all devices, takes 68
    else:
        torch.manual_seed(state)
