"""Measures what a second process brings to training, and the constants of docs/scaling.md's model of many.

    .venv/bin/python -m benchmarks.costs.scaling                # hidden size 256, batch 4096, 5 rounds of 10 steps
    .venv/bin/python -m benchmarks.costs.scaling 8 64 2 3       # hidden size, batch, rounds, steps

A step is quadrature.training.loop.TrainStep with four gradient shards, one thread a process, started as torchrun starts
them. One process and two take turns. The constants are of the same runs:

    compute     a gradient, a window, in one process
    rest        adding up, clipping and moving the weights, a step; every process does it
    latency     of gathering next to nothing from two processes
    bandwidth   at which gathering whole gradients brings the other process's half
"""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SHARDS = 4


def measure(hidden: int, batch: int, steps: int) -> None:
    """What each process does; the first prints the medians of its seconds."""
    import torch

    from benchmarks.costs.roofline import make_step
    from quadrature.network.device import set_up_device
    from quadrature.runtime.launch import read_launch
    from quadrature.runtime.threads import Workers
    from quadrature.training.distributed import joined

    launch = read_launch()
    device = set_up_device("cpu", threads=1)
    with joined(launch, device, SHARDS, patience=120.0) as ranks:
        step = make_step(hidden, batch, SHARDS, Workers(1), ranks)
        rows = torch.ones(SHARDS // launch.world_size, step.parameters + 1)
        works: dict[str, Callable[[], object]] = {
            "step": step.take,
            "gradient": step.differentiate,
            "gather": lambda: ranks.gather(rows),
            "gather_nothing": lambda: ranks.gather(rows[:, :1].contiguous()),
        }
        answer = {"parameters": step.parameters, **{name: median_seconds(work, steps) for name, work in works.items()}}
    if launch.rank == 0:
        print(json.dumps(answer))


def median_seconds(work: Callable[[], object], times: int) -> float:
    """Returns the median of so many calls, after one that is not counted."""
    found = []
    for _ in range(times + 1):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def run(processes: int, *arguments: object) -> dict[str, float]:
    """Returns what the first of so many processes prints."""
    program = ["-m", "benchmarks.costs.scaling", "measure", *map(str, arguments)]
    if processes > 1:
        program = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *program]
    output = subprocess.check_output([sys.executable, *program], cwd=PROJECT, text=True, stderr=subprocess.DEVNULL)
    answer: dict[str, float] = json.loads(output.splitlines()[-1])
    return answer


def main(hidden: int = 256, batch: int = 4096, rounds: int = 5, steps: int = 10) -> None:
    """Prints the two speeds, the constants, and how many processes the model says are worth having."""
    ones, twos = [], []
    for turn in range(rounds):
        for found, processes in ((ones, 1), (twos, 2)) if turn % 2 == 0 else ((twos, 2), (ones, 1)):
            found.append(run(processes, hidden, batch, steps))
    print("| processes | windows a second | to one process |\n|---|---|---|")
    for processes, found in ((1, ones), (2, twos)):
        ratios = [one["step"] / other["step"] for one, other in zip(ones, found, strict=True)]
        speed = batch / statistics.median(answer["step"] for answer in found)
        print(
            f"| {processes} | {speed:,.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )

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
