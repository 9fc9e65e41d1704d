"""Measures the generate stage against a bare loop, two processes and two threads against one, and its memory.

    .venv/bin/python -m benchmarks.costs.generate                       # 4,194,304 windows, 5 rounds
    .venv/bin/python -m benchmarks.costs.generate 65536 3               # so many windows, so many rounds
    .venv/bin/python -m benchmarks.costs.generate memory 1000000 10000000   # peak memory at these sizes

The windows are those of benchmarks/params.yaml, the training split alone. Every way is a program of its own, timed from
its start to its end, imports included. The bare loop draws with numpy and writes with pyarrow, in the same encoding,
with neither digests, nor checks, nor flushing to the disk. The ways take turns, a round beginning with another each
time, so that a slow moment of the machine falls on all. Prints a row for each: the median of windows a second, and of
the ratio to the bare loop and to one process of the same round.

For memory, shards are deleted as they appear, so that 100,000,000 windows need no 8 GB of disk; with two threads.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from benchmarks.task import PARAMETERS

PROJECT = Path(__file__).parents[2]
STAGE = ["-m", "stages.generate", "--threads"]
WAYS: Mapping[str, Sequence[tuple[Sequence[str], Mapping[str, str]]]] = {
    "bare loop": [(["-m", "benchmarks.costs.generate", "bare"], {})],
    "one process": [([*STAGE, "1"], {})],
    "two threads": [([*STAGE, "2"], {})],
    "two processes": [([*STAGE, "1"], {"RANK": str(rank), "WORLD_SIZE": "2"}) for rank in range(2)],
}
"""The programs of each way, and what their environment has beside the common."""


def bare() -> None:
    """Does with numpy and pyarrow alone what the stage does for the training split."""
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
    """Writes params.yaml for so many training windows."""
    params = yaml.safe_load(PARAMETERS.read_text())
    params["generate"]["windows"] = {"train": windows, "validation": 1, "test": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def start(folder: Path, program: Sequence[str], extra: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts a program of the project's in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **extra}
    return subprocess.Popen([sys.executable, *program], cwd=folder, env=environment, stderr=subprocess.DEVNULL)


def measure_speed(windows: int, rounds: int) -> None:
    """Prints a row for each way."""
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    names = list(WAYS)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            with tempfile.TemporaryDirectory() as folder:
                prepare(Path(folder), windows)
                started = time.perf_counter()
                programs = [start(Path(folder), *program) for program in WAYS[name]]
                codes = [program.wait() for program in programs]
                seconds[name].append(time.perf_counter() - started)
                assert not any(codes)
                os.sync()  # what one way left to write is not to be the next one's burden
    print(f"{windows:,} windows, medians of {rounds} rounds (lowest to highest)\n")
    print("| way | windows a second | to the bare loop | to one process |\n|---|---|---|---|")
    for name, times in seconds.items():
        cells = [f"{windows / statistics.median(times):,.0f}"]
        for other in ("bare loop", "one process"):
            ratios = [theirs / own for theirs, own in zip(seconds[other], times, strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"| {name} | {' | '.join(cells)} |")


def measure_memory(windows: int, threads: int = 2) -> float:
    """Returns the stage's peak resident memory in MB, as the kernel recorded it."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), windows)
        program = start(Path(folder), [*STAGE, str(threads)], {})
        shards = Path(folder, "data/windows/train")
        while (ended := os.wait4(program.pid, os.WNOHANG))[0] == 0:
            for shard in shards.glob("part-*.parquet"):
                shard.unlink()
            time.sleep(0.05)
        assert ended[1] == 0
        program.returncode = 0
        return ended[2].ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["bare"]:
            bare()
        case ["memory", *sizes]:
            print("| windows | peak memory (MB) |\n|---|---|")
            for size in map(int, sizes):
                print(f"| {size:,} | {measure_memory(size):.0f} |", flush=True)
        case _:
            windows, rounds = [*map(int, arguments), 2**22, 5][:2] if len(arguments) != 1 else (int(arguments[0]), 5)
            measure_speed(windows, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
