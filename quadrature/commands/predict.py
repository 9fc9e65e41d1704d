"""`python -m quadrature predict`: estimates for a table of windows, or of a long signal, in parquet, CSV or WAV.

Each row gets the estimated analytic signal: `in_phase`, the sine without noise, and `quadrature`, the cosine, also
under its older name `prediction`. From these follow `amplitude`, `phase` in radians in (-pi, pi], and `frequency` in
radians a sample, also in Hz with --rate: quadrature/prediction/derived.py. A network with model.output quadrature does
not filter the input: its `in_phase` is the samples, and amplitude, phase and frequency contain their noise.
"""

import argparse
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO, get_args

import torch
from tqdm import tqdm

from quadrature.network.device import set_up_device
from quadrature.network.model import QuadratureNetwork
from quadrature.network.model_file import load_model
from quadrature.network.params import Device
from quadrature.prediction.estimates import Estimator, Output, Signal, predict_signal, predict_windows
from quadrature.prediction.gaps import LONGEST_GAP
from quadrature.prediction.overlap import At
from quadrature.runtime.arguments import add_model, hertz, whole_number
from quadrature.runtime.errors import DataError, ParameterError
from quadrature.runtime.launch import Launch, read_launch
from quadrature.runtime.lifecycle import standard
from quadrature.runtime.system_errors import naming
from quadrature.storage.places import Place, fetch, is_folder, join, list_files, parse_place
from quadrature.tables.columns import Gaps
from quadrature.tables.dialect import Dialect
from quadrature.tables.table import Format, InputFormat, format_of, input_format_of, open_table, sniff_format

STANDARD = Path("-")
"""Stands for standard input or output."""

_PART = 2**20  # bytes of standard input read at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    _add_files(parser)
    _add_samples(parser)
    _add_dialect(parser.add_argument_group("how a CSV input is written; the output has commas and points, in UTF-8"))
    counts = whole_number(1, 2**24)
    parser.add_argument(
        "--batch-size", type=counts, default=8192, metavar="N", help="windows per forward pass (default: 8192)"
    )
    parser.add_argument("--threads", type=counts, metavar="N", help="CPU threads (default: torch's choice)")
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="where to compute (default: auto)")


def _add_files(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "-i", "--input", required=True, metavar="FILE",
        help="parquet, CSV (also .csv.gz, .csv.zst) or a folder of part-*.parquet, with windows as lists in the column "
        "input, or as columns input_0, input_1 and so on; WAV with --hop; - for standard input, s3:// and gs:// for "
        "object stores",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE",
        help="the same rows with in_phase, quadrature, amplitude, phase and frequency: parquet or CSV; - for standard "
        "output; a folder for one file per input file, shared out among the processes of torchrun",
    )  # fmt: skip
    parser.add_argument("--format", choices=get_args(Format), help="format of the output (default: by its suffix)")


def _add_samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hop", type=whole_number(1, 2**24), metavar="N",
        help="read the input as one signal, a sample a row: start a window every N samples, average where they overlap",
    )  # fmt: skip
    parser.add_argument(
        "--column", action="append", metavar="NAME",
        help="column of the signal (default: input, or all of a WAV file); once for each channel; only with --hop",
    )  # fmt: skip
    parser.add_argument(
        "--time", metavar="NAME", help="column of times, which are checked to be evenly spaced; only with --hop"
    )
    parser.add_argument(
        "--at", choices=get_args(At),
        help="where in its windows a sample is estimated: the mean over all, the middle or the end (default: mean)",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=hertz, metavar="HZ", help="samples a second: adds frequency_hz, the frequency in Hz"
    )
    parser.add_argument(
        "--gaps", choices=get_args(Gaps), default="refuse",
        help=f"missing samples: refuse them, interpolate up to {LONGEST_GAP} in a row (longer gaps: null), or make the "
        "estimates of windows that hold one null (default: refuse)",
    )  # fmt: skip


def _add_dialect(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--no-header", action="store_true", help="the first line is a row; columns: input_0, input_1 ..."
    )
    group.add_argument(
        "--delimiter", default=",", metavar="CHAR", help="between fields, such as ';' or tab (default: ,)"
    )
    group.add_argument("--decimal", choices=[".", ","], default=".", metavar="MARK", help="'.' or ',' (default: .)")
    group.add_argument("--encoding", default="utf-8", metavar="NAME", help="such as latin-1, utf-16 (default: utf-8)")
    group.add_argument(
        "--comment", metavar="TEXT", help="how lines begin that are no rows, such as '#' (default: none)"
    )


def main(arguments: argparse.Namespace) -> None:
    """Writes the estimates. Each file is written completely or not at all."""
    launch = read_launch()
    dialect = _dialect(arguments)
    network = _load_network(arguments.model, arguments.device, arguments.threads, launch.local_rank)
    _check_signal(arguments, network.window_length)
    estimator = Estimator(network, arguments.batch_size)
    source, output = parse_place(arguments.input), parse_place(arguments.output)
    if _is_folder_asked(source, arguments):
        names = _share(source, output, launch)
        for name in tqdm(names, unit="file", disable=launch.rank > 0 or None):
            _estimate(estimator, join(source, name), join(output, name), arguments, dialect, progress=False)
    elif launch.world_size > 1:
        raise ParameterError("several processes need folders to share; give a folder as --input, and one as --output")
    else:
        _estimate(estimator, source, output, arguments, dialect)
    for words in estimator.warnings():
        logging.warning("%s", words)


