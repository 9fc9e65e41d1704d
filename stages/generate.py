"""Draws the windows of the three splits: params.yaml -> data/windows/{train,validation,test}/part-*.parquet."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from quadrature import command
from quadrature.params import Section, load_params
from quadrature.signals import SPLITS, GenerateParams, draw_shard, shard_count
from quadrature.windows import shard_path, writing


class Params(Section):
    generate: GenerateParams


def main() -> None:
    params = load_params(Params).generate
    sizes = params.windows
    logging.info(
        "train %s, validation %s, test %s windows", f"{sizes.train:,}", f"{sizes.validation:,}", f"{sizes.test:,}"
    )
    folders = {split: Path("data/windows") / split for split in SPLITS}
    remove(folders.values())
    try:
        for split, folder in folders.items():
            shards = shard_count(params, split)
            for shard in tqdm(range(shards), split, unit="shard", disable=None):
                with writing(shard_path(folder, shard), shard, shards) as file:
                    file.write(draw_shard(params, split, shard))
    except BaseException:
        remove(folders.values())  # some of a data set would pass for all of it
        raise


def remove(folders: Iterable[Path]) -> None:
    """Removes what is there of some folders."""
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)


if __name__ == "__main__":
    command.run(main)
