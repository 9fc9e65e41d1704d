"""Scores the model and what to compare it with: model and windows -> metrics/test.json, data/predictions.parquet."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quadrature import command
from quadrature.baselines import LeastSquares, hilbert, zero
from quadrature.device import Device, set_up_device
from quadrature.errors import DataError
from quadrature.files import write_json
from quadrature.floor import Floor, compute_floor, no_floor
from quadrature.leakage import SeenWindows
from quadrature.model import load_model, predict
from quadrature.params import Section, load_params
from quadrature.posterior import NoFloorError
from quadrature.scores import Excess, Score
from quadrature.signals import GenerateParams
from quadrature.windows import ESTIMATE_COLUMNS, WINDOW_COLUMNS, read_split, writing

TEST, TRAIN = Path("data/windows/test"), Path("data/windows/train")


class EvaluateParams(Section):
    batch_size: Annotated[int, Field(ge=1, le=2**24)]  # windows per forward pass


class Params(Section):
    device: Device
    threads: Annotated[int, Field(ge=1, le=1024, alias="train.threads")]
    generate: GenerateParams
    evaluate: EvaluateParams


def main() -> None:
    params = load_params(Params)
    device = set_up_device(params.device, params.threads)
    logging.info("device %s, threads %d", device, params.threads)
    network = load_model(Path("models/model.safetensors")).to(device)
    least_squares, seen = read_training(network.window_length)
    floor = find_floor(params, network.window_length)

    scores = {name: Score() for name in ("prediction", "zero", "hilbert", "least_squares")}
    excess = Excess()
    with writing(Path("data/predictions.parquet")) as predictions:
        for test in read_split(TEST, WINDOW_COLUMNS, network.window_length):
            windows, target = test["input"], test["target"]
            estimates: dict[str, NDArray[np.floating]] = {
                "prediction": predict(network, windows, params.evaluate.batch_size),
                "zero": zero(windows),
                "hilbert": hilbert(windows),
                "least_squares": least_squares.estimate(windows),
                "posterior_mean": floor.within(scores["prediction"].windows, len(windows)),
            }
            if not np.isfinite(estimates["prediction"]).all():
                raise DataError("models/model.safetensors gives estimates that are not finite; run `dvc repro train`")
            for name, score in scores.items():
                score.add(estimates[name], target)
            excess.add(estimates["prediction"], estimates["posterior_mean"], target)
            predictions.write(test | {name: estimates[name].astype(np.float32) for name in ESTIMATE_COLUMNS})

    score = scores["prediction"]
    write_json(
        Path("metrics/test.json"),
        {
            "mse": score.mse,
            "rmse": score.rmse,
            "max_abs_error": score.max_abs_error,
            **excess.figures(),
            "floor_numerical_error": floor.numerical_error,
            "floor_missing": floor.missing,
            "baselines": {name: scores[name].mse for name in ("zero", "hilbert", "least_squares")},
            "windows": score.windows,
            "seen_in_training": seen.count / score.windows,
        },
    )
    logging.info("mean squared error %.4g on %s windows, %s", score.mse, f"{score.windows:,}", excess.in_words())


def read_training(window_length: int) -> tuple[LeastSquares, SeenWindows]:
    """Returns what the training windows say: the fitted line, and which test windows are among them."""
    least_squares = LeastSquares(window_length)
    seen = SeenWindows(lambda: (test["input"] for test in read_split(TEST, ("input",), window_length)))
    for train in read_split(TRAIN, ("input", "target"), window_length):
        least_squares.add(train["input"], train["target"])
        seen.look_in(train["input"])
    return least_squares, seen


def find_floor(params: Params, window_length: int) -> Floor:
    """Returns the test windows' floor, or an empty one after saying why there is none."""
    try:
        return compute_floor(params.generate, read_split(TEST, ("input", "target"), window_length), params.threads)
    except NoFloorError as reason:
        logging.warning("no floor, so floor_mse and excess are null: %s", reason)
        return no_floor(window_length, reason)


if __name__ == "__main__":
    command.run(main)
