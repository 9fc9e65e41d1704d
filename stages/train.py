"""Trains the network: windows, targets -> models/model.safetensors, data/snapshots.parquet, metrics/.

metrics/ gets train.json and history.csv; data/digests/train.sha256 lists their digests.
"""

import argparse
import logging
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from quadrature.network.device import set_up_device
from quadrature.network.model import QuadratureNetwork, analytic_signal, initialize, predict
from quadrature.network.model_file import save_model
from quadrature.network.params import Device, ModelParams
from quadrature.network.ranges import Ranges, measure
from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import Parser, seconds, whole_number
from quadrature.runtime.errors import Interruption
from quadrature.runtime.launch import read_launch
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.storage.digest import write_list
from quadrature.storage.files import write_json
from quadrature.storage.history import History, Record, write_history
from quadrature.storage.places import Place, join, parse_place
from quadrature.storage.windows import COMPONENTS, TARGET_COLUMNS, Split
from quadrature.training.arithmetic import arithmetic
from quadrature.training.batches import SplitReader, in_order, measure_amplitude, open_split, spread
from quadrature.training.checkpoint import Checkpoints, checkpoints, prefixed, training_key, unpack, within
from quadrature.training.distributed import LostRankError, Ranks, joined, start_processes
from quadrature.training.helpers import LostHelperError
from quadrature.training.loop import steps_per_epoch, train
from quadrature.training.params import TrainParams
from quadrature.training.snapshots import Snapshots, snapshot_steps
from quadrature.training.state import Training

FEW_STEPS = 100
"""Fewer optimizer steps are too few for a network to learn more than the mean."""

MEASURED, LEAST_MEASURED = 8192, 200
"""Training windows by which the model's file says what they are like, at most and at least."""


class Params(Section):
    device: Device
    model: ModelParams
    train_windows: Annotated[int, Field(ge=1, alias="generate.windows.train")]
    highest_amplitude: Annotated[float, Field(ge=0.0, alias="generate.amplitude.high")]
    source: Annotated[str | None, Field(alias="generate.source")]
    target: Annotated[Literal["posterior_mean", "clean"], Field(alias="targets.kind")]
    train: TrainParams

    @property
    def components(self) -> tuple[str, ...]:
        """The columns that hold what the network estimates."""
        return COMPONENTS if self.model.output == "analytic" else TARGET_COLUMNS


def main() -> None:
    arguments = parse_arguments()
    params = load_params(Params)
    launch = read_launch()
    if params.train.processes > 1 and launch.world_size == 1:
        start_processes(params.train.processes, ["-m", "stages.train", *sys.argv[1:]])
        return
    device = set_up_device(params.device, 1, launch.local_rank)  # training shares its work among its own threads
    with joined(launch, device, params.train.gradient_shards, arguments.patience) as ranks:
        run(arguments, params, device, ranks)


def run(arguments: argparse.Namespace, params: Params, device: torch.device, ranks: Ranks) -> None:
    """Trains; the main process logs, saves and writes for all."""
    folder, targets = parse_place(arguments.windows), join(parse_place(arguments.targets), "train")
    memory = arguments.memory * 10**6
    scale = (params.highest_amplitude if params.source is None else measure_amplitude(targets)) or 1.0
    open_ = partial(open_split, device=device, memory=memory, scale=scale, components=params.components)
    windows = open_(join(folder, "train"), targets=targets)
    validation = open_(join(folder, "validation"), window_length=windows.window_length)

    network = QuadratureNetwork(params.model, windows.window_length)
    initialize(network, params.train.seed)
    network.to(device)
    training = Training(network, params.train)
    examples = next(in_order(validation, params.train.snapshot_windows))
    steps = params.train.epochs * steps_per_epoch(windows, params.train)
    snapshots = Snapshots(examples, snapshot_steps(params.train.snapshots, steps), scale)
    if not ranks.is_main_process:
        resume(training, snapshots, None, ranks)
        advance(training, windows, validation, snapshots, None, ranks)
        return

    cell = f"{params.model.cell} {params.model.hidden_size} with {count(network):,} parameters"
    shared = f"processes {ranks.world_size}, threads {params.train.threads}"
    logging.info("device %s, %s, %s, %s windows", device, shared, cell, f"{windows.window_count:,}")
    if steps < FEW_STEPS:
        logging.warning("%d steps are few to learn from; lower train.batch_size or raise train.epochs", steps)
    trial = arithmetic(network, params.train, next(in_order(validation, params.train.batch_size)))
    digests = digest_data(folder, targets)
    with checkpoints(name_training(params, digests, device, trial), arguments.save_every) as saved:
        resume(training, snapshots, saved, ranks)
        advance(training, windows, validation, snapshots, saved, ranks)
        network.scale = scale  # so far it has read windows that were divided; from its file on it divides them
        network.ranges, network.trained_on = measure_ranges(network, windows), digests
        write(network, training, snapshots, params.target)
        if saved is not None:
            saved.remove()


