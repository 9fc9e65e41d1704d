"""SOAP against the paper's algorithm in numpy, against Adam where they are the same, and on what it is for."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from quadrature.training import soap
from quadrature.training.checkpoint import unpack
from quadrature.training.soap import SOAP


class TorchsAdam:
    """torch.optim.Adam, called as ours are."""

    def __init__(self, weights, **options):
        self.weights, self.adam = weights, torch.optim.Adam(weights, **options)

    def step(self, gradients, rate):
        for weights, gradient in zip(self.weights, gradients, strict=True):
            weights.grad = gradient
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()


def descend(optimizer_of, weights, loss, steps, rate=0.01):
    weights = nn.Parameter(weights.clone())
    optimizer = optimizer_of([weights])
    for _ in range(steps):
        optimizer.step(torch.autograd.grad(loss(weights), [weights]), rate)
    return weights.detach()


def by_the_paper(start, gradients, rate):
    """Algorithm 3 of arXiv:2409.11321 in numpy, float64."""
    weights, mean, square = start.copy(), np.zeros_like(start), np.zeros_like(start)
    first = gradients(weights)
    left, right = first @ first.T, first.T @ first
    q_left, q_right = np.linalg.eigh(left)[1], np.linalg.eigh(right)[1]
    for step in range(1, 25):
        gradient = gradients(weights)
        mean = 0.95 * mean + 0.05 * gradient
        square = 0.95 * square + 0.05 * (q_left.T @ gradient @ q_right) ** 2
        direction = (q_left.T @ mean @ q_right) / (1 - 0.95**step)
        direction /= np.sqrt(square / (1 - 0.95**step)) + 1e-8
        weights = weights - rate * q_left @ direction @ q_right.T
        left, right = 0.95 * left + 0.05 * gradient @ gradient.T, 0.95 * right + 0.05 * gradient.T @ gradient
        if step % 10 == 0:
            order = np.argsort(-np.diag(q_left.T @ left @ q_left), kind="stable")
            q_left, square = np.linalg.qr(left @ q_left[:, order])[0], square[order]
            order = np.argsort(-np.diag(q_right.T @ right @ q_right), kind="stable")
            q_right, square = np.linalg.qr(right @ q_right[:, order])[0], square[:, order]
    return weights


def make_problem():
    """The squared distance of left @ weights @ right from a target, badly scaled in directions that no axis has.

    Square, for a matrix of more rows than columns has rows' products with many coordinates as good as each other.
    """
    generator = torch.Generator().manual_seed(0)
    left, right, target, start = torch.randn((4, 5, 5), generator=generator, dtype=torch.float64)
    left *= 10.0 ** torch.linspace(-0.3, 0.3, 5, dtype=torch.float64)[:, None]
    return start, lambda weights: ((left @ weights @ right - target) ** 2).sum()


def test_its_steps_are_the_papers():
    start, loss = make_problem()

    def gradients(weights):
        tensor = torch.tensor(weights, requires_grad=True)
        loss(tensor).backward()
        return tensor.grad.numpy()

    found = descend(SOAP, start, loss, 24)
    expected = by_the_paper(start.numpy(), gradients, 0.01)
    assert np.abs(expected - start.numpy()).min() > 0.01  # a long way, of which rounding bends a little
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(7,), (7, 1), (1, 7)])
def test_a_vector_gets_adams_steps(shape):
    start = torch.linspace(-1.0, 1.0, 7, dtype=torch.float64).reshape(shape)
    target = torch.arange(7.0, dtype=torch.float64).reshape(shape)

    def loss(weights):
        return ((weights - target) ** 2 * target).sum()

    def adam(weights):
        return TorchsAdam(weights, betas=(soap.MEAN_DECAY, soap.SQUARE_DECAY), eps=soap.EPSILON)

    torch.testing.assert_close(descend(SOAP, start, loss, 20), descend(adam, start, loss, 20), rtol=0, atol=1e-12)


def test_a_side_too_long_keeps_its_coordinates(monkeypatch):
    start, loss = make_problem()
    monkeypatch.setattr(soap, "MAX_SIDE", 3)

    def adam(weights):
        return TorchsAdam(weights, betas=(soap.MEAN_DECAY, soap.SQUARE_DECAY), eps=soap.EPSILON)

    torch.testing.assert_close(descend(SOAP, start, loss, 20), descend(adam, start, loss, 20), rtol=0, atol=1e-12)
    optimizer = SOAP([weights := nn.Parameter(torch.ones(4, 3))])
    optimizer.step([2.0 * weights.detach()], 0.01)
    assert [list(state["bases"]) for state in optimizer.states] == [[1]]


def test_the_path_does_not_depend_on_the_coordinates_it_is_described_in():
    """What Adam lacks: turn the problem, and the steps turn with it."""
    start, loss = make_problem()
    generator = torch.Generator().manual_seed(1)
    rows, columns = (
        torch.linalg.qr(torch.randn(side, side, generator=generator, dtype=torch.float64)).Q for side in (5, 5)
    )

    def bend(optimizer_of):
        straight = descend(optimizer_of, start, loss, 60)
        turned = descend(optimizer_of, rows @ start @ columns, lambda weights: loss(rows.T @ weights @ columns.T), 60)
        return (rows.T @ turned @ columns.T - straight).abs().max()

    assert bend(SOAP) < 1e-3
    assert bend(TorchsAdam) > 0.1


@pytest.mark.slow
def test_it_gets_further_than_adam_in_as_many_steps():
    start, loss = make_problem()
    for rate in (0.01, 0.03, 0.1):
        ours = loss(descend(SOAP, start, loss, 300, rate))
        theirs = loss(descend(TorchsAdam, start, loss, 300, rate))
        assert ours < 0.5 * theirs


def test_one_step_is_a_step():
    start, loss = make_problem()
    assert loss(descend(SOAP, start, loss, 1)) < loss(start)


def test_a_gradient_of_rank_one_gives_coordinates():
    """As a first batch's can be, whose product's eigenvalues are 0 but for one."""
    weights = nn.Parameter(torch.zeros(192, 64))
    optimizer = SOAP([weights])
    generator = torch.Generator().manual_seed(0)
    for _ in range(25):
        gradient = torch.outer(torch.randn(192, generator=generator), torch.randn(64, generator=generator))
        optimizer.step([gradient], 0.1)
    assert weights.isfinite().all()
    for basis in optimizer.states[0]["bases"].values():
        torch.testing.assert_close(basis.T @ basis, torch.eye(len(basis)), rtol=0, atol=1e-4)


def test_a_gradient_that_is_not_finite_is_for_the_loss_to_tell():
    weights = nn.Parameter(torch.zeros(3, 3))
    SOAP([weights]).step([torch.full((3, 3), math.nan)], 0.1)
    assert weights.isnan().all()


def test_a_saved_state_goes_on_as_if_it_had_never_stopped():
    start, loss = make_problem()
    whole = descend(SOAP, start, loss, 23)

    weights = nn.Parameter(start.clone())
    optimizer = SOAP([weights])
    for step in range(23):
        if step == 12:
            saved = unpack(save(optimizer.state_dict()))
            weights = nn.Parameter(weights.detach().clone())
            optimizer = SOAP([weights])
            optimizer.load_state_dict(saved)
        optimizer.step(torch.autograd.grad(loss(weights), [weights]), 0.01)
    assert torch.equal(weights.detach(), whole)
