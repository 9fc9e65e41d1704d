"""The quadrature component of a running signal, one sample at a time: the network's real-time use.

A step of so small a network is a few microseconds of arithmetic, and several times that in torch's calls for it. So
the steps are taken here in numpy, by the equations in torch's documentation of RNN, LSTM and GRU.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quadrature.network.model import QuadratureNetwork

Array = NDArray[np.float32]
LayerState = tuple[Array, ...]
"""A layer's hidden state, and an LSTM's cell state after it, each (channels, hidden_size)."""


class _Layer(NamedTuple):
    weight_ih: Array  # (input_size, gates * hidden_size), transposed once and for all
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array


class Tracker:
    """Takes each sample as it comes and returns its estimate at once, keeping the hidden state between samples.

        tracker = Tracker(load_model(Path("models/model.safetensors")))  # trained with model.head every
        cosine = tracker.update(sample)

    After n samples it has returned what the network makes of a window of these n, to rounding. The network learnt
    windows of `window_length`, though, and may fail on longer ones: docs/cells.md. `reset` begins another signal.
    Takes the weights as they are now. Raises ValueError unless the network has head `every` and one direction.
    """

    def __init__(self, network: QuadratureNetwork) -> None:
        params = network.params
        if params.head != "every":
            raise ValueError("head last estimates a window at its end; a tracker needs a network of head every")
        if params.bidirectional:
            raise ValueError("two directions wait for the window's end; a tracker needs a network of one")
        weights = {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}
        none = np.zeros((), np.float32)
        self._layers = [
            _Layer(
                weights[f"{params.cell}.weight_ih_l{layer}"].T,
                weights[f"{params.cell}.weight_hh_l{layer}"].T,
                weights.get(f"{params.cell}.bias_ih_l{layer}", none),
                weights.get(f"{params.cell}.bias_hh_l{layer}", none),
            )
            for layer in range(params.num_layers)
        ]
        self._linear, self._bias = weights["linear.weight"][0], weights["linear.bias"][0]
        self._step = _STEPS[f"{params.cell} {params.nonlinearity}"]
        self._states: list[LayerState] = []
        self._shape: tuple[int, ...] | None = None

    def update(self, sample: ArrayLike) -> Array:
        """Returns the estimate for a sample, (), or for one of each channel, (channels,).

        Raises ValueError, and forgets nothing, if a sample is not finite or the channels are not those before it.
        """
        samples = np.asarray(sample, np.float32)
        if not np.isfinite(samples).all():
            raise ValueError("a sample is not finite; leave it out and reset, or put a number in its place")
        if samples.ndim > 1:
            raise ValueError(f"a sample has the shape {samples.shape}; give one number, or one for each channel")
        if self._shape is None:
            self._begin(samples.shape)
        elif self._shape != samples.shape:
            raise ValueError(f"a sample has the shape {samples.shape}, those before it {self._shape}; reset first")
        output = samples.reshape(-1, 1)  # (channels, 1), then (channels, hidden_size)
        for index, layer in enumerate(self._layers):
            state = self._states[index]
            from_input = output @ layer.weight_ih + layer.bias_ih
            from_state = state[0] @ layer.weight_hh + layer.bias_hh
            self._states[index] = state = self._step(from_input, from_state, state)
            output = state[0]
        estimate: Array = (output @ self._linear + self._bias).reshape(samples.shape)
        return estimate

    def reset(self) -> None:
        """Forgets the signal: the next sample is the first of another."""
        self._shape = None

    def _begin(self, shape: tuple[int, ...]) -> None:
        """Begins a signal of one channel, (), or of several, (channels,), from zeros."""
        zeros = np.zeros((math.prod(shape), len(self._linear)), np.float32)
        self._states = [(zeros, zeros)] * len(self._layers)  # the second is an LSTM's alone
        self._shape = shape


def _rnn(
    nonlinearity: Callable[[Array], Array], from_input: Array, from_state: Array, _state: LayerState
) -> LayerState:
    return (nonlinearity(from_input + from_state),)


def _lstm(from_input: Array, from_state: Array, state: LayerState) -> LayerState:
    gates = from_input + from_state
    size = gates.shape[1] // 4
    input_and_forget = _sigmoid(gates[:, : 2 * size])  # torch's order: input, forget, cell, output
    cell = input_and_forget[:, size:] * state[1] + input_and_forget[:, :size] * np.tanh(gates[:, 2 * size : 3 * size])
    return _sigmoid(gates[:, 3 * size :]) * np.tanh(cell), cell


def _gru(from_input: Array, from_state: Array, state: LayerState) -> LayerState:
    size = from_input.shape[1] // 3
    gates = _sigmoid(from_input[:, : 2 * size] + from_state[:, : 2 * size])  # torch's order: reset, update, new
    new = np.tanh(from_input[:, 2 * size :] + gates[:, :size] * from_state[:, 2 * size :])
    return (new + gates[:, size:] * (state[0] - new),)


def _relu(x: Array) -> Array:
    return np.asarray(np.maximum(x, np.float32(0.0)))


def _sigmoid(x: Array) -> Array:
    """Returns 1 / (1 + exp(-x)), without overflow."""
    half = np.float32(0.5)
    return np.asarray(half + half * np.tanh(half * x))


_STEPS: dict[str, Callable[[Array, Array, LayerState], LayerState]] = {
    "rnn tanh": partial(_rnn, np.tanh),
    "rnn relu": partial(_rnn, _relu),
    "lstm tanh": _lstm,
    "gru tanh": _gru,
}