def _is_folder_asked(source: Place, arguments: argparse.Namespace) -> bool:
    """Whether the output is a folder with a file for each input file, rather than a single file."""
    output = arguments.output
    named = output != "-" and not Path(output).suffix and arguments.format is None
    if not is_folder(source):
        return False
    if not (named or output.endswith("/") or Path(output).is_dir()):
        if isinstance(source, str):
            raise ParameterError(f"--input {source} is a folder in a store; --output should be a folder too")
        return False
    if arguments.hop is not None:
        raise ParameterError(f"--hop reads one signal, but --output {output} is a folder; name a file to write")
    return True


def _share(source: Place, output: Place, launch: Launch) -> list[str]:
    """Returns the files of this process. Raises DataError if there are none, or other files in the output."""
    names = [name for name in list_files(source) if fnmatch(name, "part-*.parquet")]
    if not names:
        raise DataError(f"{source} holds no part-*.parquet; give a file, or a folder of these")
    if others := {name for name in list_files(output) if fnmatch(name, "part-*")}.difference(names):
        raise DataError(f"{output} holds {min(others)}, which {source} does not; remove it, or name another folder")
    return [names[index] for index in launch.own_items(range(len(names)))]


def _estimate(
    estimator: Estimator, source: Place, place: Place, arguments: argparse.Namespace, dialect: Dialect,
    progress: bool = True,
) -> None:  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path, kind, label = _find_input(source, Path(folder))
        if kind != "csv" and dialect != Dialect():
            raise ParameterError(f"{label} is no CSV file; leave out the options of CSV, such as --delimiter")
        if kind == "wav" and arguments.hop is None:
            raise ParameterError(f"{label} is a recording, not windows; give --hop")
        output = _find_output(place, Path(folder), arguments.format, kind, progress)._replace(rate=arguments.rate)
        typed = output.format == "parquet" or dialect.decimal != "."
        table = open_table(path, kind, label, typed, dialect)
        if arguments.hop is None:
            predict_windows(estimator, table, output, arguments.gaps)
        else:
            columns = arguments.column or (table.schema.names if kind == "wav" else ["input"])
            channels = Signal(columns, arguments.hop, arguments.time, arguments.at or "mean")
            predict_signal(estimator, table, output, channels, arguments.gaps)
        result = (Path(folder) / "output").open("rb") if place == STANDARD else None
    if result is not None:
        _send(result)


def _dialect(arguments: argparse.Namespace) -> Dialect:
    delimiter = {"tab": "\t", "\\t": "\t"}.get(arguments.delimiter, arguments.delimiter)
    return Dialect(not arguments.no_header, delimiter, arguments.decimal, arguments.encoding, arguments.comment)


def _load_network(path: Path, name: Device, threads: int | None, index: int) -> QuadratureNetwork:
    try:
        device = set_up_device(name, threads or torch.get_num_threads(), index)
    except ParameterError:  # its message is about params.yaml
        raise ParameterError(f"--device is {name}, which torch does not find here; leave it out") from None
    return load_model(path).to(device)


def _check_signal(arguments: argparse.Namespace, length: int) -> None:
    hop = arguments.hop
    if hop is None and arguments.column is not None:
        raise ParameterError("--column names a signal's column; give --hop with it")
    if hop is None and arguments.time is not None:
        raise ParameterError("--time names the times of a signal; give --hop with it")
    if arguments.at is not None and hop != 1:
        raise ParameterError(f"--at {arguments.at} needs a window for each sample of a signal; give --hop 1")
    if hop is not None and hop > length:
        raise ParameterError(f"--hop is {hop}, more than the {length} samples of a window; give at most {length}")
    for name, count in Counter(arguments.column).items():
        if count > 1:
            raise ParameterError(f"--column {name} is given {count} times; give it once")


def _find_input(place: Place, folder: Path) -> tuple[Path, InputFormat, str]:
    """Returns a local path of the input, its format and its name in messages. Other inputs are copied."""
    if place == STANDARD:
        copy = folder / "input"  # a file, because reading parquet begins at its end
        with naming(copy), copy.open("wb") as file:
            for part in _standard_input():
                file.write(part)
        return copy, sniff_format(copy), "standard input"
    kind: InputFormat = "parquet" if isinstance(place, Path) and place.is_dir() else input_format_of(place)
    try:
        return fetch(place, folder), kind, str(place)
    except FileNotFoundError:
        raise DataError(f"{place} is missing") from None


def _standard_input() -> Iterator[bytes]:
    with standard("input") as stream:
        while part := stream.buffer.read(_PART):
            yield part


def _find_output(place: Place, folder: Path, asked: Format | None, kind: InputFormat, progress: bool) -> Output:
    """Returns the output to write: for standard output, a file in `folder` that is sent when it is complete."""
    if place == STANDARD:
        return Output(folder / "output", asked or ("csv" if kind == "wav" else kind), "standard output")
    if is_folder(place):
        raise DataError(f"{place} is a folder; name a file to write")
    if isinstance(place, Path) and place.exists() and not place.is_file():  # a file would replace it
        raise DataError(f"{place} is a device; name a file to write, or - for standard output")
    return Output(place, asked or format_of(place), str(place), progress)


def _send(result: BinaryIO) -> None:
    """Copies a file to standard output."""
    with result, standard("output") as output:
        shutil.copyfileobj(result, output.buffer)
