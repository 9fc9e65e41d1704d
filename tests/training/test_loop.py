"""Training: its steps against plain torch, its schedules against torch's, its refusal of what is not finite."""

import itertools
import math

import pytest
import torch
from torch import nn

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import load_model, save_model
from quadrature.runtime.errors import NonFiniteLossError
from quadrature.runtime.threads import Workers
from quadrature.training import loop
from quadrature.training.batches import Batch, SplitReader, epoch_batches, in_order
from quadrature.training.loop import mean_squared_error
from quadrature.training.params import TrainParams
from quadrature.training.parts import PartGradients
from quadrature.training.schedule import learning_rate
from quadrature.training.state import Training
from quadrature.training.step import TrainStep
from tests.network.test_model import make_network, make_params


def make_training(**changes):
    base = {
        "seed": 0,
        "epochs": 2,
        "batch_size": 16,
        "optimizer": "adam",
        "learning_rate": 0.01,
        "schedule": "onecycle",
        "gradient_clip": 1.0,
        "validations_per_epoch": 1,
        "snapshots": 2,
        "snapshot_windows": 1,
        "processes": 1,
        "threads": 1,
        "shuffle_windows": 64,
        "gradient_shards": 1,
    }
    return TrainParams.model_validate({**base, **changes})


def train(model, windows, validation, params, after_step=lambda _model, _step: None):
    def tell(training):
        after_step(training.model, training.step)

    return loop.train(Training(model, params), windows, validation, tell)


def make_windows(count=80, noise=0.0, seed=0, output="quadrature"):
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * math.pi * torch.rand(count, 1, generator=generator) + torch.linspace(0, math.pi, 7)
    sine = torch.sin(angle) + noise * torch.randn(count, 7, generator=generator)
    target = torch.cos(angle) if output == "quadrature" else torch.stack([torch.sin(angle), torch.cos(angle)], dim=1)
    return SplitReader.of([Batch(sine[:50, :, None], target[:50]), Batch(sine[50:, :, None], target[50:])])


