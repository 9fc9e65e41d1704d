"""Passes through a torch.nn.GRU on a CPU without autograd, in about two thirds of torch's time.

The network holds torch's own layer. Called as a module, it is torch's computation with all of torch's features. The
training step and `estimate` need only plain passes, and make them here if `is_supported` allows it.
"""

from typing import TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from quadrature.network.scan import Scan, idle_scans


def is_supported(gru: nn.Module, window: Tensor) -> TypeGuard[nn.GRU]:
    """Whether a pass here equals the module's own: a plain torch.nn.GRU, with nothing hooked onto it, on a CPU.

    window is (batch, window_length, input_size). A layer without biases, or with dropout to draw, is left to torch.
    """
    return (
        type(gru) is nn.GRU
        and gru.bias
        and gru.batch_first
        and not gru.proj_size
        and not (gru.dropout and gru.training)
        and not is_hooked(gru)
        and window.is_cpu
        and window.ndim == 3
        and window.shape[2] == gru.input_size
        and window.numel() > 0
        and window.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and all(one is not None and one.is_cpu and one.dtype is window.dtype for one in gru._flat_weights)
    )


def is_hooked(module: nn.Module) -> bool:
    """Whether calling a module, or differentiating by one of its own weights, runs code beside its `forward`."""
    return bool(
        "forward" in module.__dict__
        or module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or any(hooks for hooks in _GLOBAL_HOOKS)
        or any(weights._backward_hooks for weights in module._parameters.values() if weights is not None)
    )


_GLOBAL_HOOKS = (
    torch_module._global_forward_hooks,
    torch_module._global_forward_pre_hooks,
    torch_module._global_backward_hooks,
    torch_module._global_backward_pre_hooks,
)


class GRUPass:
    """A pass through all layers from states of zeros, and one backwards."""

    def __init__(self, gru: nn.GRU, window: Tensor) -> None:
        """Computes the states for window, (batch, window_length, input_size)."""
        self._hidden_size = gru.hidden_size
        self._directions = 2 if gru.bidirectional else 1
        self._scans: list[Scan] = []
        weights = cast("list[Tensor]", gru._flat_weights)  # which torch's forward passes to its kernel, in this order
        outputs = window.permute(1, 2, 0)  # (window_length, features, batch)
        for layer in range(gru.num_layers):
            both = []
            for direction in range(self._directions):
                first = 4 * (layer * self._directions + direction)
                scan = idle_scans.take(outputs, gru.hidden_size)
                scan.forward(outputs.flip(0) if direction else outputs, weights[first : first + 4])
                both.append(scan.states.flip(0) if direction else scan.states)
                self._scans.append(scan)
            outputs = torch.cat(both, 1) if len(both) == 2 else both[0]
        self.states = outputs
        """The last layer's states, (window_length, directions * hidden_size, batch); valid until `release`."""

    @property
    def final(self) -> Tensor:
        """The last layer's final state of each direction, (directions * hidden_size, batch); valid until `release`."""
        finals = [scan.states[-1] for scan in self._scans[-self._directions :]]
        return torch.cat(finals) if len(finals) == 2 else finals[0]

    def backward(self, states: Tensor | None, final: Tensor | None) -> list[Tensor]:
        """Returns the gradients of the weights, in the order of gru.parameters(), given those of states or of final."""
        gradients: list[Tensor] = []
        for layer in reversed(range(len(self._scans) // self._directions)):
            inputs, layers_gradients = [], []
            for direction in range(self._directions):
                rows = slice(direction * self._hidden_size, (direction + 1) * self._hidden_size)
                of_states = None if states is None else states[:, rows].flip(0) if direction else states[:, rows]
                scan = self._scans[layer * self._directions + direction]
                of_inputs, weights = scan.backward(of_states, None if final is None else final[rows], layer > 0)
                layers_gradients += weights
                if of_inputs is not None:
                    inputs.append(of_inputs.flip(0) if direction else of_inputs)
            gradients = [*layers_gradients, *gradients]
            states, final = torch.stack(inputs).sum(0) if inputs else None, None
        return gradients

    def release(self) -> None:
        """Gives the buffers back; `states` and `final` are no longer valid."""
        for scan in self._scans:
            idle_scans.give(scan)
        self._scans = []
