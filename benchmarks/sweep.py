"""What a second worker is worth: the same experiments run from DVC's queue by one worker and by two.

    .venv/bin/python -m benchmarks.sweep            # four experiments a round, of the sweep's size, three rounds
    .venv/bin/python -m benchmarks.sweep 2000 4 1   # training windows, experiments, rounds

Run in a clean clone of its own: the experiments of each go into one that is thrown away. The two take turns; what is
told is the ratio of their times, each from its start to the last experiment's end, at one thread an experiment.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def seconds(windows: int, experiments: int, jobs: int, first_seed: int) -> float:
    """Queues so many experiments in a clone and returns how long that many workers take to run them."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        dvc(clone, "repro", "--quiet", "generate")
        seeds = ",".join(str(first_seed + number) for number in range(experiments))
        changes = (
            f"train.seed={seeds}",
            f"generate.windows.train={windows}",
            "model.hidden_size=32",
            "train.epochs=1",
            "train.threads=1",
        )
        dvc(clone, "exp", "run", "--queue", *(word for change in changes for word in ("--set-param", change)))
        started = time.perf_counter()
        dvc(clone, "exp", "run", "--run-all", "--jobs", str(jobs))
        return time.perf_counter() - started


def dvc(clone: Path, *arguments: str) -> None:
    """Runs dvc in a clone; ends with its words when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=clone, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"dvc {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")


def main() -> None:
    windows, experiments, rounds = map(int, sys.argv[1:] or (2**20, 4, 3))
    print("| round | one worker (s) | two workers (s) | ratio |\n|---|---|---|---|")
    ratios = []
    for number in range(rounds):
        one, two = (seconds(windows, experiments, jobs, number * experiments) for jobs in (1, 2))
        ratios.append(two / one)
        print(f"| {number + 1} | {one:.0f} | {two:.0f} | {two / one:.2f} |", flush=True)
    print(f"\nmedian ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
