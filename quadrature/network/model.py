"""The network: a recurrent layer reads a window of the signal, a linear layer turns its states into the estimate.

Axes, named once: batch (windows side by side), window_length (instants), hidden_size (the state's numbers).
A network knows nothing of training. Its file holds all that it takes to build it again.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from quadrature.network.device import compute_alone, computing_alone
from quadrature.network.gru import GRU
from quadrature.network.stepwise import HiddenState, Stepwise
from quadrature.runtime.settings import Section
from quadrature.runtime.threads import Workers

LAYERS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "rnn": (nn.RNN, nn.RNNCell),
    "lstm": (nn.LSTM, nn.LSTMCell),
    "gru": (GRU, nn.GRUCell),
}
"""torch's layer for a whole sequence, and its cell for one step; the GRU's layer is torch's with faster arithmetic."""


Execution = Literal["sequence", "stepwise"]


class ModelParams(Section):
    """The `model` section."""

    cell: Literal["rnn", "lstm", "gru"]
    nonlinearity: Literal["tanh", "relu"]  # rnn only
    hidden_size: Annotated[int, Field(ge=1, le=8192)]
    num_layers: Annotated[int, Field(ge=1, le=64)]
    bias: bool
    bidirectional: bool
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]  # between layers
    execution: Execution
    head: Literal["last", "every"]

    @field_validator("nonlinearity")
    @classmethod
    def _is_a_choice_of_rnn_alone(cls, nonlinearity: str, info: ValidationInfo) -> str:
        if nonlinearity != "tanh" and info.data.get("cell", "rnn") != "rnn":
            raise ValueError(f"cell {info.data['cell']} has its own nonlinearities; leave it at tanh")
        return nonlinearity

    @field_validator("dropout")
    @classmethod
    def _has_layers_to_act_between(cls, dropout: float, info: ValidationInfo) -> float:
        if dropout and info.data.get("num_layers", 2) == 1:
            raise ValueError("it acts between layers; set num_layers to 2 or more, or dropout to 0.0")
        return dropout


class QuadratureNetwork(nn.Module):
    """Estimates the cosine at the instants of a window of sine samples.

    head `last` maps the final state to the whole window, as the article does; head `every` maps each
    instant's state to its own estimate, so that an estimate never waits for later samples (in one direction).

    Its weights are named as in the article, `gru.weight_ih_l0` to `linear.bias` (`rnn`, `lstm` for the other cells),
    and alike in both executions. So a plain module with `self.gru` and `self.linear` takes them by
    `module.load_state_dict(network.state_dict())`, and gives its own by `network.load_state_dict(module.state_dict())`.
    """

    def __init__(self, params: ModelParams, window_length: int) -> None:
        super().__init__()
        self.params = params
        self.window_length = window_length
        self.directions = 2 if params.bidirectional else 1
        self.add_module(params.cell, _make_recurrent(params))
        self.linear = nn.Linear(self.directions * params.hidden_size, window_length if params.head == "last" else 1)

    @property
    def recurrent(self) -> nn.Module:
        """The recurrent layers."""
        return self.get_submodule(self.params.cell)

    def forward(self, window: Tensor, state: HiddenState | None = None) -> Tensor:
        """Maps (batch, window_length, 1) to (batch, window_length), from the state given or else from zeros."""
        estimate, _ = self.advance(window, state)
        return estimate

    def advance(self, window: Tensor, state: HiddenState | None = None) -> tuple[Tensor, HiddenState]:
        """Returns the estimate as `forward` does, and the state after the window, for what follows to begin from."""
        states, final = self.recurrent(window, state)  # (batch, window_length, directions * hidden_size)
        if self.params.head == "every":
            return self.linear(states).squeeze(-1), final
        # The last layer's final state of each direction. `states[:, -1]` would be the same in one direction;
        # in two, its second half has read a single sample.
        hidden = final[0] if isinstance(final, tuple) else final  # (num_layers * directions, batch, hidden_size)
        return self.linear(hidden[-self.directions :].transpose(0, 1).flatten(1)), final


def _make_recurrent(params: ModelParams) -> nn.Module:
    """Returns torch's recurrent layers, or the same made of torch's cells."""
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
    """Draws torch's default initial weights, uniform within 1 / sqrt(fan-in), from a stream of their own."""
    generator = torch.Generator().manual_seed(seed)
    for layer, fan_in in (
        (network.recurrent, network.params.hidden_size),
        (network.linear, network.linear.in_features),
    ):
        for weights in layer.parameters():
            nn.init.uniform_(weights, -1.0 / math.sqrt(fan_in), 1.0 / math.sqrt(fan_in), generator=generator)


LARGEST_ON_CPU = 512
"""Windows that a thread estimates at a time, at most, so that the states of all stay in its cache."""


def predict(network: QuadratureNetwork, windows: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
    """Returns the estimates for windows, both (count, window_length), on the network's device, batch by batch.

    On the CPU as many threads as torch is set to share the batches, cut to what fits the cache; the bits do not
    depend on how many they are.
    """
    network.eval()
    device = network.linear.weight.device
    size = min(batch_size, LARGEST_ON_CPU) if device.type == "cpu" else batch_size
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    with computing_alone(), Workers(threads, compute_alone) as workers:
        batches = torch.split(torch.tensor(windows).unsqueeze(-1), size)
        return np.concatenate(list(workers.map(partial(_estimate, network, device), batches)))


@torch.inference_mode()
def _estimate(network: QuadratureNetwork, device: torch.device, batch: Tensor) -> NDArray[np.float32]:
    estimate: NDArray[np.float32] = network(batch.to(device)).cpu().numpy()
    return estimate
