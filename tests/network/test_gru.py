"""The GRU's own arithmetic against torch.nn.GRU, beyond what test_stepwise.py compares for the whole family."""

import itertools
import threading

import pytest
import torch
from torch import nn

from quadrature.network.gru import GRU, PIECE


def make_pair(input_size=1, hidden_size=5, dtype=torch.float64, **options):
    theirs = nn.GRU(input_size, hidden_size, batch_first=True, **options).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in theirs.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator, dtype=dtype) * 0.7)
    ours = GRU(input_size, hidden_size, batch_first=True, **options).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def gradients(layer, window, state=None):
    states, final = layer(window, state)
    weighing = torch.cos(torch.arange(states.numel(), dtype=states.dtype)).view_as(states)
    loss = (states * weighing).sum() + final.square().sum()
    leaves = [window, *([] if state is None else [state]), *layer.parameters()]
    return [states.detach(), final.detach(), *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize(
    ("layers", "bidirectional", "bias"), [*itertools.product((1, 2), (False, True), (True, False))]
)
@pytest.mark.parametrize("begins", ["from zeros", "from a state"])
def test_values_and_gradients_are_torchs_for_any_input_size(layers, bidirectional, bias, begins):
    ours, theirs = make_pair(3, num_layers=layers, bidirectional=bidirectional, bias=bias)
    window = draw(4, 6, 3)
    state = draw(layers * (1 + bidirectional), 4, 5, seed=1) if begins == "from a state" else None
    for mine, reference in zip(gradients(ours, window, state), gradients(theirs, window, state), strict=True):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_float32_is_as_near_to_float64_as_torchs(scale):
    """tanh by way of the sigmoid, near zero and where it saturates."""
    exact, _ = make_pair(hidden_size=32)
    ours, theirs = (layer.float() for layer in make_pair(hidden_size=32))
    window = draw(64, 10, 1) * scale
    expected = exact(window)[1]
    mine, reference = ((layer(window.float())[1] - expected).abs().max() for layer in (ours, theirs))
    assert mine < 2 * reference + 1e-6


@pytest.mark.parametrize("batch", [1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_estimating_piece_by_piece_changes_nothing(batch):
    ours, theirs = make_pair(hidden_size=8)
    window, state = draw(batch, 4, 1), draw(1, batch, 8, seed=1)
    for begin in (None, state):
        with torch.no_grad():
            found, expected = ours(window, begin), theirs(window, begin)
        for mine, reference in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, reference, rtol=0, atol=1e-12)


def test_what_was_returned_stays_when_buffers_are_used_again():
    ours, _ = make_pair()
    kept = ours(draw(4, 6, 1))
    first = [tensor.clone() for tensor in kept]
    kept[0].sum().backward()
    with torch.inference_mode():
        ours(draw(4, 6, 1, seed=1))
    gradients(ours, draw(4, 6, 1, seed=2))
    assert all(torch.equal(one, other) for one, other in zip(kept, first, strict=True))


def test_two_forward_passes_may_wait_for_their_backward_passes():
    ours, theirs = make_pair()
    for layer in (ours, theirs):
        layer.zero_grad()
        one, other = layer(draw(4, 6, 1))[1], layer(draw(4, 6, 1, seed=1))[1]
        (one * other).sum().backward()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, rtol=0, atol=1e-12)


def test_a_second_backward_pass_is_refused():
    ours, _ = make_pair()
    final = ours(draw(4, 6, 1))[1].sum()
    final.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="can be taken once"):
        final.backward()


def test_threads_do_not_share_buffers():
    ours, _ = make_pair(hidden_size=16, dtype=torch.float32)
    windows = [draw(64, 10, 1, dtype=torch.float32, seed=seed) for seed in range(4)]
    expected = [gradients(ours, window) for window in windows]
    wrong = []

    def compare(window, reference):
        same = [torch.equal(*pair) for _ in range(30) for pair in zip(gradients(ours, window), reference, strict=True)]
        wrong.extend(one for one in same if not one)

    threads = [threading.Thread(target=compare, args=pair) for pair in zip(windows, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("window", "state"),
    [((4, 6, 2), None), ((4, 6, 1), (2, 4, 5)), ((4, 6, 1), (1, 3, 5)), ((4, 6, 1), (1, 4, 6))],
)
def test_shapes_that_do_not_fit_are_refused_as_torch_refuses_them(window, state):
    ours, theirs = make_pair()
    refusals = []
    for layer in (ours, theirs):
        with pytest.raises(RuntimeError) as refused:
            layer(draw(*window), None if state is None else draw(*state))
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]
