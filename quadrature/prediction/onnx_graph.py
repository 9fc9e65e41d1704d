"""The network as a graph of ONNX's standard operators, for any runtime that reads ONNX.

torch's recurrent layers and ONNX's compute the same, with the gates in another order (onnx.ai/onnx/operators, RNN, LSTM
and GRU). `linear_before_reset` is torch's form of the GRU.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from quadrature.network.model import QuadratureNetwork

OPSET, IR_VERSION = 17, 8
"""Versions of the operators and of the format, of 2022: runtimes since then read them."""

GATES = {"rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}
"""ONNX's order of the gates, as numbers of torch's: input, forget, cell, output; reset, update, new."""

STATES = {"rnn": ("state",), "lstm": ("state", "cell_state"), "gru": ("state",)}
"""The parts of the hidden state."""


class Port(NamedTuple):
    """An input or an output: its name and its shape, in which a text is the name of any number."""

    name: str
    shape: tuple[int | str, ...]


def ports(network: QuadratureNetwork) -> tuple[list[Port], list[Port]]:
    """Returns the graph's inputs and outputs.

    `window` holds samples in the signal's unit, and so do the estimates. A network that follows a signal has its state
    as further inputs and outputs; zeros begin a signal, which then has any number of samples.
    """
    params = network.params
    samples: int | str = network.window_length if params.head == "last" else "samples"
    names = ("in_phase", "quadrature") if params.output == "analytic" else ("quadrature",)
    inputs = [Port("window", ("batch", samples))]
    outputs = [Port(name, ("batch", samples)) for name in names]
    if not network.params.sees_whole_window:
        states = [Port(name, (params.num_layers, "batch", params.hidden_size)) for name in STATES[params.cell]]
        inputs += states
        outputs += [Port(f"{port.name}_after", port.shape) for port in states]
    return inputs, outputs


def make_graph(network: QuadratureNetwork) -> bytes:
    """Returns the network as an ONNX file. The same network gives the same bytes."""
    inputs, outputs = ports(network)
    constants: dict[str, NDArray[np.generic]] = {"scale": np.array(network.scale, np.float32)}
    nodes = [*_nodes(network, constants, [port.name for port in outputs])]
    graph = helper.make_graph(
        nodes,
        "quadrature",
        [_declared(port) for port in inputs],
        [_declared(port) for port in outputs],
        [numpy_helper.from_array(np.asarray(values, order="C"), name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="quadrature")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _declared(port: Port) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(port.name, TensorProto.FLOAT, port.shape)


def _nodes(
    network: QuadratureNetwork, constants: dict[str, NDArray[np.generic]], outputs: Sequence[str]
) -> Iterator[onnx.NodeProto]:
    """Yields the operators in order, and adds their constants."""
    params = network.params
    constants |= {"last_axis": np.array([2]), "merged": np.array([0, 0, network.directions * params.hidden_size])}
    yield helper.make_node("Div", ["window", "scale"], ["scaled"])
    yield helper.make_node("Transpose", ["scaled"], ["by_sample"], perm=[1, 0])
    yield helper.make_node("Unsqueeze", ["by_sample", "last_axis"], ["layer0"])  # (samples, batch, 1)
    finals = [[f"{state}{layer}" for state in STATES[params.cell]] for layer in range(params.num_layers)]
    for layer in range(params.num_layers):
        yield from _layer(network, layer, finals[layer], constants)
    if not network.params.sees_whole_window:
        for number, name in enumerate(STATES[params.cell]):
            yield helper.make_node("Concat", [layer[number] for layer in finals], [f"{name}_after"], axis=0)
    weight, bias = (tensor.detach().cpu().numpy() for tensor in (network.linear.weight, network.linear.bias))
    if params.head == "last":  # the last layer's final state of each direction, (directions, batch, hidden_size)
        constants |= {
            "weight": weight.T,
            "bias": bias,
            "shape": np.array([0, params.components, network.window_length]),
        }
        constants["flat"] = np.array([0, network.directions * params.hidden_size])
        yield helper.make_node("Transpose", [finals[-1][0]], ["by_window"], perm=[1, 0, 2])
        yield helper.make_node("Reshape", ["by_window", "flat"], ["read"])
        yield helper.make_node("Gemm", ["read", "weight", "bias"], ["mapped"])
        yield helper.make_node("Reshape", ["mapped", "shape"], ["estimates"])  # (batch, components, samples)
    else:
        constants |= {"weight": weight.T, "bias": bias}
        yield helper.make_node("MatMul", [f"layer{params.num_layers}", "weight"], ["product"])
        yield helper.make_node("Add", ["product", "bias"], ["mapped"])  # (samples, batch, components)
        yield helper.make_node("Transpose", ["mapped"], ["estimates"], perm=[1, 2, 0])
    yield helper.make_node("Mul", ["estimates", "scale"], ["in_units"])
    for number, name in enumerate(outputs[: params.components]):
        constants[f"component{number}"] = np.array(number)
        yield helper.make_node("Gather", ["in_units", f"component{number}"], [name], axis=1)


def _layer(
    network: QuadratureNetwork, layer: int, finals: Sequence[str], constants: dict[str, NDArray[np.generic]]
) -> Iterator[onnx.NodeProto]:
    """Yields the operators of a recurrent layer, from `layer0` to `layer1` and so on, and adds its weights."""
    params = network.params
    for kind, values in zip("WRB", _weights(network, layer), strict=True):
        constants[f"{kind}{layer}"] = values
    initial = [""] * len(finals)
    if not network.params.sees_whole_window:
        constants[f"number{layer}"] = np.array([layer])
        initial = [f"{state}_before{layer}" for state in STATES[params.cell]]
        for state, name in zip(STATES[params.cell], initial, strict=True):
            yield helper.make_node("Gather", [state, f"number{layer}"], [name], axis=0)
    options: dict[str, Any] = {"direction": "bidirectional" if params.bidirectional else "forward"}
    if params.cell == "gru":
        options["linear_before_reset"] = 1
    if params.cell == "rnn":
        options["activations"] = [params.nonlinearity.capitalize()] * network.directions
    yield helper.make_node(
        params.cell.upper(),
        [f"layer{layer}", f"W{layer}", f"R{layer}", f"B{layer}", "", *initial],  # "": every window has all its samples
        [f"by_direction{layer}", *finals],
        hidden_size=params.hidden_size,
        **options,
    )
    yield helper.make_node("Transpose", [f"by_direction{layer}"], [f"states{layer}"], perm=[0, 2, 1, 3])
    yield helper.make_node("Reshape", [f"states{layer}", "merged"], [f"layer{layer + 1}"])


def _weights(network: QuadratureNetwork, layer: int) -> Iterator[NDArray[np.float32]]:
    """Yields a layer's weights as ONNX has them, directions first: of the input, of the state, and both biases."""
    params, order = network.params, GATES[network.params.cell]
    found = {name: tensor.detach().cpu().numpy() for name, tensor in network.recurrent.state_dict().items()}

    def gates(name: str) -> NDArray[np.float32]:
        """Returns a tensor of torch's with its gates in ONNX's order; zeros for a bias that the layer lacks."""
        zeros = np.zeros(len(order) * params.hidden_size, np.float32)
        parts = np.split(found.get(name, zeros), len(order))
        return np.concatenate([parts[gate] for gate in order])

    suffixes = [f"l{layer}{direction}" for direction in ("", "_reverse")[: network.directions]]
    yield np.stack([gates(f"weight_ih_{suffix}") for suffix in suffixes])
    yield np.stack([gates(f"weight_hh_{suffix}") for suffix in suffixes])
    yield np.stack([np.concatenate([gates(f"bias_{kind}_{suffix}") for kind in ("ih", "hh")]) for suffix in suffixes])
