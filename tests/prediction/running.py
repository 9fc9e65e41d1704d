"""Runs the command in this process or in its own, and makes and reads its files."""

import argparse
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from quadrature.commands.predict import add_arguments, main
from quadrature.network.model import predict
from quadrature.network.model_file import load_model
from tests.checkout import PROJECT

LENGTH = 10
PARAMS = {
    "cell": "gru", "nonlinearity": "tanh", "hidden_size": 8, "num_layers": 1, "bias": True, "bidirectional": False,
    "dropout": 0.0, "execution": "sequence", "head": "last", "output": "analytic",
}  # fmt: skip
OUTPUTS_OF_MODELS = ("analytic", "quadrature")

HEADER = ",".join(f"input_{at}" for at in range(LENGTH))
ROW = ",".join(["0.5"] * LENGTH)


def run(model, source, output, *options):
    """Runs the command in this process."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    paths = ["--model", model, "--input", source, "--output", output]
    main(parser.parse_args([*map(str, paths), "--threads", "1", "--device", "cpu", *map(str, options)]))


def start(model, source, output, *options, **streams):
    """Starts the command in its own process."""
    paths = ["--model", str(model), "--input", str(source), "--output", str(output)]
    options = ["--device", "cpu", "--threads", "1", *map(str, options)]
    command = [sys.executable, "-m", "quadrature", "predict", *paths, *options]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True, **streams)


def components(model, windows, batch_size=8192):
    """Returns the estimated in-phase and quadrature component of windows, each (count, LENGTH), as reference."""
    found = predict(load_model(model), windows, batch_size)
    return (found[:, 0], found[:, 1]) if found.ndim == 3 else (windows, found)


def numbered(name, values):
    return {f"{name}_{at}": values[:, at] for at in range(values.shape[1])}


def fixed(values):
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def read(path):
    """Returns a file's columns as arrays, with numbered columns stacked into one array."""
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        base, _, number = name.rpartition("_")
        if pa.types.is_fixed_size_list(column.type):
            found[name] = np.array(column.to_pylist(), np.float32)
        elif number.isdecimal():
            found.setdefault(base, []).append(column.to_numpy().astype(np.float32))
        else:
            found[name] = column.to_numpy()
    return {name: np.stack(values, 1) if isinstance(values, list) else values for name, values in found.items()}


def text(*lines):
    """Returns a function that writes these lines to a file."""
    return lambda path: path.write_text("\n".join(lines) + "\n")
