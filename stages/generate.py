"""Draws the windows of the three splits: params.yaml -> data/windows/{train,validation,test}/part-*.parquet."""

import logging
import shutil
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
    for split in SPLITS:
        folder = Path("data/windows") / split
        shutil.rmtree(folder, ignore_errors=True)
        shards = shard_count(params, split)
        for shard in tqdm(range(shards), split, unit="shard", disable=None):
            with writing(shard_path(folder, shard), shard, shards) as file:
                file.write(draw_shard(params, split, shard))


if __name__ == "__main__":
    command.run(main)
