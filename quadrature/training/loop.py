"""Gradient descent on the mean squared error: one step, one epoch after another, validation on the way.

Takes any module that maps a batch's input to an estimate of its target. What a step does depends on its
number, the parameters and the windows, and on nothing that has to be remembered but weights and optimizer.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Literal, Protocol

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn
from tqdm import tqdm

from quadrature.network.device import compute_alone, computing_alone
from quadrature.runtime.errors import NonFiniteLossError
from quadrature.runtime.params import Section, Seed
from quadrature.runtime.threads import Workers
from quadrature.storage.history import Record
from quadrature.training.adam import Adam
from quadrature.training.batches import Batch, Shards, epoch_batches, in_order
from quadrature.training.checkpoint import prefixed, within
from quadrature.training.distributed import Ranks
from quadrature.training.gradient import error_gradient
from quadrature.training.schedule import Schedule, learning_rate
from quadrature.training.soap import SOAP

ALONE = Ranks()


class Optimizer(Protocol):
    """Moves weights; `state` and `restore` are those of a checkpoint."""

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Moves the weights against their gradients."""

    def state(self) -> dict[str, Tensor]: ...
    def restore(self, state: Mapping[str, Tensor]) -> None: ...


class TrainParams(Section):
    """The `train` section."""

    seed: Seed
    epochs: Annotated[int, Field(ge=1, le=10**6)]
    batch_size: Annotated[int, Field(ge=1, le=2**24)]  # windows per optimizer step
    optimizer: Literal["adam", "soap"]
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)]  # the schedule's highest
    schedule: Schedule
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


