"""The gradients of a batch's parts, computed by this process and by helpers beside it.

A step of a small network is a hundred calls of a few microseconds each, and every call takes Python's lock. Threads
that meet there go to sleep, and to wake one takes longer than the call: on two cores, two threads trained the default's
network no faster than one. So helpers are processes. They find the weights in memory that all share, receive the
windows of their parts, and leave the gradients in that memory.
"""

import sys
from collections.abc import Sequence
from mmap import mmap
from types import TracebackType
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quadrature.network.device import compute_alone
from quadrature.training.batches import Batch
from quadrature.training.gradient import error_gradient
from quadrature.training.helpers import Helper
from quadrature.training.params import TrainParams


class _Order(NamedTuple):
    """The parts that a helper computes: each one's row, its number in the batch, inputs and targets."""

    step: int
    samples: int  # of the whole batch
    parts: Sequence[tuple[int, int, NDArray[np.floating], NDArray[np.floating]]]


class PartGradients:
    """Splits batches into `gradient_shards` parts and computes the gradients of this rank's own.

    `processes` share the work, this one and its helpers. The bits do not depend on their number.
    """

    def __init__(
        self, model: nn.Module, params: TrainParams, own: Sequence[int] | None = None, processes: int = 1
    ) -> None:
        """Starts the helpers, with the model as it is. `own` are the numbers of this rank's parts; None: all."""
        self._model = model
        self._params = params
        self._draws = draws(model)
        self._weights = list(model.parameters())
        own = range(params.gradient_shards) if own is None else own
        count = min(processes, len(own)) if _can_be_helped(self._weights) else 1
        vector = torch.cat(self._flat_weights())
        allocate = _share if count > 1 else torch.empty_like
        self._vector = allocate(vector)
        self._rows = allocate(vector.new_empty(len(own), len(vector) + 1))
        shares = np.array_split(np.arange(len(own)), count)
        self._shares = [[(int(row), own[row]) for row in share] for share in shares]
        self._helpers = [Helper(self._fulfil, self._prepare_helper) for _ in range(count - 1)]

    def __enter__(self) -> "PartGradients":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the helpers."""
        for helper in self._helpers:
            helper.end()
        self._helpers = []

    def __call__(self, batch: Batch, step: int) -> Tensor:
        """Returns the gradients and sums of squared errors, (parts, weights + 1); valid until the next call.

        Raises LostHelperError, and any error that a helper met.
        """
        slices = (tensor.tensor_split(self._params.gradient_shards) for tensor in batch)
        pieces = [Batch(*piece) for piece in zip(*slices, strict=True)]
        samples = batch.target.numel()
        own, *others = self._shares
        if self._helpers:
            torch.cat(self._flat_weights(), out=self._vector)
        for helper, share in zip(self._helpers, others, strict=True):
            arrays = [
                (row, number, pieces[number].input.numpy(), pieces[number].target.numpy()) for row, number in share
            ]
            helper.send(_Order(step, samples, arrays))
        for row, number in own:
            self._rows[row] = self._differentiate(pieces[number], samples, step, number)
        for helper in self._helpers:
            helper.wait()
        return self._rows

    def _flat_weights(self) -> list[Tensor]:
        return [weights.detach().reshape(-1) for weights in self._weights]

    def _differentiate(self, part: Batch, samples: int, step: int, number: int) -> Tensor:
        """Returns a part's gradient and sum of squared errors, one vector."""
        if not len(part.input):
            return torch.zeros_like(self._rows[0])
        if self._draws:
            # Dropout draws from torch's global stream. Seeded for each part of each step, it leaves nothing to remember
            # between steps, and any process draws the same.
            _seed(part.input.device, self._params.seed, step, number)
        return error_gradient(self._model, part, samples)

    def _prepare_helper(self) -> None:
        """Makes a helper's weights those in the shared memory."""
        compute_alone()
        self._model.train()
        start = 0
        for weights in self._weights:
            weights.data = self._vector[start : start + weights.numel()].view_as(weights)
            start += weights.numel()

    def _fulfil(self, order: object) -> None:
        """Computes the parts in an _Order."""
        step, samples, parts = cast("_Order", order)
        for row, number, inputs, target in parts:
            part = Batch(torch.from_numpy(inputs), torch.from_numpy(target))
            self._rows[row] = self._differentiate(part, samples, step, number)


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


def _can_be_helped(weights: Sequence[Tensor]) -> bool:
    """Whether forks can compute with these weights: on a CPU of Linux.

    Apple's libraries do not survive a fork, nor do the threads that torch's autograd keeps for an accelerator.
    """
    on_cpu = all(one.device.type == "cpu" for one in weights)
    return sys.platform == "linux" and on_cpu and not torch.accelerator.is_available()


def _share(tensor: Tensor) -> Tensor:
    """Returns a tensor of the same shape in memory that forks share."""
    memory = mmap(-1, tensor.numel() * tensor.element_size())
    return torch.frombuffer(memory, dtype=tensor.dtype).view_as(tensor)
