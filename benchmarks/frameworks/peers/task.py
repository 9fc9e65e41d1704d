"""The command line of a peer, and its windows, read with pyarrow.

    PYTHON -m benchmarks.frameworks.peers.NAME throughput --train FOLDER --sizes 16x32,64x1024 --seconds 2 --threads 2
    PYTHON -m benchmarks.frameworks.peers.NAME target --train FOLDER --test FOLDER --hidden 64 --batch 1024 \
        --rate 0.01 --windows 1048576 --epochs 1 --seed 0 --threads 2
    PYTHON -m benchmarks.frameworks.peers.NAME loss --train FOLDER --hidden 64 --batch 1024 \
        --weights FILE.npz --threads 1

Each prints a line of JSON at its end. All peers train the same network on the same windows: one GRU layer reads a
window sample by sample, a linear layer maps its last state to the ten cosines, and the loss is the mean squared error.
`loss` proves it: with the same weights, named as in torch, every peer must have the same loss.

Imports numpy and pyarrow, and nothing of quadrature: a peer is the code that a user would write without it.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

Array = np.ndarray

LENGTH = 10  # samples in a window

# One-cycle schedule of all frameworks: from 1/25 of the peak rate up over 30 % of the steps, then down to 4e-6 of it.
RISE, START, END = 0.3, 1 / 25, 1 / 25e4


class Peer(NamedTuple):
    """A framework's network and loop. `train` returns the trained model, as some frameworks do not change theirs."""

    build: Callable[[int, int], Any]  # (hidden, seed) -> model
    train: Callable[..., Any]  # (model, inputs, target, batch, epochs=1, rate=None) -> model; None: Adam's default rate
    estimate: Callable[[Any, Array], Array]  # (model, inputs) -> estimates
    load: Callable[[Any, Mapping[str, Array]], Any]  # (model, torch's weights) -> model
    count: Callable[[Any], int]  # (model) -> number of parameters


def main(peer: Peer, limit_threads: Callable[[int], object] = lambda _threads: None) -> None:
    """Runs the mode of the command line and prints its figures."""
    options = parse()
    limit_threads(options.threads)
    if options.mode == "throughput":
        inputs, target = read(options.train)
        speeds = {}
        for hidden, batch in options.sizes:
            model = peer.build(hidden, 0)

            def train(windows: int, model: Any = model, batch: int = batch) -> None:
                peer.train(model, inputs[:windows], target[:windows], batch)

            speeds[f"{hidden}x{batch}"] = steady(train, batch, len(inputs), options.seconds)
        answer(speeds=speeds)
    elif options.mode == "target":
        inputs, target = read(options.train, options.windows)
        model = peer.build(options.hidden, options.seed)
        model = peer.train(model, inputs, target, options.batch, options.epochs, options.rate)
        trained = time.perf_counter()
        inputs, target = read(options.test)
        score = mse(peer.estimate(model, inputs), target)
        answer(mse=score, scoring_seconds=time.perf_counter() - trained)
    else:
        inputs, target = read(options.train, options.batch)
        with np.load(options.weights) as weights:  # noqa: TID251, written by our test; does not unpickle
            model = peer.load(peer.build(options.hidden, 0), weights)
        answer(loss=mse(peer.estimate(model, inputs), target), parameters=peer.count(model))


def parse() -> argparse.Namespace:
    """Returns the command line's options."""
    parser = argparse.ArgumentParser()
    parsers = parser.add_subparsers(dest="mode", required=True)
    for mode in ("throughput", "target", "loss"):
        options = parsers.add_parser(mode)
        options.add_argument("--train", type=Path, required=True, help="folder of parquet files")
        options.add_argument("--threads", type=int, required=True)
        if mode == "throughput":
            options.add_argument("--sizes", type=sizes, required=True, help="hidden x batch, separated by commas")
            options.add_argument("--seconds", type=float, required=True, help="of training at each size, at least")
            continue
        options.add_argument("--hidden", type=int, required=True)
        options.add_argument("--batch", type=int, required=True)
        if mode == "loss":
            options.add_argument("--weights", type=Path, required=True, help="torch's, as .npz")
            continue
        options.add_argument("--test", type=Path, required=True, help="folder of parquet files")
        options.add_argument("--rate", type=float, required=True, help="the one-cycle schedule's peak")
        options.add_argument("--windows", type=int, required=True, help="number of windows to train on, from the first")
        options.add_argument("--epochs", type=int, required=True, help="passes over them")
        options.add_argument("--seed", type=int, required=True)
    return parser.parse_args()


def sizes(text: str) -> list[tuple[int, int]]:
    """Parses a text such as 16x32,64x1024 into pairs (hidden, batch)."""
    return [(int(hidden), int(batch)) for hidden, _, batch in (size.partition("x") for size in text.split(","))]


def read(folder: Path, windows: int | None = None) -> tuple[Array, Array]:
    """Returns inputs and targets of the first windows, or of all: arrays (windows, 10) of float32."""
    table = pq.read_table(folder, columns=["input", "target"]).slice(0, windows)
    inputs, target = (table[name].combine_chunks().flatten().to_numpy() for name in ("input", "target"))
    return inputs.reshape(-1, LENGTH), target.reshape(-1, LENGTH)


def steady(train: Callable[[int], object], batch: int, available: int, seconds: float) -> float:
    """Returns the windows a second of `train(windows)`, which trains once on the first windows.

    The first call is not counted, as the framework compiles in it. The number of windows then grows until a call takes
    the given seconds or all available windows.
    """
    windows = min(32 * batch, available)
    train(windows)
    while True:
        started = time.perf_counter()
        train(windows)
        elapsed = time.perf_counter() - started
        if elapsed >= seconds or windows == available:
            return windows / elapsed
        windows = min(windows * max(2, round(1.1 * seconds / elapsed)), available)


def mse(estimate: Array, target: Array) -> float:
    """Returns the mean squared error, summed in float64."""
    return float(np.square(estimate.astype(np.float64) - target).mean())


def answer(**figures: object) -> None:
    """Prints figures as a line of JSON."""
    print(json.dumps(figures), flush=True)
