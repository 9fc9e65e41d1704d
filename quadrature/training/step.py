"""One step of gradient descent on the mean squared error: forward, loss, backward, clip, move."""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from quadrature.runtime.threads import Workers
from quadrature.training.batches import Batch
from quadrature.training.distributed import Ranks
from quadrature.training.gradient import gradient_by_hand
from quadrature.training.params import TrainParams
from quadrature.training.state import Optimizer

ALONE = Ranks()


class TrainStep:
    """Moves a model's weights by one batch.

    A batch is split into `gradient_shards` parts. One thread of one process computes a part's gradient, and the
    gradients are added in the order of the parts. So the bits do not depend on the number of threads and processes.
    """

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
        """Moves the weights once; returns the batch's sum of squared errors before the move, without waiting for it."""
        parts = self._split(batch)
        differentiate = partial(self._differentiate, parts, batch.target.numel(), step)  # forward, loss and backward
        own = self._workers.map(differentiate, self._ranks.own_parts(len(parts)))
        total = self._add(own)
        gradient: Tensor = total[:-1]
        norm = gradient.norm()
        loss: Tensor = total[-1] + 0.0 * norm  # not finite where the gradient is not
        if self._params.gradient_clip is not None:
            gradient *= (self._params.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        self._optimizer.step(self._by_weight(gradient), rate)
        return loss

    def _split(self, batch: Batch) -> list[Batch]:
        slices = (tensor.tensor_split(self._params.gradient_shards) for tensor in batch)
        return [Batch(*part) for part in zip(*slices, strict=True)]

    def _differentiate(self, parts: Sequence[Batch], samples: int, step: int, number: int) -> Tensor:
        """Returns a part's gradient and sum of squared errors, one vector."""
        part = parts[number]
        if not len(part.input):
            return part.input.new_zeros(sum(self._sizes) + 1)
        if self._draws:
            # Dropout draws from torch's global stream. Seeded for each part of each step, it leaves nothing to remember
            # between steps, and any thread or process draws the same.
            _seed(part.input.device, self._params.seed, step, number)
        return error_gradient(self._model, part, samples)

    def _add(self, own: Iterable[Tensor]) -> Tensor:
        """Returns the sum over all parts, given those of this process."""
        rows = self._ranks.gather(torch.stack(list(own)))
        total = rows[0]
        for other in rows[1:]:
            total += other
        return total

    def _by_weight(self, gradient: Tensor) -> list[Tensor]:
        parts = torch.split(gradient, self._sizes)
        return [part.view_as(weights) for part, weights in zip(parts, self._weights, strict=True)]


def error_gradient(model: nn.Module, batch: Batch, samples: int) -> Tensor:
    """Returns the gradient of the sum of squared errors / samples, parameter by parameter, and the sum, one vector.

    The gradient of a weight that does not require one is zero.
    """
    found = gradient_by_hand(model, batch, samples)
    if found is None:
        weights = list(model.parameters())
        trained = [one for one in weights if one.requires_grad]
        error = nn.functional.mse_loss(model(batch.input), batch.target, reduction="sum")
        gradients = iter(torch.autograd.grad(error / samples, trained, allow_unused=True, materialize_grads=True))
        found = [*(next(gradients) if one.requires_grad else torch.zeros_like(one) for one in weights), error.detach()]
    return torch.cat([part.reshape(-1) for part in found])


def draws(model: nn.Module) -> bool:
    """Whether a model draws random numbers in training."""
    return any(getattr(module, "dropout", 0.0) or isinstance(module, nn.Dropout) for module in model.modules())


def _seed(device: torch.device, seed: int, step: int, part: int) -> None:
    """Seeds torch's global stream; the key's length tells it from the streams that order the windows."""
    sequence = np.random.SeedSequence(seed, spawn_key=(step, part, 0))
    state = int(sequence.generate_state(1, np.uint64)[0])
    if device.type == "cpu":
        torch.default_generator.manual_seed(state)  # 1 microsecond; torch.manual_seed, for all devices, takes 68
    else:
        torch.manual_seed(state)
