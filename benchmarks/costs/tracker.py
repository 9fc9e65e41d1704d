"""Measures the tracker's time per sample, beside two other ways to compute the same estimate.

    .venv/bin/python -m benchmarks.costs.tracker          # hidden size 32, 20,000 samples
    .venv/bin/python -m benchmarks.costs.tracker 1000 8   # 1,000 samples, hidden size 8

Prints a row for each cell, in microseconds: the tracker's median and 99th percentile; its median with 64 channels; the
median of a step in torch that keeps the state; and the median of passing the last ten samples through the network
again. One thread. The ways take turns sample by sample, so that a slow moment of the machine hits them all.
"""

import sys
import time
from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from quadrature.network.model import LAYERS, QuadratureNetwork, initialize
from quadrature.network.params import ModelParams
from quadrature.network.stepwise import HiddenState
from quadrature.prediction.tracker import Tracker

WINDOW_LENGTH = 10
CHANNELS = 64


def make_network(cell: str, execution: str, hidden_size: int) -> QuadratureNetwork:
    """Returns an untrained network, which is as fast as a trained one."""
    params = {"cell": cell, "execution": execution, "hidden_size": hidden_size, "nonlinearity": "tanh"}
    shape = {"num_layers": 1, "bias": True, "bidirectional": False, "dropout": 0.0}
    ends = {"head": "every", "output": "quadrature"}
    network = QuadratureNetwork(ModelParams.model_validate(params | shape | ends), WINDOW_LENGTH)
    initialize(network, 0)
    return network.eval()


def stepping(network: QuadratureNetwork) -> Callable[[float], float]:
    """Returns a function that estimates a sample by a step in torch."""
    state: HiddenState | None = None

    @torch.inference_mode()
    def update(sample: float) -> float:
        nonlocal state
        estimate, state = network.advance(torch.tensor(sample).reshape(1, 1, 1), state)
        return estimate.item()

    return update


def reading_again(network: QuadratureNetwork) -> Callable[[float], float]:
    """Returns a function that estimates a sample by the window that ends with it."""
    window = deque([0.0] * WINDOW_LENGTH, WINDOW_LENGTH)

    @torch.inference_mode()
    def update(sample: float) -> float:
        window.append(sample)
        return network(torch.tensor(window).reshape(1, -1, 1))[0, -1].item()

    return update


def measure(cell: str, samples: int, hidden_size: int) -> list[float]:
    """Returns the microseconds of a cell's row."""
    sequence, stepwise = (make_network(cell, execution, hidden_size) for execution in ("sequence", "stepwise"))
    one = np.sin(np.linspace(0.0, 0.3 * samples, samples)).tolist()
    many = np.tile(np.array(one, np.float32)[:, None], CHANNELS)
    ways = (
        (Tracker(sequence).update, one),
        (Tracker(sequence).update, many),
        (stepping(stepwise), one),
        (reading_again(sequence), one),
    )
    seconds = np.empty((samples, len(ways)))
    for step in range(samples):
        for way, (update, signal) in enumerate(ways):
            sample = signal[step]
            started = time.perf_counter()
            update(sample)
            seconds[step, way] = time.perf_counter() - started
    tracker, *others = np.median(seconds, axis=0)
    return [figure * 1e6 for figure in (tracker, np.percentile(seconds[:, 0], 99), *others)]


def main(samples: int = 20_000, hidden_size: int = 32) -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)  # numpy's
    print(f"hidden size {hidden_size}, {samples:,} samples, microseconds a sample\n")
    columns = ("cell", "p50", "p99", f"p50, {CHANNELS} channels", "p50, a step in torch", "p50, the window again")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for cell in LAYERS:
        figures = measure(cell, samples, hidden_size)
        print(f"| {cell} | {' | '.join(f'{figure:.0f}' for figure in figures)} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
