"""The gradient that is written out, against torch's autograd on torch's own layers."""

import pytest
import torch
from torch import nn

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.params import ModelParams
from quadrature.training.batches import Batch
from quadrature.training.gradient import error_gradient

DEFAULT = ModelParams(
    cell="gru", nonlinearity="tanh", hidden_size=7, num_layers=1, bias=True, bidirectional=False, dropout=0.0,
    execution="sequence", head="last", output="quadrature",
)  # fmt: skip


class Plain(nn.Module):
    """The article's network, of torch's layers; for the analytic signal with twice its outputs."""

    def __init__(self, hidden_size, window_length, components):
        super().__init__()
        self.gru = nn.GRU(1, hidden_size, batch_first=True)
        self.linear = nn.Linear(hidden_size, components * window_length)
        self.shape = (window_length,) if components == 1 else (components, window_length)

    def forward(self, window):
        return self.linear(self.gru(window)[0][:, -1]).unflatten(1, self.shape)


def make_networks(window_length=9, **changes):
    ours = QuadratureNetwork(DEFAULT.model_copy(update=changes), window_length)
    initialize(ours, 3)
    theirs = Plain(ours.params.hidden_size, window_length, ours.params.components)
    if set(changes) <= {"output"}:
        theirs.load_state_dict(ours.state_dict())
    return ours.double(), theirs.double()


def draw_batch(windows, window_length=9, output="quadrature"):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(windows, window_length, 1, generator=generator, dtype=torch.float64)
    shape = (windows, window_length) if output == "quadrature" else (windows, 2, window_length)
    return Batch(inputs, torch.randn(shape, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("output", ["quadrature", "analytic"])
@pytest.mark.parametrize("windows", [1, 2, 33])
def test_it_is_autograds_on_torchs_own_layers(windows, output):
    ours, theirs = make_networks(output=output)
    batch = draw_batch(windows, output=output)
    error = (theirs(batch.input) - batch.target).square().sum()
    expected = [*torch.autograd.grad(error / 1000, list(theirs.parameters())), error.detach()]
    torch.testing.assert_close(
        error_gradient(ours, batch, 1000), torch.cat([one.reshape(-1) for one in expected]), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("output", ["quadrature", "analytic"])
def test_a_network_with_a_scale_is_left_to_autograd(output):
    """Its estimates are in the signal's unit, so the gradient is scale times that of scaled windows' squared errors."""
    ours, _ = make_networks(output=output)
    batch, scale = draw_batch(5, output=output), 4.0
    expected = error_gradient(ours, batch, 45)
    ours.scale = scale
    found = error_gradient(ours, Batch(scale * batch.input, scale * batch.target), 45)
    torch.testing.assert_close(found, scale**2 * expected, rtol=1e-12, atol=1e-15)


def test_it_runs_no_autograd(monkeypatch):
    ours, _ = make_networks()
    monkeypatch.setattr(torch.autograd, "grad", None)
    assert error_gradient(ours, draw_batch(2), 18).isfinite().all()


FAMILY = [
    {},
    {"num_layers": 2},
    {"bidirectional": True},
    {"head": "every"},
    {"num_layers": 3, "bidirectional": True, "head": "every"},
    {"num_layers": 2, "bidirectional": True},
    {"output": "analytic"},
    {"output": "analytic", "head": "every"},
    {"output": "analytic", "head": "every", "num_layers": 2, "bidirectional": True},
]


@pytest.mark.parametrize("change", FAMILY)
def test_of_every_gru_with_biases_it_is_autograds_and_written_out(change, monkeypatch):
    ours, _ = make_networks(**change)
    batch = draw_batch(5, output=ours.params.output)
    error = (ours(batch.input) - batch.target).square().sum()
    expected = [*torch.autograd.grad(error / 45, list(ours.parameters())), error.detach()]
    monkeypatch.setattr(torch.autograd, "grad", None)
    found = error_gradient(ours, batch, 45)
    torch.testing.assert_close(found, torch.cat([one.reshape(-1) for one in expected]), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "change",
    [
        {"cell": "lstm"},
        {"cell": "rnn"},
        {"bias": False},
        {"execution": "stepwise"},
        {"cell": "lstm", "output": "analytic", "head": "every"},
    ],
)
def test_every_other_network_has_autograds(change):
    ours, _ = make_networks(**change)
    batch = draw_batch(5, output=ours.params.output)
    error = (ours(batch.input) - batch.target).square().sum()
    expected = [*torch.autograd.grad(error / 45, list(ours.parameters())), error.detach()]
    torch.testing.assert_close(error_gradient(ours, batch, 45), torch.cat([one.reshape(-1) for one in expected]))


@pytest.mark.parametrize("change", FAMILY)
@pytest.mark.parametrize("frozen", ["linear.bias", "linear.weight", "gru.weight_hh_l0", "gru.bias_ih_l0"])
def test_the_gradient_of_a_frozen_weight_is_zero(change, frozen):
    ours, _ = make_networks(**change)
    batch = draw_batch(5, output=ours.params.output)
    names = [name for name, _ in ours.named_parameters()]
    sizes = [weights.numel() for weights in ours.parameters()]
    expected = [*error_gradient(ours, batch, 45)[:-1].split(sizes)]
    expected[names.index(frozen)] = torch.zeros(sizes[names.index(frozen)], dtype=torch.float64)
    ours.get_parameter(frozen).requires_grad_(False)
    torch.testing.assert_close(error_gradient(ours, batch, 45)[:-1], torch.cat(expected), rtol=1e-12, atol=1e-15)


def test_an_infinite_sample_has_torchs_gradient():
    ours, theirs = make_networks()
    batch = draw_batch(3)
    batch.input[1, 4] = torch.inf
    error = (theirs(batch.input) - batch.target).square().sum()
    assert error.isfinite()  # the gates saturate
    expected = [*torch.autograd.grad(error / 27, list(theirs.parameters())), error.detach()]
    found = error_gradient(ours, batch, 27)
    torch.testing.assert_close(found, torch.cat([one.reshape(-1) for one in expected]), equal_nan=True)


def test_what_was_returned_stays_when_buffers_are_used_again():
    ours, _ = make_networks()
    first = error_gradient(ours, draw_batch(4), 36)
    before = first.clone()
    error_gradient(ours, Batch(*(2 * part for part in draw_batch(4))), 36)
    assert torch.equal(first, before)


def test_weights_may_be_trained_by_hand_and_by_autograd_in_turn():
    ours, _ = make_networks()
    batch = draw_batch(4)
    by_hand = error_gradient(ours, batch, 36)
    (ours(batch.input) - batch.target).square().sum().backward()
    by_autograd = torch.cat([weights.grad.reshape(-1) for weights in ours.parameters()])
    torch.testing.assert_close(by_hand[:-1] * 36, by_autograd)
    torch.testing.assert_close(error_gradient(ours, batch, 36), by_hand, rtol=0, atol=0)
