"""The gradient of a batch's squared error with respect to a model's weights.

torch's autograd finds it for any module. For one GRU layer with a head on its last state, the default network, it is
written out for a CPU: autograd's bookkeeping takes as long as the arithmetic of a small network, 0.4 milliseconds a
batch, and holds Python's lock, so that threads wait for each other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quadrature.network.model import ModelParams, QuadratureNetwork
from quadrature.network.scan import idle_scans
from quadrature.training.batches import Batch


def error_gradient(model: nn.Module, batch: Batch, samples: int) -> Tensor:
    """Returns one vector: the gradient of the sum of squared errors / samples, parameter by parameter, and the sum."""
    if isinstance(model, QuadratureNetwork) and batch.input.device.type == "cpu" and _is_written_out(model.params):
        parts = _by_hand(model, batch, samples)
    else:
        parts = _by_autograd(model, batch, samples)
    return torch.cat([part.reshape(-1) for part in parts])


def _by_autograd(model: nn.Module, batch: Batch, samples: int) -> Sequence[Tensor]:
    error = nn.functional.mse_loss(model(batch.input), batch.target, reduction="sum")
    return *torch.autograd.grad(error / samples, list(model.parameters())), error.detach()


def _is_written_out(params: ModelParams) -> bool:
    kind = (params.cell, params.num_layers, params.bidirectional, params.bias, params.execution, params.head)
    return kind == ("gru", 1, False, True, "sequence", "last")


@torch.inference_mode()
def _by_hand(network: QuadratureNetwork, batch: Batch, samples: int) -> Sequence[Tensor]:
    weights, head = list(network.recurrent.parameters()), network.linear
    window = batch.input.permute(1, 2, 0)  # (window_length, 1, batch)
    scan = idle_scans.take(window, weights)
    scan.forward(window, None, weights)
    state = scan.states[-1]  # (hidden_size, batch)
    errors = torch.addmm(head.bias.unsqueeze(1), head.weight, state).sub_(batch.target.t())  # (window_length, batch)
    error = errors.square().sum()
    errors.mul_(2.0 / samples)
    _, _, gradients = scan.backward(None, head.weight.t() @ errors, wants_inputs=False)
    head_gradients = errors @ state.t(), errors.sum(1)
    idle_scans.give(scan)
    return *gradients, *head_gradients, error
