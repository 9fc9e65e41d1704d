"""Scores the model and what to compare it with: model and windows -> metrics/test.json, data/predictions.parquet."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quadrature.network.device import Device, set_up_device
from quadrature.network.model import predict
from quadrature.network.model_file import load_model
from quadrature.runtime import lifecycle
from quadrature.runtime.errors import DataError
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.scoring.baselines import LeastSquares, hilbert, zero
from quadrature.scoring.floor import Floor
from quadrature.scoring.leakage import SeenWindows, slices
from quadrature.scoring.posterior import NoFloorError
from quadrature.scoring.scores import Excess, Score
from quadrature.signals.waves import GenerateParams
from quadrature.storage.digest import write_list
from quadrature.storage.files import write_json
from quadrature.storage.windows import ESTIMATE_COLUMNS, WINDOW_COLUMNS, read_split, writing

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
    estimate = partial(predict, network, batch_size=params.evaluate.batch_size)
    least_squares, seen = read_training(network.window_length, params.threads)

    floor, missing = None, None
    try:
        first = next(read_split(TEST, ("input", "target"), network.window_length))
        floor = Floor(params.generate, first, params.threads)
        scores, excess = score(network.window_length, estimate, least_squares, floor)
    except NoFloorError as reason:
        logging.warning("no floor, so floor_mse and excess are null: %s", reason)
        floor, missing = None, str(reason)
        scores, excess = score(network.window_length, estimate, least_squares, None)

    network_score = scores["prediction"]
    metrics = Path("metrics/test.json")
    write_json(
        metrics,
        {
            "mse": network_score.mse,
            "rmse": network_score.rmse,
            "max_abs_error": network_score.max_abs_error,
            **excess.figures(),
            "floor_numerical_error": floor.numerical_error if floor else None,
            "floor_missing": missing,
            "baselines": {name: scores[name].mse for name in ("zero", "hilbert", "least_squares")},
            "windows": network_score.windows,
            "seen_in_training": seen / network_score.windows,
        },
    )
    write_list(Path("data/digests/evaluate.sha256"), [metrics])
    words = (network_score.mse, f"{network_score.windows:,}", excess.in_words())
    logging.info("mean squared error %.4g on %s windows, %s", *words)


def read_training(window_length: int, threads: int) -> tuple[LeastSquares, int]:
    """Returns what the training windows say: the fitted line, and how many test windows are among them.

    Test windows are held a slice at a time, and the training windows pass by once for each slice.
    """
    least_squares, seen = LeastSquares(window_length), 0
    tests = (test["input"] for test in read_split(TEST, ("input",), window_length))
    for number, windows in enumerate(slices(tests)):
        search = SeenWindows(windows, threads)
        for train in read_split(TRAIN, ("input", "target") if number == 0 else ("input",), window_length):
            if number == 0:
                least_squares.add(train["input"], train["target"])
            search.look_in(train["input"])
        seen += search.count
    return least_squares, seen


def score(
    window_length: int,
    estimate: Callable[[NDArray[np.floating]], NDArray[np.floating]],
    least_squares: LeastSquares,
    floor: Floor | None,
) -> tuple[dict[str, Score], Excess]:
    """Writes data/predictions.parquet, a shard at a time; returns each estimate's score, and the network's excess.

    Raises NoFloorError, and leaves no file, where it shows only now that there is no floor.
    """
    scores = {name: Score() for name in ("prediction", "zero", "hilbert", "least_squares")}
    excess = Excess()
    with writing(Path("data/predictions.parquet")) as predictions:
        for test in read_split(TEST, WINDOW_COLUMNS, window_length):
            windows, target = test["input"], test["target"]
            estimates: dict[str, NDArray[np.floating]] = {
                "prediction": estimate(windows),
                "zero": zero(windows),
                "hilbert": hilbert(windows),
                "least_squares": least_squares.estimate(windows),
                "posterior_mean": floor.estimate(test) if floor else np.full(windows.shape, np.nan),
            }
            if not np.isfinite(estimates["prediction"]).all():
                raise DataError("models/model.safetensors gives estimates that are not finite; run `dvc repro train`")
            for name, each in scores.items():
                each.add(estimates[name], target)
            excess.add(estimates["prediction"], estimates["posterior_mean"], target)
            predictions.write(test | {name: estimates[name].astype(np.float32) for name in ESTIMATE_COLUMNS})
        if floor:
            floor.end()
    return scores, excess


if __name__ == "__main__":
    lifecycle.run(main)
