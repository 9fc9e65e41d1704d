"""Draws the windows of the three splits: params.yaml -> data/windows/{train,validation,test}/part-*.parquet.

The bytes are the same however many threads draw them and, under torchrun, however many processes.
"""

import argparse
import logging
from collections.abc import Collection

import pyarrow as pa
from tqdm import tqdm

from quadrature import command, store
from quadrature.launch import Launch, read_launch
from quadrature.params import Section, load_params
from quadrature.signals import SPLITS, GenerateParams, draw_shard, shard_count
from quadrature.windows import shard_number, shard_path, writing
from quadrature.workers import Workers


class Params(Section):
    generate: GenerateParams


def main() -> None:
    arguments = parse_arguments()
    launch = read_launch()
    params = load_params(Params).generate
    windows = store.parse_place(arguments.windows)
    threads = arguments.threads or launch.cores
    if launch.rank == 0:
        sizes = ", ".join(f"{split} {count:,}" for split, count in params.windows)
        logging.info("%s windows; processes %d, threads %d", sizes, launch.world_size, threads)

    pa.set_memory_pool(pa.system_memory_pool())  # pyarrow's own keeps what it has; this one takes 35 MB less
    folders = {split: store.join(windows, split) for split in SPLITS}
    remove(folders.values(), launch, threads)
    try:
        for split, folder in folders.items():
            draw_split(params, split, folder, launch, threads)
    except BaseException:
        remove(folders.values(), launch, threads)  # some of a data set would pass for all of it
        raise


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.generate", description="Draw the windows.")
    parser.add_argument(
        "--windows", default="data/windows", metavar="FOLDER",
        help="where to: a path, s3://bucket/folder or gs://bucket/folder (default: data/windows)",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, metavar="N", help="that draw (default: one for each core)")
    return parser.parse_args()


def positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{' '.join(text.split())} is no whole number from 1 to 1024")
    return int(text)


def draw_split(params: GenerateParams, split: str, folder: store.Place, launch: Launch, threads: int) -> None:
    """Draws and writes this process's share of a split's shards."""
    shards = shard_count(params, split)

    def draw(shard: int) -> None:
        with writing(shard_path(folder, shard), shard, shards) as file:
            file.write(draw_shard(params, split, shard))

    share = launch.share(range(shards))
    with Workers(threads) as workers:
        for _ in tqdm(workers.map(draw, share), split, len(share), unit="shard", disable=launch.rank > 0 or None):
            pass


def remove(folders: Collection[store.Place], launch: Launch, threads: int) -> None:
    """Removes what is there of this process's share, so that none removes what another writes."""
    files = (store.join(folder, name) for folder in folders for name in store.list_files(folder))
    own = (file for file in files if shard_number(file) % launch.world_size == launch.rank)
    with Workers(threads) as workers:
        for _ in workers.map(store.remove, own):
            pass


if __name__ == "__main__":
    command.run(main)
