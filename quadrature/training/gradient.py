"""The gradient of the squared error: any module's by autograd, a GRU network's on a CPU written out.

Autograd's bookkeeping takes as long as the arithmetic of a small network, 0.4 milliseconds a batch. For a plain
QuadratureNetwork with a GRU this module computes the same without it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from quadrature.network.gru import GRUPass, is_hooked, is_supported
from quadrature.network.model import QuadratureNetwork
from quadrature.training.batches import Batch


def error_gradient(model: nn.Module, batch: Batch, samples: int) -> Tensor:
    """Returns the gradient of the sum of squared errors / samples, parameter by parameter, and the sum, one vector.

    The gradient of a weight that does not require one is zero.
    """
    found = gradient_by_hand(model, batch, samples)
    if found is None:
        weights = list(model.parameters())
        trained = [one for one in weights if one.requires_grad]
        error = nn.functional.mse_loss(model(batch.input), batch.target, reduction="sum")
        gradients = iter(torch.autograd.grad(error / samples, trained, allow_unused=True, materialize_grads=True))
        found = [*(next(gradients) if one.requires_grad else torch.zeros_like(one) for one in weights), error.detach()]
    return torch.cat([part.reshape(-1) for part in found])


def gradient_by_hand(model: nn.Module, batch: Batch, samples: int) -> Sequence[Tensor] | None:
    """Returns the gradients of the sum of squared errors / samples, parameter by parameter, and the sum.

    Returns None where autograd has to find them: for any other module, for one that something is hooked onto, whose
    weights are not all trained or whose scale is not 1, and where the sum is not finite.
    """
    if type(model) is not QuadratureNetwork or not is_supported(gru := model.recurrent, batch.input):
        return None
    if model.scale != 1.0:
        return None
    head = model.linear
    if type(head) is not nn.Linear or is_hooked(head) or is_hooked(model) or not _all_trained(gru, head):
        return None
    with torch.inference_mode():
        run = GRUPass(gru, batch.input)
        differentiate_head = _head_on_every_state if model.params.head == "every" else _head_on_last_state
        error, states, final, of_head = differentiate_head(head, run, batch.target, samples)
        gradients = (*run.backward(states, final), *of_head, error) if error.isfinite() else None
        run.release()
    return gradients


def _all_trained(*modules: nn.Module) -> bool:
    return all(one.requires_grad for module in modules for one in module._parameters.values() if one is not None)


HeadGradients = tuple[Tensor, Tensor | None, Tensor | None, Sequence[Tensor]]
"""The sum of squared errors; the gradients of all states, of the final one, and of the head's weight and bias."""


def _head_on_last_state(head: nn.Linear, run: GRUPass, target: Tensor, samples: int) -> HeadGradients:
    """Differentiates a head that maps the final state to the whole window."""
    state = run.final  # (directions * hidden_size, batch)
    errors = torch.addmm(head.bias.unsqueeze(1), head.weight, state)  # (components * window_length, batch)
    errors.sub_(target.flatten(1).t())
    error = errors.square().sum()
    errors.mul_(2.0 / samples)
    return error, None, head.weight.t() @ errors, (errors @ state.t(), errors.sum(1))


def _head_on_every_state(head: nn.Linear, run: GRUPass, target: Tensor, samples: int) -> HeadGradients:
    """Differentiates a head that maps each state to its own sample."""
    states = run.states  # (window_length, directions * hidden_size, batch)
    errors = torch.matmul(head.weight, states).add_(head.bias.unsqueeze(1))  # (window_length, components, batch)
    errors.sub_(target.view(len(target), -1, target.shape[-1]).permute(2, 1, 0))
    error = errors.square().sum()
    errors.mul_(2.0 / samples)
    weight = torch.matmul(errors, states.transpose(1, 2)).sum(0)
    return error, torch.matmul(head.weight.t(), errors), None, (weight, errors.sum((0, 2)))
