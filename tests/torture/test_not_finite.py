"""A loss, gradient or weight that is not finite ends training with 70 and its step; no output, and no state is lost."""

import math

import numpy as np
import pytest
import torch

from quadrature.storage.windows import TARGET_COLUMNS, WINDOW_COLUMNS, Split, shard_path, writing
from quadrature.training.batches import Batch, SplitReader, epoch_batches
from tests.checkout import SMALL, Checkout
from tests.forks import after_step, clear, interrupt, run_stage, written

pytestmark = pytest.mark.slow

STEPS = {"train.epochs": 6, "train.batch_size": 420, "train.validations_per_epoch": 1}
RELU = {"model.cell": "rnn", "model.nonlinearity": "relu"}
OPTIONS = ("train", "--save-every", "0")

POISONS = {
    "loss": ({}, "target", 1e30),
    "loss of the in-phase component": ({}, "in_phase", 1e30),
    "gradient": (RELU, "input", 1e18),
    "input": (RELU, "input", 1e38),
}
"""Changes that overflow a number: parameters, and a value in one window. `gradient` has a finite loss."""


def draw(checkout):
    run_stage(checkout, "generate")
    run_stage(checkout, "targets")


def make_checkout(path, parameters=None):
    checkout = Checkout.make(path, {**SMALL, **STEPS, **(parameters or {})})
    draw(checkout)
    for output in checkout.path.glob("metrics/*.*"):
        output.unlink()
    return checkout


def first_window(checkout, step, sizes):
    """Returns the shard and row of the first window in a step of the first epoch, given the shards' sizes."""
    numbers = torch.arange(sum(sizes), dtype=torch.float32).split(list(sizes))
    shards = SplitReader.of([Batch(part.reshape(-1, 1, 1), part.reshape(-1, 1)) for part in numbers])
    train = checkout.yaml("params.yaml")["train"]
    *_, batch = zip(
        epoch_batches(shards, train["seed"], 0, train["batch_size"], train["shuffle_windows"]),
        range(step),
        strict=False,
    )
    number = int(batch[0].target[0])
    starts = np.cumsum([0, *sizes])
    shard = int(np.searchsorted(starts, number, side="right")) - 1
    return shard, number - int(starts[shard])


def poison(checkout, step, column, value):
    """Writes a far too large value into the input or target of the first window of a training step."""
    kind, leading = ("windows", WINDOW_COLUMNS) if column == "input" else ("targets", TARGET_COLUMNS)
    folder = checkout.path / "data" / kind / "train"
    split = Split(folder, leading=leading)
    shards = [
        {name: array.copy() for name, array in split.read(shard, split.columns).items()}
        for shard in range(len(split.sizes))
    ]
    shard, row = first_window(checkout, step, split.sizes)
    shards[shard][column][row, 0] = value
    with writing(shard_path(folder, shard), shard, len(shards)) as file:
        file.write(shards[shard])


@pytest.mark.parametrize("what", POISONS)
def test_windows_that_a_step_cannot_take_end_training_at_that_step(tmp_path, tally, chosen, what):
    parameters, column, value = POISONS[what]
    once = {"train.epochs": 1, "train.batch_size": 64}
    checkout = make_checkout(tmp_path, {**once, **parameters})
    for step in chosen(range(1, 31)):
        draw(checkout)
        poison(checkout, step, column, value)
        with tally.trying(f"a step whose {what} is not finite"):
            for begun in ("", f"resuming after step {step - 1} of an interrupted run\n"):
                ended = run_stage(checkout, *OPTIONS)
                assert begun in ended.stderr
                assert_told(ended, f"the loss or its gradient is not finite at step {step}; lower train.learning_rate")
                assert written(checkout, "train") == {}


def assert_told(ended, line):
    assert ended.returncode == 70, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(line)
    assert ended.stderr.endswith(", or look for huge values in the windows\n")


@torch.no_grad()
def spoil(network):
    network.linear.bias[0] = math.nan


def spoil_and_interrupt(network):
    spoil(network)
    interrupt(network)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkout, and the digests of an undisturbed training's outputs."""
    checkout = make_checkout(tmp_path_factory.mktemp("trained"))
    assert run_stage(checkout, *OPTIONS).returncode == 0
    return checkout, written(checkout, "train")


def test_a_weight_that_a_fault_spoils_costs_no_more_than_the_run(trained, tally, chosen):
    checkout, golden = trained
    for step in chosen(range(30)):
        clear(checkout, "train")
        with tally.trying("a weight that is not finite"):
            assert_told(
                run_stage(checkout, *OPTIONS, torment=after_step(step, spoil)),
                f"the loss or its gradient is not finite at step {step + 1};",
            )
            assert written(checkout, "train") == {}
            again = run_stage(checkout, *OPTIONS)
            assert again.returncode == 0
            assert step == 0 or f"resuming after step {step - 1} " in again.stderr
            assert written(checkout, "train") == golden


def test_a_state_that_is_not_finite_is_not_kept_either_when_a_signal_comes(trained, tally, chosen):
    checkout, golden = trained
    for step in chosen(range(30)):
        clear(checkout, "train")
        with tally.trying("a weight that is not finite, as a signal comes"):
            ended = run_stage(checkout, *OPTIONS, torment=after_step(step, spoil_and_interrupt))
            told = "interrupted by SIGTERM; the saved state is from before a number was not finite"
            assert (ended.returncode, ended.stderr.splitlines()[-1]) == (75, told)
            assert run_stage(checkout, *OPTIONS).returncode == 0
            assert written(checkout, "train") == golden
