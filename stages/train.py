"""Trains the network: windows -> models/model.safetensors, data/snapshots.parquet, metrics/{train.json,history.csv}."""

import argparse
import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import torch
from pydantic import Field

from quadrature import command
from quadrature.device import Device, set_up_device
from quadrature.distributed import Ranks, joined
from quadrature.files import write_json
from quadrature.history import Record, write_history
from quadrature.launch import Launch, read_launch
from quadrature.model import ModelParams, QuadratureNetwork, initialize, save_model
from quadrature.params import Section, load_params
from quadrature.snapshots import Snapshots, snapshot_steps
from quadrature.store import join, parse_place
from quadrature.stream import in_order, open_split
from quadrature.training import TrainParams, steps_per_epoch, train


class Params(Section):
    device: Device
    model: ModelParams
    train_windows: Annotated[int, Field(ge=1, alias="generate.windows.train")]
    train: TrainParams


def main() -> None:
    arguments = parse_arguments()
    params = load_params(Params)
    launch = read_launch()
    if params.train.processes > 1 and launch.world_size == 1:
        start_processes(params.train.processes)
    device = set_up_device(params.device, threads=1)  # training shares work among threads of its own
    with joined(launch, device, params.train.gradient_shards, arguments.patience) as ranks:
        run(arguments, params, device, launch, ranks)


def start_processes(processes: int) -> NoReturn:
    """Becomes torchrun, which starts this stage so many times."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", "stages.train", *sys.argv[1:]])  # noqa: S606, no shell is wanted


def run(arguments: argparse.Namespace, params: Params, device: torch.device, launch: Launch, ranks: Ranks) -> None:
    """Trains; the first process speaks and writes for all."""
    folder, memory = parse_place(arguments.windows), arguments.memory * 10**6
    windows = open_split(join(folder, "train"), device, memory)
    validation = open_split(join(folder, "validation"), device, memory, windows.window_length)

    network = QuadratureNetwork(params.model, windows.window_length)
    initialize(network, params.train.seed)
    network.to(device)
    parameters = sum(weights.numel() for weights in network.parameters())
    cell = f"{params.model.cell} {params.model.hidden_size} with {parameters:,} parameters"
    shared = f"processes {launch.world_size}, threads {params.train.threads}"
    if launch.rank == 0:
        logging.info("device %s, %s, %s, %s windows", device, shared, cell, f"{windows.windows:,}")

    steps = params.train.epochs * steps_per_epoch(windows, params.train)
    examples = next(in_order(validation, params.train.snapshot_windows))
    snapshots = Snapshots(examples, snapshot_steps(params.train.snapshots, steps))

    started = time.perf_counter()
    history = []
    for record in train(network, windows, validation, params.train, snapshots.take, ranks):
        history.append(record)
        if record.epoch.is_integer() and launch.rank == 0:
            log_epoch(record, params.train.epochs)
    if launch.rank != 0:
        return
    logging.info("%d steps in %.1f seconds", history[-1].step, time.perf_counter() - started)

    snapshots.write(Path("data/snapshots.parquet"))
    save_model(network, Path("models/model.safetensors"))
    write_history(Path("metrics/history.csv"), history)
    write_json(
        Path("metrics/train.json"),
        {
            "epochs": params.train.epochs,
            "steps": history[-1].step,
            "parameters": parameters,
            "train_mse": history[-1].train_mse,
            "validation_mse": history[-1].validation_mse,
        },
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stages.train", description="Train the network.")
    parser.add_argument(
        "--windows", default="data/windows", metavar="FOLDER",
        help="where they are: a path, s3://bucket/folder or gs://bucket/folder (default: data/windows)",
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=megabytes, default=1000, metavar="MB",
        help="windows held in memory; those beyond are read again in each epoch (default: 1000)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=float, default=300.0, metavar="SECONDS",
        help="that processes which train together wait for each other (default: 300)",
    )  # fmt: skip
    return parser.parse_args()


def megabytes(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of megabytes")
    return int(text)


def log_epoch(record: Record, epochs: int) -> None:
    errors = f"train mse {record.train_mse:.3g}, validation mse {record.validation_mse:.3g}"
    logging.info("epoch %d of %d: %s", record.epoch, epochs, errors)


if __name__ == "__main__":
    command.run(main)
