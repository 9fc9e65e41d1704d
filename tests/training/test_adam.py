"""Adam against torch's own."""

import pytest
import torch
from torch import nn

from quadrature.training.adam import Adam


@pytest.mark.parametrize("rates", [[0.01] * 40, [0.1 / (1 + step) for step in range(40)]])
def test_its_steps_are_torchs(rates):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 4), (5,), (1, 2))]
    ours, theirs = ([nn.Parameter(one.clone()) for one in start] for _ in range(2))
    optimizer, reference = Adam(ours), torch.optim.Adam(theirs)
    for rate in rates:
        gradients = [torch.randn(one.shape, generator=generator, dtype=torch.float64) for one in start]
        optimizer.step(gradients, rate)
        for weights, gradient in zip(theirs, gradients, strict=True):
            weights.grad = gradient
        reference.param_groups[0]["lr"] = rate
        reference.step()
    for one, other, begun in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)
        assert (one - begun).abs().min() > 1e-3


def test_a_weight_without_gradients_stays():
    weights = nn.Parameter(torch.ones(3))
    Adam([weights]).step([torch.zeros(3)], 0.1)
    assert torch.equal(weights, torch.ones(3))
