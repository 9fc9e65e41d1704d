"""Gradient descent on the mean squared error: one step, one epoch after another, validation on the way.

Takes any module that maps a batch's input to an estimate of its target. What a step does depends on its
number, the parameters and the windows, and on nothing that has to be remembered but weights and optimizer.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Literal, Protocol

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from tqdm import tqdm

from quadrature.adam import Adam
from quadrature.device import compute_alone, computing_alone
from quadrature.distributed import Ranks
from quadrature.errors import NonFiniteLossError
from quadrature.gradient import error_gradient
from quadrature.history import Record
from quadrature.params import Section, Seed
from quadrature.soap import SOAP
from quadrature.stream import Batch, Shards, epoch_batches, in_order
from quadrature.workers import Workers

ALONE = Ranks()


class Optimizer(Protocol):
    """Moves weights."""

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Moves the weights against their gradients."""


class TrainParams(Section):
    """The `train` section."""

    seed: Seed
    epochs: Annotated[int, Field(ge=1, le=10**6)]
    batch_size: Annotated[int, Field(ge=1, le=2**24)]  # windows per optimizer step
    optimizer: Literal["adam", "soap"]
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)]  # the schedule's highest
    schedule: Literal["constant", "cosine", "onecycle"]
    gradient_clip: Annotated[float, Field(gt=0.0)] | None  # largest norm of the gradient; null: any
    validations_per_epoch: Annotated[int, Field(ge=1, le=10**6)]  # rows of history.csv, at most one a step
    snapshots: Annotated[int, Field(ge=2, le=200)]  # at most so many, the untrained and the last step among them
    snapshot_windows: Annotated[int, Field(ge=1, le=6)]  # validation windows that they are kept of
    processes: Annotated[int, Field(ge=1, le=1024)]  # that share the gradient's shards
    threads: Annotated[int, Field(ge=1, le=1024)]  # in each, that do as well
    shuffle_windows: Annotated[int, Field(ge=1, le=2**40)]
    gradient_shards: Annotated[int, Field(ge=1, le=1024)]  # of a batch; a shard is computed by one thread

    @field_validator("batch_size")
    @classmethod
    def _is_not_above_the_split(cls, batch_size: int, info: ValidationInfo) -> int:
        windows = (info.context or {}).get("generate.windows.train")
        if isinstance(windows, int) and batch_size > windows:
            raise ValueError(f"it should not be above generate.windows.train, {windows}")
        return batch_size


def train(
    model: nn.Module,
    windows: Shards,
    validation: Shards,
    params: TrainParams,
    after_step: Callable[[nn.Module, int], None] = lambda _model, _step: None,
    ranks: Ranks = ALONE,
) -> Iterator[Record]:
    """Trains the model in place, yielding a record `validations_per_epoch` times an epoch.

    Calls `after_step` with the model and the number of the step just done, from 0, before the first.
    Raises NonFiniteLossError, before the next record, when a step's loss is infinite or not a number.
    """
    optimizer = make_optimizer(model, params)
    with computing_alone(), Workers(_threads(model, params), compute_alone) as workers:
        yield from _train(model, optimizer, windows, validation, params, after_step, workers, ranks)


def _train(
    model: nn.Module,
    optimizer: Optimizer,
    windows: Shards,
    validation: Shards,
    params: TrainParams,
    after_step: Callable[[nn.Module, int], None],
    workers: Workers,
    ranks: Ranks,
) -> Iterator[Record]:
    epoch_steps = steps_per_epoch(windows, params)
    losses: list[Tensor] = []
    samples = 0
    after_step(model, 0)
    for epoch in range(params.epochs):
        model.train()
        batches = epoch_batches(windows, params.seed, epoch, params.batch_size, params.shuffle_windows)
        progress = tqdm(batches, f"epoch {epoch + 1}", total=epoch_steps, unit="step", leave=False, disable=None)
        for epoch_step, batch in enumerate(progress, 1):
            step = epoch * epoch_steps + epoch_step
            rate = learning_rate(params, step - 1, params.epochs * epoch_steps)
            losses.append(train_step(model, optimizer, batch, step, rate, params, workers, ranks))
            samples += batch.target.numel()
            after_step(model, step)
            if _is_due(epoch_step, epoch_steps, params.validations_per_epoch):
                train_mse = _sum_finite(losses, step) / samples
                validation_mse = mean_squared_error(model, validation, params.batch_size, workers)
                if not math.isfinite(validation_mse):
                    raise NonFiniteLossError(f"the validation loss is not finite at step {step}; {_REMEDY}")
                yield Record(epoch + epoch_step / epoch_steps, step, rate, train_mse, validation_mse)
                model.train()
                losses, samples = [], 0


def steps_per_epoch(windows: Shards, params: TrainParams) -> int:
    """Returns how many batches hold every window once."""
    return math.ceil(windows.windows / params.batch_size)


