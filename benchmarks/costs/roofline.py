"""Compares a training step with the limits of this machine: matrix products, sigmoids and memory.

    .venv/bin/python -m benchmarks.costs.roofline              # five networks, one thread, then all cores; 2 min
    .venv/bin/python -m benchmarks.costs.roofline 2 0.01 8,16  # rounds, seconds a measurement, hidden size,batch

The step is quadrature.training.step.TrainStep of a GRU of `hidden` units on `batch` windows of L = 10 samples, head
`last`, output `quadrature`. For each window, with H = hidden, the gradient needs at least:

- Products. The state before each instant is multiplied by the 3 H x H weights, except before the first instant, where
  it is zero: 2 operations for each of 3 H H weights, (L - 1) times. The backward pass has two such products for each of
  these, for the gradients of the state and of the weights: 18 H H (L - 1) in total. The sample, a single number, is
  multiplied by 3 H weights at L instants; backward, only these weights need a gradient: 12 H L. The head maps H to L
  numbers: 6 H L in total.
- Nonlinearities. Two sigmoids and a tanh for each unit and instant: 3 H L. Their derivatives follow from their values.
  A sigmoid can be computed by tanh and the reverse, tanh(a) = 2 sigmoid(2 a) - 1, so the faster one sets the limit.
- Memory. The backward pass needs five numbers for each unit and instant: the state, the three gates, and the state's
  part of the candidate. They are written once and read once, 40 H L bytes. Samples and targets are read, 8 L bytes.
  Weights stay in cache.

Products and nonlinearities use the same vector units one after the other, while memory works in parallel. So a step
takes at least max(products + nonlinearities, memory), each at the highest rate measured here. `achieved` is this bound
divided by the step's median time, which also includes additions, elementwise products and Adam.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from benchmarks.task import PARAMETERS
from quadrature.network.device import compute_alone
from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.runtime.params import load_params
from quadrature.runtime.threads import Workers
from quadrature.training.batches import Batch
from quadrature.training.distributed import Ranks
from quadrature.training.gradient import error_gradient
from quadrature.training.parts import PartGradients
from quadrature.training.state import make_optimizer
from quadrature.training.step import ALONE, TrainStep
from stages.train import Params

LENGTH = 10
NETWORKS = ("16,32", "32,256", "32,1024", "64,1024", "128,1024")
SIDE = 2048  # of the square matrices that are multiplied
NEAR = 2**15  # numbers that fit into a core's cache
FAR = 2**25  # numbers that do not fit


class Rates(NamedTuple):
    """The highest rates of the machine, per second."""

    products: float  # operations of matrix products
    sigmoids: float
    tanhs: float
    memory: float  # bytes read and written


class Need(NamedTuple):
    """The work and memory that a step's gradient needs, as counted in the module's docstring."""

    products: float
    nonlinearities: float
    memory: float

    def bound(self, rates: Rates) -> float:
        """Returns the lower bound of a step's seconds."""
        nonlinearities = self.nonlinearities / max(rates.sigmoids, rates.tanhs)
        return max(self.products / rates.products + nonlinearities, self.memory / rates.memory)


def need(hidden: int, batch: int, length: int = LENGTH) -> Need:
    """Returns the need of a batch's gradient."""
    products = 18 * hidden * hidden * (length - 1) + 12 * hidden * length + 6 * hidden * length
    return Need(batch * products, batch * 3 * hidden * length, batch * (40 * hidden * length + 8 * length))


def seconds(work: Callable[[], object], rounds: int, least: float) -> list[float]:
    """Returns the mean seconds of a call in each round; a round repeats the call for at least `least` seconds."""
    work()
    started = time.perf_counter()
    work()
    calls = max(1, round(least / (time.perf_counter() - started)))
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(calls):
            work()
        found.append((time.perf_counter() - started) / calls)
    return found


