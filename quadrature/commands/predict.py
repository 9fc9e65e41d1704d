"""Estimates of windows, or of a long signal, from a table in parquet or CSV.

To each row come `prediction`, the quadrature component, and what follows from it and the input at the same instant:
`amplitude`, hypot(input, prediction), and `phase`, atan2(input, prediction), in radians in (-pi, pi]. The input is
taken as it is, so its noise is in both.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO, get_args

import torch

from quadrature.device import Device, set_up_device
from quadrature.errors import DataError, ParameterError
from quadrature.model import QuadratureNetwork, load_model
from quadrature.prediction import Output, predict_signal, predict_windows
from quadrature.tables import Format, format_of, open_table, sniff_format

STANDARD = Path("-")
"""Standard input or output, in place of a file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--model", type=Path, required=True, metavar="FILE", help="models/model.safetensors, or another"
    )
    parser.add_argument(
        "--input", type=Path, required=True, metavar="FILE",
        help="parquet, CSV or a folder of part-*.parquet, the windows in lists named input, or in input_0, input_1 and "
        "so on; - for standard input",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE",
        help="the same rows with prediction, amplitude and phase: parquet or CSV; - for standard output",
    )  # fmt: skip
    parser.add_argument("--format", choices=get_args(Format), help="of the output, whatever its name")
    parser.add_argument(
        "--hop", type=_positive, metavar="N",
        help="the input is one signal, a sample a row: cut a window every N samples, average where they overlap",
    )  # fmt: skip
    parser.add_argument("--column", metavar="NAME", help="where the signal is (default: input); only with --hop")
    parser.add_argument(
        "--batch-size", type=_positive, default=8192, metavar="N", help="windows per forward pass (default: 8192)"
    )
    parser.add_argument("--threads", type=_positive, metavar="N", help="that compute (default: what torch takes)")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="where to compute (default: auto)")


def main(arguments: argparse.Namespace) -> None:
    """Estimates, and writes what was asked for, whole or not at all."""
    network = _load_network(arguments.model, arguments.device, arguments.threads)
    _check_hop(arguments.hop, arguments.column, network.window_length)
    with tempfile.TemporaryDirectory() as folder:
        path, kind, label = _find_input(arguments.input, Path(folder))
        output = _find_output(arguments.output, Path(folder), arguments.format, kind)
        table = open_table(path, kind, label, typed=output.format == "parquet")
        if arguments.hop is None:
            predict_windows(network, table, output, arguments.batch_size)
        else:
            predict_signal(network, table, output, arguments.batch_size, arguments.column or "input", arguments.hop)
        result = output.path.open("rb") if arguments.output == STANDARD else None
    if result is not None:
        _send(result)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 2**24:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 to {2**24}")
    return int(text)


def _load_network(path: Path, name: Device, threads: int | None) -> QuadratureNetwork:
    try:
        device = set_up_device(name, threads or torch.get_num_threads())
    except ParameterError:  # which speaks of params.yaml
        raise ParameterError(f"--device is {name}, which torch does not find here; leave it out") from None
    return load_model(path).to(device)


def _check_hop(hop: int | None, column: str | None, length: int) -> None:
    if hop is None and column is not None:
        raise ParameterError("--column names a signal's column; give --hop with it")
    if hop is not None and hop > length:
        raise ParameterError(f"--hop is {hop}, and samples between windows of {length} would go without an estimate")


def _find_input(path: Path, folder: Path) -> tuple[Path, Format, str]:
    """Returns where the input lies, its format, and what to call it; standard input is first copied to `folder`."""
    if path != STANDARD:
        return path, "parquet" if path.is_dir() else format_of(path), str(path)
    copy = folder / "input"  # parquet is read from its end
    with copy.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return copy, sniff_format(copy), "standard input"


def _find_output(path: Path, folder: Path, asked: Format | None, kind: Format) -> Output:
    """Returns where to write; what goes to standard output lies in `folder` until all is well."""
    if path == STANDARD:
        return Output(folder / "output", asked or kind, "standard output")
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file to write")
    return Output(path, asked or format_of(path), str(path))


def _send(result: BinaryIO) -> None:
    """Copies a file to standard output."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # if nobody reads on, end as `cat` does; nothing is left to clean
    with result:
        shutil.copyfileobj(result, sys.stdout.buffer)
    sys.stdout.buffer.flush()
