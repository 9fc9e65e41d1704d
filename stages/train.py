"""Trains the network: windows -> models/model.safetensors, data/snapshots.parquet, metrics/{train.json,history.csv}."""

import logging
import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from quadrature import command
from quadrature.device import Device, set_up_device
from quadrature.files import write_json
from quadrature.history import Record, write_history
from quadrature.model import ModelParams, QuadratureNetwork, initialize, save_model
from quadrature.params import Section, load_params
from quadrature.snapshots import Snapshots, snapshot_steps
from quadrature.stream import in_order, load_split
from quadrature.training import TrainParams, steps_per_epoch, train


class Params(Section):
    device: Device
    model: ModelParams
    train_windows: Annotated[int, Field(ge=1, alias="generate.windows.train")]
    train: TrainParams


def main() -> None:
    params = load_params(Params)
    device = set_up_device(params.device, params.train.threads)
    windows = load_split(Path("data/windows/train"), device)
    window_length = windows[0].input.shape[1]
    validation = load_split(Path("data/windows/validation"), device, window_length)

    network = QuadratureNetwork(params.model, window_length)
    initialize(network, params.train.seed)
    network.to(device)
    parameters = sum(weights.numel() for weights in network.parameters())
    logging.info(
        "device %s, threads %d, %s %d with %s parameters, %s windows",
        device,
        params.train.threads,
        params.model.cell,
        params.model.hidden_size,
        f"{parameters:,}",
        f"{sum(len(shard.input) for shard in windows):,}",
    )

    steps = params.train.epochs * steps_per_epoch(windows, params.train)
    examples = next(in_order(validation, params.train.snapshot_windows))
    snapshots = Snapshots(examples, snapshot_steps(params.train.snapshots, steps))

    started = time.perf_counter()
    history = []
    for record in train(network, windows, validation, params.train, snapshots.take):
        history.append(record)
        if record.epoch.is_integer():
            log_epoch(record, params.train.epochs)
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


def log_epoch(record: Record, epochs: int) -> None:
    errors = f"train mse {record.train_mse:.3g}, validation mse {record.validation_mse:.3g}"
    logging.info("epoch %d of %d: %s", record.epoch, epochs, errors)


if __name__ == "__main__":
    command.run(main)
