"""Measures the generate stage: its speed beside a bare loop, with one and two threads and processes, and its memory.

    .venv/bin/python -m benchmarks.costs.generate                       # 4,194,304 windows, 5 rounds
    .venv/bin/python -m benchmarks.costs.generate 65536 3               # number of windows, number of rounds
    .venv/bin/python -m benchmarks.costs.generate memory 1000000 10000000   # peak memory at these sizes

The windows are the training split of benchmarks/params.yaml. Each way runs as its own processes, timed from start to
exit, imports included. The bare loop draws with numpy and writes with pyarrow in the same encoding; it computes no
digests, checks nothing and does not flush to the disk. The ways take turns. A row shows the median of windows a
second, and of the ratio to the bare loop and to one process in the same round.

Memory is measured with two threads. Shards are deleted as they appear: 100,000,000 windows would take 8 GB of disk.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import yaml

from benchmarks.processes import PROJECT, Outcome, run
from benchmarks.task import PARAMETERS
from benchmarks.turns import ratios, spread, take_turns

STAGE = ["-m", "stages.generate", "--threads"]
WAYS: Mapping[str, Sequence[tuple[Sequence[str], Mapping[str, str]]]] = {
    "bare loop": [(["-m", "benchmarks.costs.generate", "bare"], {})],
    "one process": [([*STAGE, "1"], {})],
    "two threads": [([*STAGE, "2"], {})],
    "two processes": [([*STAGE, "1"], {"RANK": str(rank), "WORLD_SIZE": "2"}) for rank in range(2)],
}
"""The programs of each way, and the variables that each adds to the environment."""


def bare() -> None:
    """Draws and writes the training split as the stage does, with numpy and pyarrow alone."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    params = yaml.safe_load(Path("params.yaml").read_text())["generate"]
    windows, size, length = params["windows"]["train"], params["shard_windows"], params["length"]
    folder = Path("data/windows/train")
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(-(-windows // size)):
        count = min(size, windows - shard * size)
        random = np.random.default_rng([params["seed"], shard])
        phase = random.uniform(0.0, 2.0 * np.pi, count)
        frequency = random.uniform(params["frequency"]["low"], params["frequency"]["high"], count)
        amplitude = random.uniform(params["amplitude"]["low"], params["amplitude"]["high"], count)
        angle = phase[:, None] + frequency[:, None] * np.linspace(0.0, params["span"], length)
        noise = params["noise_std"] * random.standard_normal((count, length))
        samples = (amplitude[:, None] * np.sin(angle) + noise).astype(np.float32)
        target = (amplitude[:, None] * np.cos(angle)).astype(np.float32)
        lists = [pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), length) for values in (samples, target)]
        names = ["input", "target", "phase", "frequency", "amplitude"]
        leaves = [*(f"{name}.list.element" for name in names[:2]), *names[2:]]
        pq.write_table(
            pa.table(dict(zip(names, [*lists, phase, frequency, amplitude], strict=True))),
            folder / f"part-{shard:05}.parquet",
            compression="zstd",
            use_dictionary=False,
            column_encoding=dict.fromkeys(leaves, "BYTE_STREAM_SPLIT"),
            write_statistics=False,
        )


def prepare(folder: Path, windows: int) -> None:
    """Writes params.yaml with the given number of training windows."""
    params = yaml.safe_load(PARAMETERS.read_text())
    params["generate"]["windows"] = {"train": windows, "validation": 1, "test": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def start(folder: Path, program: Sequence[str], extra: Mapping[str, str]) -> Outcome:
    """Runs a program of the project in a folder."""
    return run([sys.executable, *program], folder, PYTHONPATH=str(PROJECT), **extra)


def draw(way: str, windows: int) -> float:
    """Draws windows in one of the ways; returns the seconds of its slowest process."""
    programs = WAYS[way]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(programs)) as pool:
        prepare(Path(folder), windows)
        outcomes = list(pool.map(lambda program: start(Path(folder), *program), programs))
        os.sync()  # else the next way would write this one's pages to the disk
        return max(outcome.seconds for outcome in outcomes)


def measure_speed(windows: int, rounds: int) -> None:
    """Prints a row for each way."""
    seconds = take_turns({way: partial(draw, way, windows) for way in WAYS}, rounds)
    print(f"{windows:,} windows, medians of {rounds} rounds (lowest to highest)\n")
    print("| way | windows a second | to the bare loop | to one process |\n|---|---|---|---|")
    for way, times in seconds.items():
        compared = (spread(ratios(seconds[other], times)) for other in ("bare loop", "one process"))
        print(f"| {way} | {windows / statistics.median(times):,.0f} | {' | '.join(compared)} |")


def delete_shards(folder: Path, done: Event) -> None:
    """Deletes the training shards that a running stage has finished, until `done` is set.

    Keeps those that are left when the stage draws the next split: it then moves all shards to their place.
    """
    while not done.wait(0.05):
        for drawn in folder.glob("data/windows/.drawn-*"):
            shards = list(drawn.glob("train/part-*.parquet"))
            if not (drawn / "validation").exists():
                for shard in shards:
                    shard.unlink()


def measure_memory(windows: int, threads: int = 2) -> float:
    """Returns the peak memory of the stage in MB."""
    done = Event()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        prepare(Path(folder), windows)
        pool.submit(delete_shards, Path(folder), done)
        try:
            return start(Path(folder), [*STAGE, str(threads)], {}).peak_mb
        finally:
            done.set()


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["bare"]:
            bare()
        case ["memory", *sizes]:
            print("| windows | peak memory (MB) |\n|---|---|")
            for size in map(int, sizes):
                print(f"| {size:,} | {measure_memory(size):.0f} |", flush=True)
        case _:
            windows, rounds = [*map(int, arguments), *(2**22, 5)[len(arguments) :]]
            measure_speed(windows, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
