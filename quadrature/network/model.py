"""The network: a recurrent layer reads a window of the signal, a linear layer turns its states into the estimate.

Axes: batch (windows), window_length (instants), hidden_size (components of the state). This module knows nothing of
training.

Samples may be volts, microvolts or counts. The layers compute in units of the network's `scale`: `read_in` divides a
window by it, `read_out` multiplies the estimate by it, and no other line of this module knows of it.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quadrature.network.device import compute_alone, computing_alone
from quadrature.network.gru import GRUPass, is_hooked, is_supported
from quadrature.network.params import ModelParams
from quadrature.network.ranges import Ranges
from quadrature.network.stepwise import HiddenState, Stepwise
from quadrature.runtime.threads import Workers

LAYERS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "rnn": (nn.RNN, nn.RNNCell),
    "lstm": (nn.LSTM, nn.LSTMCell),
    "gru": (nn.GRU, nn.GRUCell),
}
"""torch's layer for a whole sequence, and its cell for one step."""


class QuadratureNetwork(nn.Module):
    """Estimates the analytic signal at the instants of a window of sine samples, or its quadrature component alone.

    The analytic signal has an in-phase component, the sine without noise, and a quadrature component, the cosine.

    Head `last` maps the final state to the whole window, as in the article. Head `every` maps each instant's state to
    its own estimate, so in one direction an estimate never depends on later samples.

    The weights have the article's names, `gru.weight_ih_l0` to `linear.bias` (`rnn` or `lstm` for the other cells), in
    both executions. A plain module with `self.gru` and `self.linear` and this network load each other's state_dict().
    The scale is not in it: the plain module is given windows / scale, and its estimates are times scale.
    """

    def __init__(self, params: ModelParams, window_length: int, scale: float = 1.0) -> None:
        super().__init__()
        self.params = params
        self.window_length = window_length
        self.scale = scale
        """The size of the signal, in its own unit; 1 while training, which divides windows and targets beforehand."""
        self.ranges: Ranges | None = None
        """What the training windows were like; not known while training, or from an older file."""
        self.trained_on: dict[str, str] | None = None
        """The digests of training's windows and targets (storage.windows.Split.digest); not known as above."""
        self.directions = 2 if params.bidirectional else 1
        self.add_module(params.cell, _make_recurrent(params))
        estimates = params.components * (window_length if params.head == "last" else 1)
        self.linear = nn.Linear(self.directions * params.hidden_size, estimates)

    @property
    def recurrent(self) -> nn.Module:
        """The recurrent layers."""
        layers: nn.Module = self._modules[self.params.cell]  # type: ignore[assignment]
        return layers

    def forward(self, window: Tensor, state: HiddenState | None = None) -> Tensor:
        """Maps (batch, window_length, 1) to the estimate, beginning from `state` or from zeros.

        The quadrature component is (batch, window_length). The analytic signal is (batch, 2, window_length), the
        in-phase component first.
        """
        estimate, _ = self.advance(window, state)
        return estimate

    def advance(self, window: Tensor, state: HiddenState | None = None) -> tuple[Tensor, HiddenState]:
        """Returns the estimate, and the state after the window, from which the next window can begin."""
        states, final = self.recurrent(self.read_in(window), state)  # (batch, window_length, directions * hidden_size)
        if self.params.head == "every":
            return self.read_out(states), final
        # The last layer's final state in each direction. `states[:, -1]` is the same in one direction; in two, its
        # second half has read only one sample.
        hidden = final[0] if isinstance(final, tuple) else final  # (num_layers * directions, batch, hidden_size)
        return self.read_out(hidden[-self.directions :].transpose(0, 1).flatten(1)), final

    def read_in(self, window: Tensor) -> Tensor:
        """Returns the window in units of the scale, in its own shape."""
        return window if self.scale == 1.0 else window / self.scale

    def read_out(self, states: Tensor) -> Tensor:
        """Maps the states that the head reads, features last, to the estimate in the shape that `forward` returns."""
        estimate: Tensor = self.linear(states)
        if self.params.output == "quadrature":
            estimate = estimate.squeeze(-1) if self.params.head == "every" else estimate
        elif self.params.head == "every":
            estimate = estimate.transpose(1, 2)
        else:
            estimate = estimate.reshape(-1, 2, self.window_length)
        return estimate if self.scale == 1.0 else estimate * self.scale


