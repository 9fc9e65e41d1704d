"""Makes the targets of training: data/windows/train -> data/targets/train/part-*.parquet, a row for each window.

Targets are the posterior means of the two components of the clean wave given the noisy window, or the clean components
themselves: `target`, the quadrature component, and `in_phase`. The bytes do not
depend on the number of threads nor, under torchrun, on the number of processes.
"""

import argparse
import logging
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from tqdm import tqdm

from quadrature.posterior.params import TargetsParams
from quadrature.posterior.resolution import Pilot
from quadrature.posterior.targets import posterior_means, prepare
from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import Parser, whole_number
from quadrature.runtime.launch import Launch, read_launch
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.signals.drawing import draw_missing, drawing
from quadrature.signals.params import GenerateParams
from quadrature.storage import places
from quadrature.storage.fingerprint import fingerprint
from quadrature.storage.windows import COMPONENTS, WINDOW_COLUMNS, Split, WindowWriter

SPLIT = "train"


class Params(Section):
    generate: GenerateParams
    targets: TargetsParams
    head: Annotated[Literal["last", "every"], Field(alias="model.head")]
    bidirectional: Annotated[bool, Field(alias="model.bidirectional")]

    @property
    def sees_whole_window(self) -> bool:
        """Whether the network has seen the whole window when it estimates a sample, or only the samples up to it."""
        return self.head == "last" or self.bidirectional


def main() -> None:
    arguments = parse_arguments()
    launch, params = read_launch(), load_params(Params)
    windows, targets = (places.parse_place(place) for place in (arguments.windows, arguments.targets))
    threads = arguments.threads or launch.cores
    split = Split(places.join(windows, SPLIT))
    pilot = choose(params, split, launch, threads)

    pa.set_memory_pool(pa.system_memory_pool())  # pyarrow's own pool keeps freed memory: 35 MB more
    key = fingerprint(
        params=params.model_dump(), windows=split.digest(), pyarrow=pa.__version__, processes=launch.world_size
    )
    with drawing(targets, [SPLIT], key, launch) as folder:
        write_targets(pilot, split, folder, launch, threads)


def choose(params: Params, split: Split, launch: Launch, threads: int) -> Pilot | None:
    """Returns the posterior mean, or None for the clean targets; the main process logs which it is, and the cost."""
    pilot, words = None, "clean"
    if params.targets.kind == "posterior_mean":
        first = split.read(0, WINDOW_COLUMNS)
        pilot = prepare(params.generate, first, params.sees_whole_window, threads)
        words = "clean: without noise they are the posterior means"
    if pilot is not None:
        seconds = pilot.seconds(sum(split.sizes))
        words = f"posterior means, numerical error {pilot.numerical_error:.1g}, about {seconds:,.0f} s on two cores"
    if launch.rank == 0:
        logging.info(
            "targets of %s windows; processes %d, threads %d; %s",
            f"{sum(split.sizes):,}", launch.world_size, threads, words,
        )  # fmt: skip
    return pilot


def write_targets(pilot: Pilot | None, split: Split, folder: places.Place, launch: Launch, threads: int) -> None:
    """Writes this process's shards of the targets."""
    sizes = split.sizes[launch.rank :: launch.world_size]
    with tqdm(total=sum(sizes), desc="targets", unit="window", unit_scale=True, disable=launch.rank > 0 or None) as bar:

        def write(shard: int, file: WindowWriter) -> None:
            if pilot is None:
                clean = split.read(shard, [name for name in COMPONENTS if name in split.columns])
                file.write({name: clean[name] for name in ("target", "in_phase") if name in clean})
                return
            windows = split.read(shard, ("input",))["input"]
            means = np.empty((2, *windows.shape), np.float32)
            for block, mean in posterior_means(pilot, windows, threads):
                means[:, block] = mean.swapaxes(0, 1)
                bar.update(len(mean))
            in_phase, target = means
            file.write({"target": target, "in_phase": in_phase})

        # One shard at a time: threads share its windows, so memory holds one shard.
        for done, _ in enumerate(draw_missing(folder, SPLIT, len(split.sizes), launch, 1, write), start=1):
            bar.update(sum(sizes[:done]) - bar.n)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m stages.targets", description="Make the targets of training.")
    for name, default, what in (
        ("--windows", "data/windows", "folder of the windows"),
        ("--targets", "data/targets", "folder to write to"),
    ):
        parser.add_argument(
            name, default=default, metavar="FOLDER",
            help=f"{what}: a path, s3://bucket/folder or gs://bucket/folder (default: {default})",
        )  # fmt: skip
    parser.add_argument(
        "--threads", type=whole_number(1, 1024), metavar="N", help="threads that compute (default: one per core)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    lifecycle.run(main)
