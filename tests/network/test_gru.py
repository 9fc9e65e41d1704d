"""Passes of a GRU against torch.nn.GRU, and which modules they stand in for."""

import itertools
import threading

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from quadrature.network.gru import GRUPass, is_hooked, is_supported
from quadrature.network.model import MAX_WINDOWS_ON_CPU, QuadratureNetwork, estimate, initialize, predict
from quadrature.network.params import ModelParams

PARAMS = ModelParams(
    cell="gru", nonlinearity="tanh", hidden_size=5, num_layers=1, bias=True, bidirectional=False, dropout=0.0,
    execution="sequence", head="last", output="quadrature",
)  # fmt: skip


def make_layer(input_size=1, hidden_size=5, dtype=torch.float64, **options):
    layer = nn.GRU(input_size, hidden_size, batch_first=True, **options).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in layer.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator, dtype=dtype) * 0.7)
    return layer


def make_network(window_length=6, dtype=torch.float32, **changes):
    network = QuadratureNetwork(PARAMS.model_copy(update=changes), window_length)
    initialize(network, 3)
    return network.to(dtype)


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def passed(layer, window):
    """Returns states, final state and the weights' gradients of a weighing of both, as `called` does."""
    with torch.inference_mode():
        run = GRUPass(layer, window)
        found = [run.states.permute(2, 0, 1).clone(), run.final.t().clone()]
        weighing = torch.cos(torch.arange(found[0].numel(), dtype=window.dtype)).view_as(found[0])
        found += run.backward(weighing.permute(1, 2, 0), 2 * run.final)
        run.release()
    return found


def called(layer, window):
    states, final = layer(window)
    last = final[-2 if layer.bidirectional else -1 :].transpose(0, 1).flatten(1)
    weighing = torch.cos(torch.arange(states.numel(), dtype=states.dtype)).view_as(states)
    loss = (states * weighing).sum() + last.square().sum()
    return [states.detach(), last.detach(), *torch.autograd.grad(loss, list(layer.parameters()))]


@pytest.mark.parametrize(("layers", "bidirectional"), [*itertools.product((1, 2, 3), (False, True))])
@pytest.mark.parametrize("input_size", [1, 3])
def test_values_and_gradients_are_torchs(layers, bidirectional, input_size):
    layer = make_layer(input_size, num_layers=layers, bidirectional=bidirectional)
    window = draw(4, 6, input_size)
    for mine, reference in zip(passed(layer, window), called(layer, window), strict=True):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_float32_is_as_near_to_float64_as_torchs(scale):
    """tanh by way of the sigmoid, near zero and where it saturates."""
    exact, single = make_layer(hidden_size=32), make_layer(hidden_size=32).float()
    window = draw(64, 10, 1) * scale
    expected = exact(window)[1][0]
    mine, reference = passed(single, window.float())[1], single(window.float())[1][0]
    assert (mine - expected).abs().max() < 2 * (reference - expected).abs().max() + 1e-6


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0])
def test_estimates_of_small_windows_keep_their_digits(scale, bias):
    """Without biases an estimate is as small as its window: relative precision counts."""
    single, exact = make_network(bias=bias), make_network(bias=bias, dtype=torch.float64)
    window = draw(64, 6, 1) * scale
    with torch.no_grad():
        expected = exact(window)
        error = (torch.from_numpy(predict(single, window[:, :, 0].float().numpy(), 64)) - expected).abs().max()
        torchs = (single(window.float()) - expected).abs().max()
    assert error < 4 * torchs + 1e-7 * expected.abs().max()


@pytest.mark.parametrize("head", ["last", "every"])
def test_an_infinite_sample_is_estimated_as_torch_does(head):
    network = make_network(head=head)
    window = draw(4, 6, 1, dtype=torch.float32)
    window[2, 3] = torch.inf
    with torch.no_grad():
        expected = network(window)
    assert expected.isfinite().all()  # the gates saturate
    torch.testing.assert_close(torch.from_numpy(predict(network, window[:, :, 0].numpy(), 4)), expected)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"head": "every"},
        {"num_layers": 2, "bidirectional": True},
        {"output": "analytic"},
        {"output": "analytic", "head": "every"},
    ],
)
@pytest.mark.parametrize("batch", [1, MAX_WINDOWS_ON_CPU, MAX_WINDOWS_ON_CPU + 1, 3 * MAX_WINDOWS_ON_CPU + 7])
def test_an_estimate_is_the_modules(batch, change):
    network = make_network(dtype=torch.float64, **change)
    window = draw(batch, 6, 1)
    with torch.no_grad():
        torch.testing.assert_close(estimate(network, window), network(window), rtol=0, atol=1e-12)


