"""Draws the windows of the three splits: params.yaml -> data/windows/{train,validation,test}/part-*.parquet.

The bytes are the same however many threads draw them and, under torchrun, however many processes.
"""

import argparse
import logging
from pathlib import PurePath

import pyarrow as pa
from tqdm import tqdm

from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import whole_number
from quadrature.runtime.launch import Launch, read_launch
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.runtime.threads import Workers
from quadrature.signals.drawing import drawing
from quadrature.signals.waves import SPLITS, GenerateParams, draw_shard, shard_count
from quadrature.storage import places
from quadrature.storage.fingerprint import fingerprint
from quadrature.storage.windows import is_whole, shard_path, writing


class Params(Section):
    generate: GenerateParams


def main() -> None:
    arguments = parse_arguments()
    launch = read_launch()
    params = load_params(Params).generate
    windows = places.parse_place(arguments.windows)
    threads = arguments.threads or launch.cores
    if launch.rank == 0:
        sizes = ", ".join(f"{split} {count:,}" for split, count in params.windows)
        logging.info("%s windows; processes %d, threads %d", sizes, launch.world_size, threads)

    pa.set_memory_pool(pa.system_memory_pool())  # pyarrow's own keeps what it has; this one takes 35 MB less
    key = fingerprint(params=params.model_dump(), pyarrow=pa.__version__, processes=launch.world_size)
    with drawing(windows, SPLITS, key, launch) as folder:
        for split in SPLITS:
            draw_split(params, split, places.join(folder, split), launch, threads)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.generate", description="Draw the windows.")
    parser.add_argument(
        "--windows", default="data/windows", metavar="FOLDER",
        help="where to: a path, s3://bucket/folder or gs://bucket/folder (default: data/windows)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=whole_number(1, 1024), metavar="N", help="that draw (default: one for each core)"
    )
    return parser.parse_args()


def draw_split(params: GenerateParams, split: str, folder: places.Place, launch: Launch, threads: int) -> None:
    """Draws and writes this process's share of a split's shards, but for those that are there and whole."""
    shards = shard_count(params, split)
    there = set(places.list_files(folder))

    def draw(shard: int) -> bool:
        path = shard_path(folder, shard)
        if PurePath(path).name in there and is_whole(path, shard, shards):
            return False
        with writing(path, shard, shards) as file:
            file.write(draw_shard(params, split, shard))
        return True

    share = launch.own_items(range(shards))
    with Workers(threads) as workers:
        drawn = workers.map(draw, share)
        progress = tqdm(drawn, split, len(share), unit="shard", disable=launch.rank > 0 or None)
        found = len(share) - sum(progress)
    if found:
        logging.info("%s: %d of %d shards had been drawn by a run that was stopped", split, found, len(share))


if __name__ == "__main__":
    lifecycle.run(main)