def measure_ranges(network: QuadratureNetwork, split: SplitReader) -> Ranges | None:
    """Returns what the training windows are like to the trained network; None if they are too few to tell."""
    if split.window_count < LEAST_MEASURED:
        return None
    windows = spread(split, MEASURED).input.squeeze(-1).cpu().numpy() * np.float32(split.scale)
    return measure(windows, analytic_signal(windows, predict(network, windows, MEASURED)))


def digest_data(folder: Place, targets: Place) -> dict[str, str]:
    """Returns the digests of the windows and targets, by name."""
    digests = {f"windows/{split}": Split(join(folder, split)).digest() for split in ("train", "validation")}
    return digests | {"targets/train": Split(targets, leading=TARGET_COLUMNS).digest()}


def name_training(params: Params, digests: Mapping[str, str], device: torch.device, trial: str) -> str:
    """Returns the digest of everything that determines the network's bits."""
    return training_key(
        arithmetic=trial,
        params=params.model_dump(exclude={"train": {"processes", "threads"}}),
        data=digests,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    )


def resume(training: Training, snapshots: Snapshots, saved: Checkpoints | None, ranks: Ranks) -> None:
    """Resumes from the state that an interrupted run saved, if any; all processes from the same state."""
    if packed := ranks.broadcast(saved.load() if saved is not None else b""):
        state = unpack(packed)
        training.load_state_dict(within("training", state))
        snapshots.load_state_dict(within("snapshots", state))
        if ranks.is_main_process:
            logging.info("resuming after step %d of an interrupted run", training.step)


def advance(
    training: Training,
    windows: SplitReader,
    validation: SplitReader,
    snapshots: Snapshots,
    saved: Checkpoints | None,
    ranks: Ranks,
) -> None:
    """Trains to the end or until a signal arrives, saving the state at intervals."""
    started, first = time.perf_counter(), training.step

    def save() -> str:
        if not ranks.is_main_process:
            return ""  # the main process saves for all, and says so
        if saved is None:
            return "; no state was saved"
        state = {**prefixed("training", training.state_dict()), **prefixed("snapshots", snapshots.state_dict())}
        if not all(numbers.isfinite().all() for numbers in state.values()):
            return "; the saved state is from before a number was not finite"  # keep it: training is about to fail
        saved.save(training.step, state)
        return f"; the next run resumes after step {training.step}"

    with lifecycle.held_back() as signalled:

        def after_step(_training: Training) -> None:
            snapshots.take(training.model, training.step)
            if name := signalled():
                raise Interruption(f"interrupted by {name}{save()}")
            if saved is not None and saved.is_due():
                save()

        try:
            for record in train(training, windows, validation, after_step, ranks):
                if record.epoch.is_integer() and ranks.is_main_process:
                    log_epoch(record, training.params.epochs)
        except (LostRankError, LostHelperError) as error:
            # No step is half done: processes wait for each other before they move the weights.
            raise type(error)(f"{error}{save()}") from None
    if ranks.is_main_process:
        logging.info("%d steps in %.1f seconds", training.step - first, time.perf_counter() - started)


def write(network: QuadratureNetwork, training: Training, snapshots: Snapshots, target: str) -> None:
    """Writes the outputs; `target` is the kind of target that train_mse is measured against."""
    snapshots.write(Path("data/snapshots.parquet"))
    save_model(network, Path("models/model.safetensors"))
    history, metrics = Path("metrics/history.csv"), Path("metrics/train.json")
    write_history(history, History(training.records, target))
    last = training.records[-1]
    write_json(
        metrics,
        {
            "epochs": training.params.epochs,
            "steps": last.step,
            "parameters": count(network),
            "train_mse": last.train_mse,
            "train_target": target,
            "validation_mse": last.validation_mse,
        },
    )
    write_list(Path("data/digests/train.sha256"), [history, metrics])


def count(network: QuadratureNetwork) -> int:
    """Returns the number of trainable parameters."""
    return sum(weights.numel() for weights in network.parameters())


def parse_arguments() -> argparse.Namespace:
    parser = Parser(prog="python -m stages.train", description="Train the network.")
    for name in ("windows", "targets"):
        parser.add_argument(
            f"--{name}", default=f"data/{name}", metavar="FOLDER",
            help=f"folder of the {name}: a path, s3://bucket/folder or gs://bucket/folder (default: data/{name})",
        )  # fmt: skip
    parser.add_argument(
        "--memory", type=whole_number(0, 10**9), default=1000, metavar="MB",
        help="megabytes of windows to hold in memory; the rest is read again in each epoch (default: 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=seconds, default=300.0, metavar="SECONDS",
        help="how long processes that train together wait for each other (default: 300)",
    )  # fmt: skip
    parser.add_argument(
        "--save-every", type=seconds, default=10.0, metavar="SECONDS",
        help="time between saves of the state that an interrupted training resumes from (default: 10)",
    )  # fmt: skip
    return parser.parse_args()


def log_epoch(record: Record, epochs: int) -> None:
    errors = f"train mse {record.train_mse:.3g}, validation mse {record.validation_mse:.3g}"
    logging.info("epoch %d of %d: %s", record.epoch, epochs, errors)


if __name__ == "__main__":
    lifecycle.run(main)