def test_buffers_that_are_used_again_change_nothing_that_was_returned():
    network = make_network()
    first = estimate(network, draw(4, 6, 1, dtype=torch.float32))
    before = first.clone()
    estimate(network, draw(4, 6, 1, dtype=torch.float32, seed=1))
    assert torch.equal(first, before)


def test_threads_do_not_share_buffers():
    layer = make_layer(hidden_size=16, dtype=torch.float32)
    windows = [draw(64, 10, 1, dtype=torch.float32, seed=seed) for seed in range(4)]
    expected = [passed(layer, window) for window in windows]
    wrong = []

    def compare(window, reference):
        same = [torch.equal(*pair) for _ in range(30) for pair in zip(passed(layer, window), reference, strict=True)]
        wrong.extend(one for one in same if not one)

    threads = [threading.Thread(target=compare, args=pair) for pair in zip(windows, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Subclass(nn.GRU):
    """A layer that may compute anything."""


def hook_of_the_backward_pass(layer):
    layer.register_full_backward_hook(lambda *_: None)


def change_the_forward(layer):
    layer.forward = lambda window: (window, window)


LEFT_TO_TORCH = {
    "forward hook": lambda layer: layer.register_forward_hook(lambda *_: None),
    "forward pre-hook": lambda layer: layer.register_forward_pre_hook(lambda *_: None),
    "backward hook": hook_of_the_backward_pass,
    "backward pre-hook": lambda layer: layer.register_full_backward_pre_hook(lambda *_: None),
    "hook of a weight": lambda layer: layer.weight_hh_l0.register_hook(lambda gradient: 2 * gradient),
    "forward of its own": change_the_forward,
    "weight norm": lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"),
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer, "weight_ih_l0"),
    "weights of another type": lambda layer: layer.double(),
}


@pytest.mark.parametrize("change", LEFT_TO_TORCH)
def test_a_changed_layer_is_left_to_torch(change):
    layer = make_layer(dtype=torch.float32)
    window = draw(4, 6, 1, dtype=torch.float32)
    assert is_supported(layer, window)
    LEFT_TO_TORCH[change](layer)
    assert not is_supported(layer, window)


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(1, 5, batch_first=True),
        nn.RNN(1, 5, batch_first=True),
        Subclass(1, 5, batch_first=True),
        nn.GRU(1, 5),
        nn.GRU(1, 5, bias=False, batch_first=True),
        nn.GRU(1, 5, num_layers=2, dropout=0.5, batch_first=True),
        nn.GRU(2, 5, batch_first=True),
    ],
    ids=["LSTM", "RNN", "subclass", "time first", "no biases", "dropout", "other input size"],
)
def test_another_layer_is_left_to_torch(layer):
    assert not is_supported(layer, draw(4, 6, 1, dtype=torch.float32))


def test_dropout_counts_in_training_alone():
    layer = nn.GRU(1, 5, num_layers=2, dropout=0.5, batch_first=True).eval()
    assert is_supported(layer, draw(4, 6, 1, dtype=torch.float32))


@pytest.mark.parametrize("window", [torch.ones(6, 1), torch.ones(0, 6, 1), torch.ones(4, 6, 1, dtype=torch.bfloat16)])
def test_other_windows_are_left_to_torch(window):
    assert not is_supported(make_layer(dtype=torch.float32), window)


def test_autocast_is_left_to_torch():
    with torch.autocast("cpu"):
        assert not is_supported(make_layer(dtype=torch.float32), draw(4, 6, 1, dtype=torch.float32))


def test_a_global_hook_counts_for_every_module():
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert is_hooked(nn.Linear(1, 1))
    finally:
        handle.remove()
    assert not is_hooked(nn.Linear(1, 1))
