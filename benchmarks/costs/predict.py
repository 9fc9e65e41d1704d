"""Measures the predict command, from file to file, against the network's forward pass alone over the same windows.

    .venv/bin/python -m benchmarks.costs.predict            # 1,048,576 windows, 5 rounds
    .venv/bin/python -m benchmarks.costs.predict 65536 3    # number of windows, number of rounds

The windows are those of benchmarks/params.yaml. The parquet file has all the columns that the pipeline writes, the CSV
file has the inputs. The network is untrained, which takes as long as a trained one. The ways take turns. A row shows
the median of windows a second, and of the ratio to the forward pass in the same round. Times include reading, checking,
writing and flushing to the disk, but no imports.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from benchmarks.task import PARAMETERS
from benchmarks.turns import ratios, take_turns, timed
from quadrature.network.device import set_up_device
from quadrature.network.model import QuadratureNetwork, initialize, predict
from quadrature.network.params import ModelParams
from quadrature.prediction.estimates import Estimator, Output, predict_windows
from quadrature.prediction.table_writer import TableWriter
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.signals.params import GenerateParams
from quadrature.signals.waves import draw_shard
from quadrature.storage.windows import writing
from quadrature.tables.table import Format, open_table

BATCH_SIZE = 8192  # the command's default


class Params(Section):
    generate: GenerateParams
    model: ModelParams


def make_network(params: Params) -> QuadratureNetwork:
    """Returns an untrained network."""
    network = QuadratureNetwork(params.model, params.generate.length)
    initialize(network, 0)
    return network.eval()


def write_inputs(folder: Path, drawn: GenerateParams, windows: int) -> NDArray[np.float32]:
    """Writes windows to input.parquet and input.csv; returns their inputs."""
    params = drawn.model_copy(update={"shard_windows": 65536})
    blocks = []
    with (
        writing(folder / "input.parquet") as parquet,
        (folder / "input.csv").open("wb") as file,
    ):
        table = TableWriter(file, "csv", "input.csv")
        for block in range(-(-windows // params.shard_windows)):
            count = min(params.shard_windows, windows - block * params.shard_windows)
            columns = {name: values[:count] for name, values in draw_shard(params, "train", block).items()}
            parquet.write(columns)
            table.write(pa.table({f"input_{at}": column for at, column in enumerate(columns["input"].T)}))
            blocks.append(columns["input"])
    return np.concatenate(blocks)


def command(network: QuadratureNetwork, folder: Path, kind: Format) -> None:
    """Reads a file, estimates and writes a file of the same format, as the command does."""
    path, output = folder / f"input.{kind}", folder / f"output.{kind}"
    table = open_table(path, kind, str(path), typed=kind == "parquet")
    predict_windows(Estimator(network, BATCH_SIZE), table, Output(output, kind, str(output)))


def main(windows: int = 2**20, rounds: int = 5) -> None:
    threads = torch.get_num_threads()
    set_up_device("cpu", threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = load_params(Params, PARAMETERS)
        samples = write_inputs(folder, params.generate, windows)
        network = make_network(params)
        ways: dict[str, Callable[[], object]] = {
            "forward pass": partial(predict, network, samples, BATCH_SIZE),
            "parquet to parquet": partial(command, network, folder, "parquet"),
            "CSV to CSV": partial(command, network, folder, "csv"),
        }
        predict(network, samples[:BATCH_SIZE], BATCH_SIZE)  # warms up
        seconds = take_turns({way: partial(timed, work) for way, work in ways.items()}, rounds)
    print(f"{windows:,} windows, batches of {BATCH_SIZE:,}, {threads} threads, medians of {rounds} rounds\n")
    print("| way | windows a second | ratio | lowest | highest |\n|---|---|---|---|---|")
    for way, times in seconds.items():
        found = ratios(seconds["forward pass"], times)
        speed = windows / statistics.median(times)
        print(f"| {way} | {speed:,.0f} | {statistics.median(found):.2f} | {min(found):.2f} | {max(found):.2f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