def make_optimizer(model: nn.Module, params: TrainParams) -> Optimizer:
    """Returns the optimizer of the model's weights, before its first step."""
    match params.optimizer:
        case "adam":
            return Adam(model.parameters())
        case "soap":
            return SOAP(model.parameters())


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    batch: Batch,
    step: int,
    rate: float,
    params: TrainParams,
    workers: Workers,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Moves the weights once; returns the batch's sum of squared errors before the move, without waiting for it.

    The gradient is that of the mean squared error over the whole batch. It is computed shard by shard, a shard by one
    thread of one process, and added up in the shards' order, so that its bits do not depend on who computes which.
    """
    weights = list(model.parameters())
    shards = [
        Batch(*parts) for parts in zip(*(part.tensor_split(params.gradient_shards) for part in batch), strict=True)
    ]

    def differentiate(shard: int) -> Tensor:
        if not len(shards[shard].input):
            return batch.input.new_zeros(sum(one.numel() for one in weights) + 1)
        # Dropout draws from torch's global stream, so each shard of each step begins it anew: nothing to
        # remember between steps, and the same draws whoever computes the shard.
        _seed(batch.input.device, params.seed, step, shard)
        return error_gradient(model, shards[shard], batch.target.numel())

    total, *others = ranks.gather(torch.stack(list(workers.map(differentiate, ranks.share(len(shards))))))
    for other in others:
        total += other
    gradient: Tensor = total[:-1]
    loss: Tensor = total[-1]
    if params.gradient_clip is not None:
        gradient *= (params.gradient_clip / (gradient.norm() + 1e-6)).clamp(max=1.0)
    parts = torch.split(gradient, [one.numel() for one in weights])
    optimizer.step([part.view_as(one) for part, one in zip(parts, weights, strict=True)], rate)
    return loss


def learning_rate(params: TrainParams, step: int, steps: int) -> float:
    """Returns the rate of a step, counted from 0, of `steps`.

    `cosine` falls from the highest rate to 0 on half a cosine (Loshchilov and Hutter, arXiv:1608.03983).
    `onecycle` climbs from 1/25 of it over the first 30 % of the steps and falls to 4e-6 of it, both on half
    a cosine (Smith and Topin, arXiv:1708.07120, in the form of torch.optim.lr_scheduler.OneCycleLR).
    """
    highest = params.learning_rate
    match params.schedule:
        case "constant":
            return highest
        case "cosine":
            return _half_cosine(highest, 0.0, step / steps)
        case "onecycle":
            top = max(0.3 * steps - 1.0, 0.0)
            if step < top:
                return _half_cosine(highest / 25.0, highest, step / top)
            return _half_cosine(highest, highest / 25.0e4, (step - top) / max(steps - 1.0 - top, 1.0))


def mean_squared_error(model: nn.Module, windows: Shards, batch_size: int, workers: Workers) -> float:
    """Returns the mean over windows and instants of the squared error."""
    model.eval()
    squares, samples = 0.0, 0
    for more_squares, more_samples in workers.map(partial(_sum_of_squares, model), in_order(windows, batch_size)):
        squares += more_squares
        samples += more_samples
    return squares / samples


@torch.inference_mode()
def _sum_of_squares(model: nn.Module, batch: Batch) -> tuple[float, int]:
    return nn.functional.mse_loss(model(batch.input), batch.target, reduction="sum").item(), batch.target.numel()


_REMEDY = "lower train.learning_rate or train.gradient_clip in params.yaml, or look for huge values in the windows"


def _threads(model: nn.Module, params: TrainParams) -> int:
    """Returns how many threads can share the work: one where the accelerator does it, or dropout draws in turn."""
    on_cpu = all(weights.device.type == "cpu" for weights in model.parameters())
    draws = any(getattr(module, "dropout", 0.0) or isinstance(module, nn.Dropout) for module in model.modules())
    return 1 if draws or not on_cpu else params.threads


def _seed(device: torch.device, seed: int, step: int, shard: int) -> None:
    """Begins torch's random numbers anew; the key's length sets them apart from those of the windows' order."""
    sequence = np.random.SeedSequence(seed, spawn_key=(step, shard, 0))
    state = int(sequence.generate_state(1, np.uint64)[0])
    if device.type == "cpu":
        torch.default_generator.manual_seed(state)  # 1 microsecond; torch.manual_seed, for all devices, takes 68
    else:
        torch.manual_seed(state)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0


def _is_due(step: int, steps: int, times: int) -> bool:
    """Spreads `times` over `steps`, counted from 1, evenly, the last step always among them."""
    return step * times // steps > (step - 1) * times // steps


def _sum_finite(losses: Sequence[Tensor], step: int) -> float:
    """Returns the sum of the losses of the steps up to `step`; raises NonFiniteLossError naming the first bad one."""
    values = torch.stack(list(losses)).double()
    finite = values.isfinite()
    if not finite.all():
        first = step - len(losses) + 1 + int(finite.int().argmin())
        raise NonFiniteLossError(f"the loss is not finite at step {first}; {_REMEDY}")
    return values.sum().item()