def measure_rates(threads: int, rounds: int, least: float) -> Rates:
    """Measures the machine with independent threads, each on its own arrays."""
    multiply = [partial(torch.mm, a, b, out=c) for a, b, c in torch.randn(threads, 3, SIDE, SIDE)]
    sigmoids = [partial(torch.sigmoid, near, out=result) for near, result in torch.randn(threads, 2, NEAR)]
    tanhs = [partial(torch.tanh, near, out=result) for near, result in torch.randn(threads, 2, NEAR)]
    copies = [partial(target.copy_, source) for source, target in torch.randn(threads, 2, FAR)]
    with Workers(threads, compute_alone) as workers:

        def rate(works: list[Callable[[], object]], amount: float, calls: int = 1) -> float:
            def side_by_side() -> None:
                list(workers.map(lambda work: [work() for _ in range(calls)], works))

            return threads * calls * amount / min(seconds(side_by_side, rounds, least))

        return Rates(
            rate(multiply, 2 * SIDE**3), rate(sigmoids, NEAR, 200), rate(tanhs, NEAR, 200), rate(copies, 8 * FAR)
        )


class Step(NamedTuple):
    """A training step on random windows."""

    take: Callable[[], object]
    differentiate: Callable[[], object]  # the first gradient shard alone
    parameters: int
    gradients: PartGradients


def make_step(hidden: int, batch: int, shards: int, processes: int = 1, ranks: Ranks = ALONE) -> Step:
    """Returns a step of a GRU with a hidden size, a batch and a number of gradient shards."""
    params = load_params(Params, PARAMETERS)
    shape = {"cell": "gru", "hidden_size": hidden, "num_layers": 1, "bidirectional": False}
    ends = {"head": "last", "output": "quadrature"}
    network = QuadratureNetwork(params.model.model_copy(update=shape | ends), LENGTH)
    initialize(network, 0)
    settings = params.train.model_copy(update={"optimizer": "adam", "batch_size": batch, "gradient_shards": shards})
    optimizer = make_optimizer(network, settings)
    windows = Batch(torch.randn(batch, LENGTH, 1), torch.randn(batch, LENGTH))
    gradients = PartGradients(network, settings, ranks.own_parts(shards), processes)
    shard = Batch(*(part[: batch // shards] for part in windows))
    return Step(
        partial(TrainStep(network, optimizer, settings, gradients, ranks), windows, 1, 1e-4),
        partial(error_gradient, network, shard, windows.target.numel()),
        sum(weights.numel() for weights in network.parameters()),
        gradients,
    )


def measure_step(hidden: int, batch: int, threads: int, rounds: int, least: float) -> float:
    """Returns the median seconds of a step whose batch so many processes share."""
    step = make_step(hidden, batch, threads, threads)
    with step.gradients:
        return statistics.median(seconds(step.take, rounds, least))


def main(rounds: int = 7, least: float = 0.3, *networks: str) -> None:
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    counts = sorted({1, cores})
    rates = {threads: measure_rates(threads, rounds, least) for threads in counts}
    print("| threads | products (GFLOP/s) | sigmoid (10^9/s) | tanh (10^9/s) | memory (GB/s) |\n|---|---|---|---|---|")
    for threads, best in rates.items():
        print(f"| {threads} | {' | '.join(f'{rate / 1e9:.3g}' for rate in best)} |")
    print("\n| hidden, batch | threads | products (MFLOP) | nonlinearities (10^3) | memory (MB) ", end="")
    print("| bound (ms) | step (ms) | windows/s | GFLOP/s | achieved |\n|" + 10 * "---|")
    for shape in networks or NETWORKS:
        hidden, batch = map(int, shape.split(","))
        for threads in counts:
            needed, step = need(hidden, batch), measure_step(hidden, batch, threads, rounds, least)
            bound = needed.bound(rates[threads])
            counted = f"{needed.products / 1e6:.3g} | {needed.nonlinearities / 1e3:.4g} | {needed.memory / 1e6:.3g}"
            times = f"{1e3 * bound:.3g} | {1e3 * step:.3g} | {batch / step:,.0f} | {needed.products / step / 1e9:.3g}"
            print(f"| {hidden}, {batch} | {threads} | {counted} | {times} | {100.0 * bound / step:.2g} % |", flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*map(int, arguments[:1]), *map(float, arguments[1:2]), *arguments[2:])