def weights_after(**changes):
    network = make_network()
    list(train(network, make_windows(), make_windows(8), make_training(**changes)))
    return [weights.detach().clone() for weights in network.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize(("output", "head"), [("quadrature", "last"), ("analytic", "last"), ("analytic", "every")])
def test_training_equals_the_same_loop_written_in_plain_torch(output, head):
    """Independent of ours in all but the order of the windows and the initial weights."""
    params = make_training(learning_rate=0.02)
    ours, plain = make_network(output=output, head=head), make_network(output=output, head=head)
    windows = make_windows(output=output)
    list(train(ours, windows, make_windows(8, output=output), params))

    optimizer = torch.optim.Adam(plain.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=10, cycle_momentum=False)
    for epoch in range(2):
        for inputs, target in epoch_batches(windows, 0, epoch, 16, 64):
            optimizer.zero_grad()
            nn.functional.mse_loss(plain(inputs), target).backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_training_twice_gives_the_same_bits():
    for first, second in zip(weights_after(), weights_after(), strict=True):
        assert torch.equal(first, second)


def test_gradient_shards_change_the_order_of_sums_and_nothing_else():
    whole, sharded = weights_after(), weights_after(gradient_shards=4)
    for one, four in zip(whole, sharded, strict=True):
        torch.testing.assert_close(one, four, rtol=0, atol=1e-5)
    assert any(not torch.equal(one, four) for one, four in zip(whole, sharded, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_number_of_threads_does_not_change_a_bit(cell):
    """Twenty batches of unequal shards; with two layers and dropout as well, where one thread takes them in turn."""
    for layers, dropout in ((1, 0.0), (2, 0.3)):

        def train_with(threads, layers=layers, dropout=dropout):
            network = make_network(cell=cell, num_layers=layers, dropout=dropout, hidden_size=24)
            params = make_training(threads=threads, gradient_shards=4, epochs=4, batch_size=17)
            records = list(train(network, make_windows(), make_windows(8), params))
            return records, [weights.detach() for weights in network.parameters()]

        alone, expected = train_with(1)
        for threads in (2, 3, 8):
            records, weights = train_with(threads)
            assert records == alone
            assert all(torch.equal(one, other) for one, other in zip(weights, expected, strict=True))


def test_training_asks_torch_for_no_more_threads_than_one_each():
    """Two trainings side by side must not wait for each other's threads, which is what torch's own do, spinning."""
    seen = set()

    class Watched(nn.Linear):
        def forward(self, window):
            seen.add(torch.get_num_threads())
            return super().forward(window.squeeze(-1))

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(train(Watched(7, 7), make_windows(), make_windows(8), make_training(threads=2, gradient_shards=2)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1}


def test_a_batch_smaller_than_its_gradient_shards_trains():
    weights_after(batch_size=3, gradient_shards=5)


def test_the_gradient_is_clipped_to_its_largest_norm():
    network = make_network()
    optimizer = PlainDescent(network.parameters())
    before = torch.cat([weights.detach().clone().flatten() for weights in network.parameters()])
    params = make_training(gradient_clip=1e-3)
    take_step = TrainStep(network, optimizer, params, PartGradients(network, params))
    take_step(next(in_order(make_windows(), 50)), 1, 1.0)
    after = torch.cat([weights.detach().flatten() for weights in network.parameters()])
    assert (after - before).norm() == pytest.approx(1e-3, rel=1e-3)


class PlainDescent:
    def __init__(self, weights):
        self.weights = list(weights)

    @torch.no_grad()
    def step(self, gradients, rate):
        for weights, gradient in zip(self.weights, gradients, strict=True):
            weights.sub_(rate * gradient)


def rates(schedule, steps):
    params = make_training(schedule=schedule, learning_rate=0.5)
    return [learning_rate(params.schedule, params.learning_rate, step, steps) for step in range(steps)]


def torch_rates(make_scheduler, steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make_scheduler(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("steps", [4, 10, 97, 1000])
def test_onecycle_is_torchs(steps):
    expected = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=steps), steps
    )
    assert rates("onecycle", steps) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 10, 97])
def test_cosine_is_torchs(steps):
    expected = torch_rates(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps), steps)
    assert rates("cosine", steps) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_have_finite_rates(steps):
    for schedule in ("constant", "cosine", "onecycle"):
        assert all(0.0 <= rate <= 0.5 for rate in rates(schedule, steps))


def test_records_come_as_often_as_asked_and_at_the_end_of_each_epoch():
    records = list(train(make_network(), make_windows(), make_windows(8), make_training(validations_per_epoch=2)))
    assert [(record.epoch, record.step) for record in records] == [(0.6, 3), (1.0, 5), (1.6, 8), (2.0, 10)]
    often = list(train(make_network(), make_windows(), make_windows(8), make_training(validations_per_epoch=99)))
    assert [record.step for record in often] == list(range(1, 11))


@pytest.mark.parametrize("output", ["quadrature", "analytic"])
def test_recorded_errors_are_the_mean_over_the_steps_since_and_over_the_validation_windows(output):
    frozen, windows = make_network(output=output), make_windows(output=output)
    expected = mean_squared_error(frozen, windows, 16, Workers(1))
    validation = make_windows(8, seed=1, output=output)
    # A rate too small to move a float32 weight: every step sees the same network.
    (record, _) = train(frozen, windows, validation, make_training(learning_rate=1e-30))
    assert record.train_mse == pytest.approx(expected, rel=1e-6)
    (batch,) = in_order(validation, 8)
    estimates, targets = frozen(batch.input), batch.target
    assert record.validation_mse == pytest.approx((estimates - targets).square().mean().item(), rel=1e-6)


def test_after_step_sees_the_model_before_training_and_after_every_step():
    network, seen = make_network(), []

    def look(model, step):
        seen.append((step, model.linear.bias.detach().clone()))

    list(train(network, make_windows(), make_windows(8), make_training(), look))
    assert [step for step, _ in seen] == list(range(11))
    assert torch.equal(seen[0][1], make_network().linear.bias)
    assert torch.equal(seen[10][1], network.linear.bias)
    assert all(not torch.equal(before, after) for (_, before), (_, after) in itertools.pairwise(seen))


@pytest.mark.parametrize(
    ("cell", "execution", "head", "output"),
    [
        *itertools.product(("rnn", "lstm", "gru"), ("sequence", "stepwise"), ("last", "every"), ("quadrature",)),
        ("gru", "sequence", "last", "analytic"),
        ("lstm", "stepwise", "every", "analytic"),
    ],
)
def test_a_network_trains_on_from_its_file_as_if_it_had_stayed(cell, execution, head, output, tmp_path):
    network = make_network(cell=cell, execution=execution, head=head, output=output, num_layers=2, dropout=0.2)
    windows, validation = make_windows(output=output), make_windows(8, output=output)
    list(train(network, windows, validation, make_training()))
    save_model(network, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    before = loaded.linear.weight.detach().clone()
    for one in (network, loaded):
        list(train(one, windows, validation, make_training(seed=1)))
    assert not torch.equal(before, loaded.linear.weight)
    for stayed, again in zip(network.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(stayed, again)


@pytest.mark.slow
def test_one_batch_can_be_learnt_by_heart():
    params = make_training(epochs=400, batch_size=80, shuffle_windows=80, learning_rate=0.02)
    network = QuadratureNetwork(make_params(hidden_size=16), 7)
    initialize(network, 0)
    *_, last = train(network, make_windows(), make_windows(8, seed=1), params)
    assert last.train_mse < 1e-4


@pytest.mark.slow
def test_any_module_can_be_trained():
    module = nn.Sequential(nn.Flatten(), nn.Linear(7, 7))
    *_, last = train(module, make_windows(), make_windows(8), make_training(epochs=300, learning_rate=0.05))
    assert last.validation_mse < 1e-6  # of one frequency, the cosine is a linear map of the sine


@pytest.mark.parametrize("bad_step", [1, 4, 7])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("optimizer", ["adam", "soap"])
def test_a_loss_that_is_not_finite_ends_training_naming_its_step(bad_step, value, optimizer):
    class Spoilt(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(7, 7)
            self.steps = 0

        def forward(self, window):
            self.steps += self.training
            return self.linear(window.squeeze(-1)) * (value if self.training and self.steps == bad_step else 1.0)

    with pytest.raises(NonFiniteLossError, match=f"not finite at step {bad_step};") as caught:
        list(train(Spoilt(), make_windows(), make_windows(8), make_training(optimizer=optimizer)))
    assert caught.value.exit_code == 70
