"""`python -m quadrature export`: writes the network in a format that other runtimes read.

docs/predict.md describes the inputs and outputs.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from quadrature.network.model_file import load_model
from quadrature.prediction.onnx_graph import Port, make_graph, ports
from quadrature.runtime.arguments import add_model
from quadrature.runtime.errors import ParameterError
from quadrature.storage.files import write_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_model(parser)
    parser.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="to write, such as model.onnx")


def main(arguments: argparse.Namespace) -> None:
    """Writes the file and logs its inputs and outputs."""
    if arguments.onnx.exists() and not arguments.onnx.is_file():
        raise ParameterError(f"--onnx {arguments.onnx} is not a file; name a file to write")
    network = load_model(arguments.model)
    write_bytes(arguments.onnx, make_graph(network))
    inputs, outputs = ports(network)
    logging.info("%s: %s -> %s", arguments.onnx, in_words(inputs), in_words(outputs))


def in_words(ports: Sequence[Port]) -> str:
    """Returns inputs or outputs with their shapes."""
    return ", ".join(f"{port.name} ({', '.join(map(str, port.shape))})" for port in ports)