def _make_recurrent(params: ModelParams) -> nn.Module:
    """Returns torch's recurrent layers, or the equivalent made of torch's cells."""
    layer, cell = LAYERS[params.cell]
    sequence = params.execution == "sequence"
    make: Callable[..., nn.Module] = partial(layer, batch_first=True) if sequence else partial(Stepwise, cell)
    return make(
        input_size=1,
        hidden_size=params.hidden_size,
        num_layers=params.num_layers,
        bias=params.bias,
        dropout=params.dropout,
        bidirectional=params.bidirectional,
        **({"nonlinearity": params.nonlinearity} if params.cell == "rnn" else {}),
    )


def initialize(network: QuadratureNetwork, seed: int) -> None:
    """Draws torch's default initial weights, uniform within 1 / sqrt(fan-in), from a stream seeded by `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for layer, fan_in in (
        (network.recurrent, network.params.hidden_size),
        (network.linear, network.linear.in_features),
    ):
        for weights in layer.parameters():
            nn.init.uniform_(weights, -1.0 / math.sqrt(fan_in), 1.0 / math.sqrt(fan_in), generator=generator)


MAX_WINDOWS_ON_CPU = 512
"""Windows that a thread of a CPU estimates at a time, so that the states of all stay in its cache.

`evaluate.batch_size` is the number of windows per forward pass. On a GPU it is used as given: larger batches are faster
and take more memory. On a CPU this constant limits it, so only smaller values have an effect.
"""


@torch.inference_mode()
def estimate(model: nn.Module, window: Tensor) -> Tensor:
    """Returns model(window), without gradients.

    A plain QuadratureNetwork with a GRU is computed on a CPU by quadrature.network.gru, any other module by itself.
    """
    if type(model) is QuadratureNetwork and not is_hooked(model) and is_supported(gru := model.recurrent, window):
        by_pass = model.read_out(_recur(gru, model.read_in(window), model.params.head))
        if by_pass.isfinite().all():  # or an infinite sample met a weight of zero, which torch's layer does not have
            return by_pass
    by_module: Tensor = model(window)
    return by_module


def predict(network: QuadratureNetwork, windows: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
    """Returns the estimates for windows, (count, window_length), on the network's device, batch by batch.

    Their shape is that of QuadratureNetwork.forward. On a CPU the batches are cut to MAX_WINDOWS_ON_CPU, and as many
    threads as torch is set to share them. The bits do not depend on the number of threads.
    """
    network.eval()
    device = network.linear.weight.device
    size = min(batch_size, MAX_WINDOWS_ON_CPU) if device.type == "cpu" else batch_size
    threads = torch.get_num_threads() if device.type == "cpu" else 1

    def compute(batch: Tensor) -> NDArray[np.float32]:
        found: NDArray[np.float32] = estimate(network, batch.to(device)).cpu().numpy()
        return found

    with computing_alone(), Workers(threads, compute_alone) as workers:
        return np.concatenate(list(workers.map(compute, torch.split(torch.tensor(windows).unsqueeze(-1), size))))


def analytic_signal(windows: NDArray[np.floating], estimates: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns in-phase and quadrature components, (count, 2, window_length), by the estimates of `predict`.

    Where a network estimates the quadrature component alone, the in-phase component is the samples as they are.
    """
    return estimates if estimates.ndim == 3 else np.stack([windows, estimates], axis=1)


def _recur(gru: nn.GRU, window: Tensor, head: str) -> Tensor:
    """Returns what the head reads: all states, (batch, window_length, directions * hidden_size), or the final one."""
    found = []
    for piece in torch.split(window, MAX_WINDOWS_ON_CPU):
        run = GRUPass(gru, piece)
        found.append(run.states.permute(2, 0, 1).clone() if head == "every" else run.final.t().contiguous())
        run.release()
    return torch.cat(found) if len(found) > 1 else found[0]
