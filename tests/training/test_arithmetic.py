"""The digest by which a training is resumed only under the kernels that it began with."""

import pytest
import torch

from quadrature.training.arithmetic import arithmetic
from quadrature.training.batches import in_order
from tests.network.test_model import make_network
from tests.training.test_loop import make_training, make_windows


def digest(network, **changes):
    return arithmetic(network, make_training(optimizer="soap", **changes), next(in_order(make_windows(), 16)))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_digest_is_the_same_each_time_and_the_model_keeps_its_weights(cell):
    network = make_network(cell=cell)
    before = [weights.clone() for weights in network.parameters()]
    assert digest(network) == digest(network, threads=2)
    assert all(map(torch.equal, before, network.parameters()))


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_other_kernels_have_another_digest():
    network = make_network(cell="lstm")
    own = digest(network)
    with torch.backends.mkldnn.flags(enabled=False):
        assert digest(network) != own
    assert digest(network) == own
