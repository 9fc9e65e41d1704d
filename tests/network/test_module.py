"""As a module, a network does all that torch's layers do: it holds them, and what is faster stays out of their way."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_sequence

from quadrature.network.model import QuadratureNetwork, estimate
from quadrature.training.batches import Batch
from quadrature.training.gradient import error_gradient
from tests.network.test_gru import PARAMS, draw, make_network

# Warnings of torch's own about torch's own code, which the project does not call outside these tests.
ignore_torchs_warnings = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script` is deprecated:DeprecationWarning",
    "ignore:The tensor attributes:UserWarning",
    "ignore:The .grad attribute:UserWarning",
)

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
DEEP = {"num_layers": 2}
ANALYTIC = {"output": "analytic"}


@pytest.mark.parametrize("cell", CELLS)
def test_it_holds_torchs_own_layer(cell):
    assert type(make_network(cell=cell).recurrent) is CELLS[cell]


@pytest.mark.slow
@ignore_torchs_warnings
@pytest.mark.parametrize("change", [{}, DEEP, {"head": "every"}, ANALYTIC, {"head": "every", **ANALYTIC}])
@pytest.mark.parametrize("cell", CELLS)
def test_first_and_second_derivatives_are_those_of_finite_differences(cell, change):
    network = make_network(3, dtype=torch.float64, hidden_size=2, cell=cell, **change)
    window = draw(2, 3, 1).requires_grad_()
    weights = dict(network.named_parameters())

    def compute(window, *values):
        return torch.func.functional_call(network, dict(zip(weights, values, strict=True)), window)

    assert torch.autograd.gradcheck(compute, (window, *weights.values()), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(compute, (window, *weights.values()))


@pytest.mark.parametrize("change", [{}, DEEP])
def test_a_gradient_penalty_trains(change):
    """The incoming gradient of a sum needs none itself."""
    network = make_network(dtype=torch.float64, **change)
    window = draw(2, 6, 1).requires_grad_()
    (slope,) = torch.autograd.grad(network(window).sum(), window, create_graph=True)
    slope.square().sum().backward()
    gradient = network.recurrent.weight_hh_l0.grad[0, 0].item()

    def penalty(change):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            moved.recurrent.weight_hh_l0[0, 0] += change
        (slope,) = torch.autograd.grad(moved(window).sum(), window)
        return slope.square().sum().item()

    assert gradient == pytest.approx((penalty(1e-5) - penalty(-1e-5)) / 2e-5, rel=1e-6)


@pytest.mark.slow
@ignore_torchs_warnings
@pytest.mark.parametrize("change", [{}, DEEP, {"head": "every", **ANALYTIC}])
def test_forward_mode_is_reverse_mode(change):
    network = make_network(dtype=torch.float64, **change)
    window = draw(2, 6, 1)
    torch.testing.assert_close(torch.func.jacfwd(network)(window), torch.func.jacrev(network)(window))


@pytest.mark.parametrize("change", [{}, DEEP])
@pytest.mark.parametrize("weights", ["weight_ih_l0", "weight_hh_l0"])
def test_a_weight_that_changed_before_the_backward_pass_is_noticed(weights, change):
    network = make_network(**change)
    loss = network(draw(2, 6, 1, dtype=torch.float32).requires_grad_()).square().sum()
    with torch.no_grad():
        network.recurrent.get_parameter(weights).mul_(1.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_backward_pass_adds_the_same_gradient():
    network = make_network()
    loss = network(draw(2, 6, 1, dtype=torch.float32)).square().sum()
    loss.backward(retain_graph=True)
    once = network.recurrent.weight_hh_l0.grad.clone()
    loss.backward()
    torch.testing.assert_close(network.recurrent.weight_hh_l0.grad, 2 * once)


def test_packed_sequences_and_keyword_arguments_are_taken():
    layer = make_network().recurrent
    long, short = draw(1, 6, 1, dtype=torch.float32), draw(1, 4, 1, dtype=torch.float32, seed=1)
    _, final = layer(pack_sequence([long[0], short[0]]))
    expected = [layer(input=window, hx=torch.zeros(1, 1, 5))[1] for window in (long, short)]
    torch.testing.assert_close(final, torch.cat(expected, 1))


def test_samples_of_another_type_than_the_weights_are_refused():
    window = draw(2, 6, 1)
    for compute in (make_network(), lambda window: estimate(make_network(), window)):
        with pytest.raises((RuntimeError, ValueError), match=r"dtype|same type"):
            compute(window)


@pytest.mark.slow
@ignore_torchs_warnings
@pytest.mark.parametrize("change", [{}, DEEP, ANALYTIC, {"head": "every", **ANALYTIC}])
def test_an_export_without_gradients_leaves_nothing_behind(change):
    network = make_network(**change).eval()
    window = draw(2, 6, 1, dtype=torch.float32)
    with torch.no_grad():
        exported = torch.export.export(network, (window,)).module()
        torch.testing.assert_close(exported(window), network(window))
    assert type(estimate(network, window)) is torch.Tensor
    torch.testing.assert_close(estimate(network, window), exported(window).detach())


@pytest.mark.slow
@ignore_torchs_warnings
@pytest.mark.parametrize("change", [{}, ANALYTIC, {"head": "every", **ANALYTIC}])
def test_it_compiles(change):
    network = make_network(**change)
    window = draw(2, 6, 1, dtype=torch.float32)
    torch.testing.assert_close(torch.compile(network, backend="eager")(window), network(window))


class Doubled(QuadratureNetwork):
    """A network with another forward pass."""

    def forward(self, window, state=None):
        return 2.0 * super().forward(window, state)


def doubled_by_a_subclass():
    network = Doubled(PARAMS, 6)
    network.load_state_dict(make_network().state_dict())
    return network


def doubled_by_a_hook_of(name):
    def make():
        network = make_network()
        network.get_submodule(name).register_forward_hook(lambda _module, _arguments, result: double(result))
        return network

    return make


def double(result):
    return tuple(map(double, result)) if isinstance(result, tuple) else 2.0 * result


def weight_normed():
    network = make_network()
    parametrizations.weight_norm(network.recurrent, "weight_hh_l0")
    with torch.no_grad():
        network.recurrent.parametrizations.weight_hh_l0.original0.mul_(2.0)
    return network


CHANGED = {
    "a subclass": doubled_by_a_subclass,
    "a hook of the network": doubled_by_a_hook_of(""),
    "a hook of the layer": doubled_by_a_hook_of("gru"),
    "a hook of the head": doubled_by_a_hook_of("linear"),
    "weight norm": weight_normed,
}


@pytest.mark.parametrize("change", CHANGED)
def test_estimates_and_gradients_are_those_of_the_module_as_it_was_changed(change):
    network, window, target = CHANGED[change](), draw(3, 6, 1, dtype=torch.float32), torch.zeros(3, 6)
    expected = network(window)
    assert not torch.allclose(expected, make_network()(window))
    torch.testing.assert_close(estimate(network, window), expected.detach())
    error = (expected - target).square().sum()
    gradients = torch.autograd.grad(error / 18, list(network.parameters()))
    found = error_gradient(network, Batch(window, target), 18)
    torch.testing.assert_close(found, torch.cat([*(one.reshape(-1) for one in gradients), error.detach().reshape(1)]))


def test_a_hook_of_a_weight_acts_on_its_gradient():
    network, batch = make_network(), Batch(draw(3, 6, 1, dtype=torch.float32), torch.zeros(3, 6))
    before = error_gradient(network, batch, 18)
    network.linear.bias.register_hook(lambda gradient: 3.0 * gradient)
    after = error_gradient(network, batch, 18)
    torch.testing.assert_close(after[-7:-1], 3.0 * before[-7:-1])
    torch.testing.assert_close(after[:-7], before[:-7])
