"""Measures training in one process and in two, and the constants of docs/scaling.md's model of more processes.

    .venv/bin/python -m benchmarks.costs.scaling                # hidden size 256, batch 4096, 5 rounds of 10 steps
    .venv/bin/python -m benchmarks.costs.scaling 8 64 2 3       # hidden size, batch, rounds, steps

A step is quadrature.training.step.TrainStep with four gradient shards and one thread per process. torchrun starts the
processes; one and two take turns. The constants come from the same runs:

    compute     the gradient of one window, in one process
    rest        summing the gradient, clipping it and updating the weights, per step; every process does it
    latency     of gathering next to nothing from two processes
    bandwidth   of gathering whole gradients, which brings the other process's half
"""

import json
import math
import statistics
import sys
from collections.abc import Callable
from functools import partial

from benchmarks.processes import PROJECT, run
from benchmarks.turns import ratios, spread, take_turns

SHARDS = 4


def measure(hidden: int, batch: int, steps: int) -> None:
    """Does one process's part of each kind of work; the first process prints the median seconds of each."""
    import torch

    from benchmarks.costs.roofline import make_step, seconds
    from quadrature.network.device import set_up_device
    from quadrature.runtime.launch import read_launch
    from quadrature.training.distributed import joined

    launch = read_launch()
    device = set_up_device("cpu", threads=1)
    with joined(launch, device, SHARDS, patience=120.0) as ranks:
        step = make_step(hidden, batch, SHARDS, ranks=ranks)
        rows = torch.ones(SHARDS // launch.world_size, step.parameters + 1)
        works: dict[str, Callable[[], object]] = {
            "step": step.take,
            "gradient": step.differentiate,
            "gather": lambda: ranks.gather(rows),
            "gather_nothing": lambda: ranks.gather(rows[:, :1].contiguous()),
        }
        # One call a round, however fast: all processes must gather equally often.
        medians = {name: statistics.median(seconds(work, steps, 0.0)) for name, work in works.items()}
    if launch.rank == 0:
        print(json.dumps({"parameters": step.parameters, **medians}))


def start(processes: int, *arguments: int) -> dict[str, float]:
    """Runs `measure` in processes started together; returns what the first one prints."""
    program = ["-m", "benchmarks.costs.scaling", "measure", *map(str, arguments)]
    if processes > 1:
        program = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *program]
    return run([sys.executable, *program], PROJECT).answer


def main(hidden: int = 256, batch: int = 4096, rounds: int = 5, steps: int = 10) -> None:
    """Prints both speeds, the constants, and the speed that the model expects of more processes."""
    found = take_turns({count: partial(start, count, hidden, batch, steps) for count in (1, 2)}, rounds)
    ones, twos = found.values()
    print("| processes | windows a second | to one process |\n|---|---|---|")
    alone = [answer["step"] for answer in ones]
    for processes, answers in found.items():
        times = [answer["step"] for answer in answers]
        print(f"| {processes} | {batch / statistics.median(times):,.0f} | {spread(ratios(alone, times))} |")

    parameters = ones[0]["parameters"]
    compute = statistics.median(one["gradient"] for one in ones) / batch * SHARDS
    rest = statistics.median(max(one["step"] - SHARDS * one["gradient"], 0.0) for one in ones)
    latency = statistics.median(two["gather_nothing"] for two in twos)
    wire = statistics.median(max(two["gather"] - two["gather_nothing"], 1e-9) for two in twos)
    bandwidth = SHARDS / 2 * 4 * parameters / wire
    print("\n| constant | |\n|---|---|")
    print(f"| parameters | {parameters:,.0f} |\n| compute (microseconds a window) | {1e6 * compute:.3g} |")
    print(f"| rest (ms a step) | {1e3 * rest:.3g} |\n| latency (ms) | {1e3 * latency:.3g} |")
    print(f"| bandwidth (GB/s) | {bandwidth / 1e9:.3g} |")

    print("\n| processes, by the model | windows a second | to one process |\n|---|---|---|")
    each = latency + 4 * parameters / bandwidth

    def seconds(processes: int) -> float:
        return compute * batch / processes + rest + (processes - 1) * each

    fastest = max(1, round(math.sqrt(compute * batch / each)))
    for processes in sorted({1, 2, 4, 8, 16, fastest}):
        print(f"| {processes} | {batch / seconds(processes):,.0f} | {seconds(1) / seconds(processes):.2f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(*map(int, sys.argv[2:]))
    else:
        main(*map(int, sys.argv[1:]))
