"""Gradient descent on the mean squared error: epochs of steps, with validation on the way.

The loop takes any module that maps a batch's input to an estimate of its target. A step depends on its number, the
parameters, the windows, the weights and the optimizer's state, and on nothing else.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor, nn
from tqdm import tqdm

from quadrature.network.device import compute_alone, computing_alone
from quadrature.network.model import estimate
from quadrature.runtime.errors import NonFiniteLossError
from quadrature.runtime.threads import Workers
from quadrature.storage.history import Record
from quadrature.training.batches import Batch, SplitReader, epoch_batches, in_order
from quadrature.training.distributed import Ranks
from quadrature.training.params import TrainParams
from quadrature.training.parts import PartGradients
from quadrature.training.schedule import learning_rate
from quadrature.training.state import Training
from quadrature.training.step import ALONE, TrainStep


def train(
    training: Training,
    windows: SplitReader,
    validation: SplitReader,
    after_step: Callable[[Training], None] = lambda _training: None,
    ranks: Ranks = ALONE,
) -> Iterator[Record]:
    """Trains the model in place to its end, yielding a record `validations_per_epoch` times an epoch.

    The records' errors are in the signal's unit squared; losses, which the steps reduce, are in units of the scale.
    Calls `after_step` before the first step and after each step, once its record, if any, is yielded. Raises
    NonFiniteLossError, before the next record, if a step's loss or gradient is infinite or not a number.
    """
    model, params, epoch_steps = training.model, training.params, steps_per_epoch(windows, training.params)
    if training.step == 0:
        after_step(training)
    own = ranks.own_parts(params.gradient_shards)
    with (
        computing_alone(),
        PartGradients(model, params, own, params.threads) as gradients,
        Workers(_threads(model, params), compute_alone) as workers,
    ):
        take_step = TrainStep(model, training.optimizer, params, gradients, ranks)
        for epoch in range(training.step // epoch_steps, params.epochs):
            model.train()
            done = training.step - epoch * epoch_steps
            batches = epoch_batches(windows, params.seed, epoch, params.batch_size, params.shuffle_windows, done)
            bar = partial(tqdm, total=epoch_steps, initial=done, unit="step", leave=False, disable=_is_silent(ranks))
            for epoch_step, batch in enumerate(bar(batches, f"epoch {epoch + 1}"), done + 1):
                rate = learning_rate(params.schedule, params.learning_rate, training.step, params.epochs * epoch_steps)
                loss = take_step(batch, training.step + 1, rate)
                training.add_loss(loss, batch.target.numel())
                if _is_due(epoch_step, epoch_steps, params.validations_per_epoch):
                    yield _record(training, epoch + epoch_step / epoch_steps, rate, validation, workers)
                    model.train()
                after_step(training)


def steps_per_epoch(windows: SplitReader, params: TrainParams) -> int:
    """Returns the number of batches that hold every window once."""
    return math.ceil(windows.window_count / params.batch_size)


def mean_squared_error(model: nn.Module, windows: SplitReader, batch_size: int, workers: Workers) -> float:
    """Returns the squared error's mean over windows, components and instants, in the signal's unit squared."""
    model.eval()
    squares, samples = 0.0, 0
    for more_squares, more_samples in workers.map(partial(_sum_of_squares, model), in_order(windows, batch_size)):
        squares += more_squares
        samples += more_samples
    return squares / samples * windows.scale**2


def _sum_of_squares(model: nn.Module, batch: Batch) -> tuple[float, int]:
    squares = nn.functional.mse_loss(estimate(model, batch.input), batch.target, reduction="sum")
    return squares.item(), batch.target.numel()


def _record(training: Training, epoch: float, rate: float, validation: SplitReader, workers: Workers) -> Record:
    train_mse = _sum_finite(training.losses, training.step) / training.samples * validation.scale**2
    validation_mse = mean_squared_error(training.model, validation, training.params.batch_size, workers)
    if not math.isfinite(validation_mse):
        raise NonFiniteLossError(f"the validation loss is not finite at step {training.step}; {_REMEDY}")
    record = Record(epoch, training.step, rate, train_mse, validation_mse)
    training.add_record(record)
    return record


_REMEDY = "lower train.learning_rate or train.gradient_clip in params.yaml, or look for huge values in the windows"


def _sum_finite(losses: Tensor, step: int) -> float:
    """Returns the sum of the losses of the steps up to `step`; raises NonFiniteLossError naming the first bad step."""
    values = losses.cpu().double()  # an Apple GPU has no float64
    finite = values.isfinite()
    if not finite.all():
        first = step - len(losses) + 1 + int(finite.int().argmin())
        raise NonFiniteLossError(f"the loss or its gradient is not finite at step {first}; {_REMEDY}")
    return values.sum().item()


def _threads(model: nn.Module, params: TrainParams) -> int:
    """Returns the number of threads that share a validation: one on an accelerator."""
    return params.threads if all(weights.device.type == "cpu" for weights in model.parameters()) else 1


def _is_silent(ranks: Ranks) -> bool | None:
    """Returns tqdm's `disable`: None, a bar on a terminal only, for the main process, and True for the others."""
    return None if ranks.is_main_process else True


def _is_due(step: int, steps: int, times: int) -> bool:
    """Whether a step, counted from 1, is one of `times` evenly spaced among `steps`; the last one always is."""
    return step * times // steps > (step - 1) * times // steps
