"""Estimates the analytic signal, or its quadrature component, one sample at a time, for use in real time.

A step of so small a network takes a few microseconds of arithmetic, and torch's calls for it take several times that.
The steps are therefore in numpy, by the equations in torch's documentation of RNN, LSTM and GRU.
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
"""A layer's hidden state, then the cell state of an LSTM, each (channels, hidden_size)."""


class _Layer(NamedTuple):
    weight_ih: Array  # (input_size, gates * hidden_size), transposed
    weight_hh: Array
    bias_ih: Array
    bias_hh: Array


class Tracker:
    """Returns the estimate for each sample at once, and keeps the hidden state between samples.

        tracker = Tracker(load_model(Path("models/model.safetensors")))  # trained with model.head every
        in_phase, quadrature = tracker.update(sample)  # with model.output quadrature: quadrature = ...

    The estimates of n samples equal the network's for a window of these n samples, up to rounding. The network was
    trained on windows of `window_length` and may fail on longer signals: docs/cells.md. `reset` begins a new signal.
    The weights are copied. Raises ValueError unless the network has head `every` and one direction.
    """

    def __init__(self, network: QuadratureNetwork) -> None:
        params = network.params
        if params.head != "every":
            raise ValueError("head last estimates at the end of a window; a tracker needs a network with head every")
        if params.bidirectional:
            raise ValueError("two directions need the end of a window; a tracker needs a network with one direction")
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
        self._scale = np.float32(network.scale)
        self._linear, self._bias = weights["linear.weight"], weights["linear.bias"][:, None]  # (components, ...)
        self._is_analytic = params.output == "analytic"
        self._step = _STEPS[f"{params.cell} {params.nonlinearity}"]
        self._states: list[LayerState] = []
        self._shape: tuple[int, ...] | None = None

    def update(self, sample: ArrayLike) -> Array:
        """Returns the estimate for a sample, (), or for a sample of each channel, (channels,).

        The quadrature component has that shape. The analytic signal has another axis before it: (2,) or (2, channels),
        the in-phase component first. Raises ValueError, and keeps the state, if a sample is not finite or the shape
        differs from earlier samples.
        """
        samples = np.asarray(sample, np.float32)
        if not np.isfinite(samples).all():
            raise ValueError("a sample is not finite; leave it out and reset, or replace it by a number")
        if samples.ndim > 1:
            raise ValueError(f"a sample has the shape {samples.shape}; give a number, or a number for each channel")
        if self._shape is None:
            self._begin(samples.shape)
        elif self._shape != samples.shape:
            raise ValueError(f"a sample has the shape {samples.shape}, earlier samples {self._shape}; reset first")
        output: Array = samples.reshape(-1, 1) / self._scale  # (channels, 1), then (channels, hidden_size)
        for index, layer in enumerate(self._layers):
            state = self._states[index]
            from_input = output @ layer.weight_ih + layer.bias_ih
            from_state = state[0] @ layer.weight_hh + layer.bias_hh
            self._states[index] = state = self._step(from_input, from_state, state)
            output = state[0]
        components = (self._linear @ output.T + self._bias) * self._scale
        estimate: Array = components.reshape((2, *samples.shape) if self._is_analytic else samples.shape)
        return estimate

    def reset(self) -> None:
        """Ends the signal: the next sample is the first of a new one."""
        self._shape = None

    def _begin(self, shape: tuple[int, ...]) -> None:
        """Begins a signal of the shape () or (channels,), with states of zeros."""
        zeros = np.zeros((math.prod(shape), self._linear.shape[1]), np.float32)
        self._states = [(zeros, zeros)] * len(self._layers)  # only an LSTM uses the second
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