class Training:
    """A model on its way: with the parameters and the windows, all that going on takes."""

    def __init__(self, model: nn.Module, params: TrainParams) -> None:
        self.model = model
        self.params = params
        self.optimizer = make_optimizer(model, params)
        self.step = 0  # steps done
        self.records: list[Record] = []
        self.samples = 0  # that the losses since the last record are sums over
        # One buffer, not a tensor a step: those would pin the memory that each step's others are returned to, and a
        # training of 1,500 large steps would hold three times what it needs.
        self._losses = torch.zeros(64, device=next(model.parameters()).device)
        self._noted = 0  # of them

    @property
    def losses(self) -> Tensor:
        """The sums of squared errors of the steps since the last record."""
        return self._losses[: self._noted]

    def note(self, loss: Tensor, samples: int) -> None:
        """Counts a step done, whose loss is a sum over so many samples."""
        self.step += 1
        self.samples += samples
        if self._noted == len(self._losses):
            self._losses = torch.cat([self._losses, torch.zeros_like(self._losses)])
        self._losses[self._noted] = loss
        self._noted += 1

    def record(self, record: Record) -> None:
        """Keeps a record of the steps since the one before."""
        self.records.append(record)
        self.samples = self._noted = 0

    def state(self) -> dict[str, Tensor]:
        """Returns all that changes from step to step."""
        return {
            "step": torch.tensor(self.step),
            "samples": torch.tensor(self.samples),
            "losses": self.losses.clone(),
            "records": torch.tensor(self.records, dtype=torch.float64),
            **prefixed("model", self.model.state_dict()),
            **prefixed("optimizer", self.optimizer.state()),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a state."""
        self.step, self.samples = int(state["step"]), int(state["samples"])
        losses = state["losses"].to(self._losses.device)
        self._noted = len(losses)
        self._losses = torch.cat([losses, torch.zeros_like(self._losses)])
        rows = state["records"].tolist()
        self.records = [Record(epoch, int(step), *figures) for epoch, step, *figures in rows]
        self.model.load_state_dict(within("model", state))
        self.optimizer.restore(within("optimizer", state))


def train(
    training: Training,
    windows: Shards,
    validation: Shards,
    after_step: Callable[[Training], None] = lambda _training: None,
    ranks: Ranks = ALONE,
) -> Iterator[Record]:
    """Trains the model in place to its end, yielding a record `validations_per_epoch` times an epoch.

    Calls `after_step` before the first step and after each, its record, if it has one, included.
    Raises NonFiniteLossError, before the next record, when a step's loss or gradient is infinite or not a number.
    """
    model, params, epoch_steps = training.model, training.params, steps_per_epoch(windows, training.params)
    if training.step == 0:
        after_step(training)
    with computing_alone(), Workers(_threads(model, params), compute_alone) as workers:
        take_step = TrainStep(model, training.optimizer, params, workers, ranks)
        for epoch in range(training.step // epoch_steps, params.epochs):
            model.train()
            done = training.step - epoch * epoch_steps
            batches = epoch_batches(windows, params.seed, epoch, params.batch_size, params.shuffle_windows, done)
            bar = partial(tqdm, total=epoch_steps, initial=done, unit="step", leave=False, disable=_is_silent(ranks))
            for epoch_step, batch in enumerate(bar(batches, f"epoch {epoch + 1}"), done + 1):
                rate = learning_rate(params.schedule, params.learning_rate, training.step, params.epochs * epoch_steps)
                training.note(take_step(batch, training.step + 1, rate), batch.target.numel())
                if _is_due(epoch_step, epoch_steps, params.validations_per_epoch):
                    yield _record(training, epoch + epoch_step / epoch_steps, rate, validation, workers)
                    model.train()
                after_step(training)


def _record(training: Training, epoch: float, rate: float, validation: Shards, workers: Workers) -> Record:
    train_mse = _sum_finite(training.losses, training.step) / training.samples
    validation_mse = mean_squared_error(training.model, validation, training.params.batch_size, workers)
    if not math.isfinite(validation_mse):
        raise NonFiniteLossError(f"the validation loss is not finite at step {training.step}; {_REMEDY}")
    record = Record(epoch, training.step, rate, train_mse, validation_mse)
    training.record(record)
    return record


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
        shards = self._shards(batch)

        def differentiate(shard: int) -> Tensor:
            if not len(shards[shard].input):
                return batch.input.new_zeros(sum(self._sizes) + 1)
            if self._draws:
                # From torch's global stream, so each shard of each step begins it anew: nothing to remember
                # between steps, and the same draws whoever computes the shard.
                _seed(batch.input.device, self._params.seed, step, shard)
            return error_gradient(self._model, shards[shard], batch.target.numel())

        own = self._ranks.share(len(shards))
        total, *others = self._ranks.gather(torch.stack(list(self._workers.map(differentiate, own))))
        for other in others:
            total += other
        gradient: Tensor = total[:-1]
        norm = gradient.norm()
        loss: Tensor = total[-1] + 0.0 * norm  # not finite where the gradient is not
        if self._params.gradient_clip is not None:
            gradient *= (self._params.gradient_clip / (norm + 1e-6)).clamp(max=1.0)
        parts = torch.split(gradient, self._sizes)
        self._optimizer.step([part.view_as(one) for part, one in zip(parts, self._weights, strict=True)], rate)
        return loss

    def _shards(self, batch: Batch) -> list[Batch]:
        parts = (part.tensor_split(self._params.gradient_shards) for part in batch)
        return [Batch(*shard) for shard in zip(*parts, strict=True)]


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
    return 1 if draws(model) or not on_cpu else params.threads


def _is_silent(ranks: Ranks) -> bool | None:
    """Whether no bar is drawn: by all but one process; that one draws where there is a terminal, which None says."""
    return None if ranks.is_main_process else True


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


def _is_due(step: int, steps: int, times: int) -> bool:
    """Spreads `times` over `steps`, counted from 1, evenly, the last step always among them."""
    return step * times // steps > (step - 1) * times // steps


def _sum_finite(losses: Tensor, step: int) -> float:
    """Returns the sum of the losses of the steps up to `step`; raises NonFiniteLossError naming the first bad one."""
    values = losses.double()
    finite = values.isfinite()
    if not finite.all():
        first = step - len(losses) + 1 + int(finite.int().argmin())
        raise NonFiniteLossError(f"the loss or its gradient is not finite at step {first}; {_REMEDY}")
    return values.sum().item()
