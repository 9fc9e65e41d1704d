"""Scores the model on windows held out: model and test windows -> metrics/test.json, data/predictions.parquet."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from quadrature import command
from quadrature.device import Device, set_up_device
from quadrature.errors import DataError
from quadrature.files import write_json
from quadrature.leakage import count_seen
from quadrature.model import load_model, predict
from quadrature.params import Section, load_params
from quadrature.scores import Score
from quadrature.windows import WINDOW_COLUMNS, read_split, writing


class EvaluateParams(Section):
    batch_size: Annotated[int, Field(ge=1, le=2**24)]  # windows per forward pass


class Params(Section):
    device: Device
    threads: Annotated[int, Field(ge=1, le=1024, alias="train.threads")]
    evaluate: EvaluateParams


def main() -> None:
    params = load_params(Params)
    device = set_up_device(params.device, params.threads)
    logging.info("device %s, %d threads", device, params.threads)
    network = load_model(Path("models/model.safetensors")).to(device)

    score, seen = Score(), 0
    with writing(Path("data/predictions.parquet")) as predictions:
        for test in read_split(Path("data/windows/test"), WINDOW_COLUMNS, network.window_length):
            prediction = predict(network, test["input"], params.evaluate.batch_size)
            if not np.isfinite(prediction).all():
                raise DataError("models/model.safetensors gives estimates that are not finite; run `dvc repro train`")
            predictions.write({**test, "prediction": prediction})
            score.add(prediction, test["target"])
            train = read_split(Path("data/windows/train"), ("input",), network.window_length)
            seen += count_seen(test["input"], (shard["input"] for shard in train))

    write_json(
        Path("metrics/test.json"),
        {
            "mse": score.mse,
            "rmse": score.rmse,
            "max_abs_error": score.max_abs_error,
            "floor_mse": None,
            "excess": None,
            "baselines": {"zero": None, "hilbert": None, "least_squares": None},
            "windows": score.windows,
            "seen_in_training": seen / score.windows,
        },
    )
    logging.info("mean squared error %.4g on %s windows", score.mse, f"{score.windows:,}")


if __name__ == "__main__":
    command.run(main)
