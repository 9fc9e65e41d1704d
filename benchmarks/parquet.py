"""Compares the encodings that pyarrow offers for one shard of windows: bytes a window, time to write, time to read.

    .venv/bin/python -m benchmarks.parquet

Prints a table of medians, the rounds rotating through the encodings so that a slow moment of the machine falls
on all. What `quadrature.windows` writes is the row `zstd, byte-stream split`.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.task import PARAMETERS
from quadrature.params import load_params
from quadrature.signals import draw_shard
from stages.generate import Params

LEAVES = ("input.list.element", "target.list.element", "phase", "frequency", "amplitude")
ENCODINGS = {
    "plain": {"use_dictionary": False},
    "dictionary": {"use_dictionary": True},
    "byte-stream split": {"use_dictionary": False, "column_encoding": dict.fromkeys(LEAVES, "BYTE_STREAM_SPLIT")},
}


def measure(table: pa.Table, path: Path, compression: str, options: dict[str, object]) -> tuple[float, float, float]:
    """Returns bytes a window, seconds to write and seconds to read what training reads."""
    started = time.perf_counter()
    pq.write_table(table, path, compression=compression, write_statistics=False, **options)
    written = time.perf_counter()
    pq.ParquetFile(path).read(columns=["input", "target"], use_threads=False)
    return path.stat().st_size / len(table), written - started, time.perf_counter() - written


def main(windows: int, rounds: int) -> None:
    params = load_params(Params, PARAMETERS).generate.model_copy(update={"shard_windows": windows})
    columns = draw_shard(params, "train", 0)
    lists = {name: pa.FixedSizeListArray.from_arrays(values.ravel(), params.length)
             for name, values in columns.items() if values.ndim == 2}  # fmt: skip
    table = pa.table({**columns, **lists})
    kinds = [(compression, name) for compression in ("none", "snappy", "lz4", "zstd") for name in ENCODINGS]
    results: dict[tuple[str, str], list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for compression, name in kinds[turn % len(kinds) :] + kinds[: turn % len(kinds)]:
                figures = measure(table, Path(folder) / "shard.parquet", compression, ENCODINGS[name])
                results[compression, name].append(figures)
    print(f"{windows} windows of {params.length} samples, medians of {rounds}\n")
    print("| encoding | bytes a window | write, ms | read, ms |\n|---|---|---|---|")
    for (compression, name), figures in results.items():
        size, write, read = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"| {compression}, {name} | {size:.1f} | {1e3 * write:.1f} | {1e3 * read:.1f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or (65536, 9)))
