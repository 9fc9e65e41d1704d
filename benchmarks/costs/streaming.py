"""Measures what training costs where its windows do not fit the memory that it is allowed.

    .venv/bin/python -m benchmarks.costs.streaming                 # 1,048,576 windows, 84 MB, 5 rounds
    .venv/bin/python -m benchmarks.costs.streaming 20000 2         # so many windows, so many rounds
    .venv/bin/python -m benchmarks.costs.streaming memory 1000000 10000000    # peak memory at these sizes

Both ways run the train stage with params.yaml's network for an epoch: once with all windows in memory, once with a
tenth of them, the others read again as they are needed. They take turns; printed are the medians of the seconds that
the stage logs, and of the ratio within a round. Memory is that of a small network, held to 8 MB of windows.
"""

import re
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.frameworks.tasks import make_tree
from benchmarks.processes import Outcome, run

WINDOW_BYTES = 80  # ten samples and ten cosines, float32
SMALL: Mapping[str, object] = {"model.hidden_size": 4, "train.batch_size": 65536, "train.validations_per_epoch": 1}


def make(folder: Path, windows: int, **changes: object) -> Path:
    """Makes a tree with so many training windows, to be trained on once."""
    sizes = {"generate.windows.train": windows, "generate.windows.validation": 100, "generate.windows.test": 100}
    return make_tree(folder / "tree", {**sizes, "train.epochs": 1, **changes})


def train(tree: Path, megabytes: int) -> Outcome:
    """Runs the train stage."""
    return run([sys.executable, "-m", "stages.train", "--memory", str(megabytes)], tree)


def measure_overhead(windows: int, rounds: int) -> None:
    """Prints the seconds of both ways."""
    held = max(1, windows * WINDOW_BYTES // 10**7)  # megabytes: a tenth
    seconds: dict[int, list[float]] = {10**6: [], held: []}
    with tempfile.TemporaryDirectory() as folder:
        tree = make(Path(folder), windows)
        for turn in range(rounds):
            for megabytes in list(seconds)[:: 1 if turn % 2 == 0 else -1]:
                (took,) = re.findall(r"steps in ([\d.]+) seconds", train(tree, megabytes).log)
                seconds[megabytes].append(float(took))
    print("| windows in memory | seconds | to all in memory |\n|---|---|---|")
    for megabytes, times in seconds.items():
        ratios = [own / whole for own, whole in zip(times, seconds[10**6], strict=True)]
        name = "all" if megabytes == 10**6 else f"{megabytes} of {windows * WINDOW_BYTES / 1e6:.0f} MB"
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {statistics.median(times):.1f} | {spread} |")


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
