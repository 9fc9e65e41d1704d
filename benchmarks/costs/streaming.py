"""Measures the cost of training on more windows than fit the memory that training may use.

    .venv/bin/python -m benchmarks.costs.streaming                 # 1,048,576 windows, 84 MB, 5 rounds
    .venv/bin/python -m benchmarks.costs.streaming 20000 2         # number of windows, number of rounds
    .venv/bin/python -m benchmarks.costs.streaming memory 1000000 10000000    # peak memory at these sizes

Both ways run the train stage for an epoch with the network of benchmarks/params.yaml: once with all windows in memory,
once with a tenth of them, the others being read again when needed. The ways take turns. A row shows the median of the
seconds that the stage logs, and of the ratio within a round. Memory is measured with a small network and 8 MB of
windows.
"""

import re
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.frameworks.tasks import make_tree
from benchmarks.processes import Outcome, run
from benchmarks.turns import ratios, spread, take_turns

WINDOW_BYTES = 80  # ten samples and ten cosines, float32
SMALL: Mapping[str, object] = {"model.hidden_size": 4, "train.batch_size": 65536, "train.validations_per_epoch": 1}


def make(folder: Path, windows: int, **changes: object) -> Path:
    """Makes a tree with the given number of training windows and an epoch of training."""
    sizes = {"generate.windows.train": windows, "generate.windows.validation": 100, "generate.windows.test": 100}
    return make_tree(folder / "tree", {**sizes, "train.epochs": 1, **changes})


def train(tree: Path, megabytes: int) -> Outcome:
    """Runs the train stage with windows in memory up to a limit."""
    return run([sys.executable, "-m", "stages.train", "--memory", str(megabytes)], tree)


def training_seconds(tree: Path, megabytes: int) -> float:
    """Returns the seconds of training that the stage logs."""
    (seconds,) = re.findall(r"steps in ([\d.]+) seconds", train(tree, megabytes).log)
    return float(seconds)


def measure_overhead(windows: int, rounds: int) -> None:
    """Prints the seconds of training with all windows in memory, and with a tenth of them."""
    everything, held = 10**6, max(1, windows * WINDOW_BYTES // 10**7)  # megabytes
    with tempfile.TemporaryDirectory() as folder:
        tree = make(Path(folder), windows)
        ways = {megabytes: partial(training_seconds, tree, megabytes) for megabytes in (everything, held)}
        seconds = take_turns(ways, rounds)
    print("| windows in memory | seconds | to all in memory |\n|---|---|---|")
    for megabytes, times in seconds.items():
        name = "all" if megabytes == everything else f"{megabytes} of {windows * WINDOW_BYTES / 1e6:.0f} MB"
        print(f"| {name} | {statistics.median(times):.1f} | {spread(ratios(times, seconds[everything]))} |")


def measure_memory(sizes: Sequence[int]) -> None:
    """Prints the stage's peak memory at each size."""
    print("| training windows | peak memory (MB) | seconds |\n|---|---|---|")
    for windows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            done = train(make(Path(folder), windows, **SMALL), 8)
            print(f"| {windows:,} | {done.peak_mb:.0f} | {done.seconds:.1f} |", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["memory", *sizes]:
            measure_memory([*map(int, sizes)])
        case arguments:
            measure_overhead(*map(int, arguments), *(2**20, 5)[len(arguments) :])
