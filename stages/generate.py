"""Makes the windows of the three splits: params.yaml -> data/windows/{train,validation,test}/part-*.parquet.

They are drawn, or cut from generate.source. The bytes do not depend on the number of threads nor, under torchrun, on
the number of processes.
"""

import argparse
import logging
from contextlib import closing

import pyarrow as pa
from tqdm import tqdm

from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import Parser, whole_number
from quadrature.runtime.launch import Launch, read_launch
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.signals.drawing import draw_missing, drawing
from quadrature.signals.params import SPLITS, GenerateParams
from quadrature.signals.waves import draw_shard, shard_count
from quadrature.storage import places
from quadrature.storage.fingerprint import fingerprint
from quadrature.storage.windows import WindowWriter
from quadrature.tables.source import Source


class Params(Section):
    generate: GenerateParams


def main() -> None:
    arguments = parse_arguments()
    launch = read_launch()
    params = load_params(Params).generate
    windows = places.parse_place(arguments.windows)
    source = None if params.source is None else Source(params)
    threads = 1 if source else arguments.threads or launch.cores  # a source is read in order
    if launch.rank == 0:
        sizes = ", ".join(f"{split} {count:,}" for split, count in params.windows)
        origin = f" from {params.source}, {source.rows:,} rows" if source else ""
        logging.info("%s windows%s; processes %d, threads %d", sizes, origin, launch.world_size, threads)

    pa.set_memory_pool(pa.system_memory_pool())  # pyarrow's own pool keeps freed memory: 35 MB more
    key = fingerprint(
        params=params.model_dump(), source=source and source.digest(), pyarrow=pa.__version__,
        processes=launch.world_size,
    )  # fmt: skip
    with drawing(windows, SPLITS, key, launch) as folder:
        for split in SPLITS:
            draw_split(params, source, split, folder, launch, threads)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m stages.generate", description="Draw the windows, or cut them from a file.")
    parser.add_argument(
        "--windows", default="data/windows", metavar="FOLDER",
        help="folder to write to: a path, s3://bucket/folder or gs://bucket/folder (default: data/windows)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=whole_number(1, 1024), metavar="N", help="threads that draw (default: one per core)"
    )
    return parser.parse_args()


def draw_split(
    params: GenerateParams, source: Source | None, split: str, folder: places.Place, launch: Launch, threads: int
) -> None:
    """Draws and writes this process's shards of a split."""
    shards = shard_count(params, split)

    def draw(shard: int, file: WindowWriter) -> None:
        file.write(source.shard(split, shard) if source else draw_shard(params, split, shard))

    count, is_silent = len(launch.own_items(range(shards))), launch.rank > 0 or None
    # Closed on a signal, too: no thread finishes a shard after the finished ones were counted.
    with closing(draw_missing(folder, split, shards, launch, threads, draw)) as drawn:
        for _ in tqdm(drawn, split, count, unit="shard", disable=is_silent):
            pass


if __name__ == "__main__":
    lifecycle.run(main)
