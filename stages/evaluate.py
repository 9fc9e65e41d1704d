"""Scores the network and its baselines: model and windows -> metrics/test.json, data/predictions.parquet.

The test split is read once, in slices of a few shards. Before a slice is scored, the training split is read once and
searched for the windows of the slice; the first time it also fits least squares. So memory holds one slice of the test
split and one shard of the training split.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quadrature.network.device import Device, set_up_device
from quadrature.network.model import QuadratureNetwork, predict
from quadrature.network.model_file import load_model
from quadrature.posterior.mean import PosteriorMean, PrefixMean
from quadrature.runtime import lifecycle
from quadrature.runtime.errors import DataError
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.scoring.baselines import LeastSquares, hilbert, zero
from quadrature.scoring.floor import OptionalFloor
from quadrature.scoring.leakage import SMALL, TOLERANCE, SeenWindows, slices
from quadrature.scoring.scores import Excess, Score
from quadrature.signals.waves import GenerateParams
from quadrature.storage.arrow import Columns
from quadrature.storage.digest import write_list
from quadrature.storage.files import write_json
from quadrature.storage.windows import ESTIMATE_COLUMNS, WINDOW_COLUMNS, read_row_groups, read_split, writing

MODEL = Path("models/model.safetensors")
TEST, TRAIN = Path("data/windows/test"), Path("data/windows/train")
PREDICTIONS, METRICS = Path("data/predictions.parquet"), Path("metrics/test.json")


class EvaluateParams(Section):
    batch_size: Annotated[int, Field(ge=1, le=2**24)]  # windows per forward pass; MAX_WINDOWS_ON_CPU at most on a CPU


class Params(Section):
    device: Device
    threads: Annotated[int, Field(ge=1, le=1024, alias="train.threads")]
    generate: GenerateParams
    evaluate: EvaluateParams


def main() -> None:
    params = load_params(Params)
    device = set_up_device(params.device, params.threads)
    logging.info("device %s, threads %d", device, params.threads)
    network = load_model(MODEL).to(device)

    least_squares, seen = LeastSquares(network.window_length), 0
    posterior = PosteriorMean if network.params.sees_whole_window else PrefixMean
    floor, excess = OptionalFloor(params.generate, params.threads, posterior), Excess()
    scores = {name: Score() for name in ("prediction", "least_squares", "hilbert", "zero")}
    with writing(PREDICTIONS) as predictions:
        for number, shards in enumerate(slices(read_split(TEST, WINDOW_COLUMNS, network.window_length))):
            seen += search_training(shards, params.threads, None if number else least_squares)
            for shard in shards:
                estimates: dict[str, NDArray[np.floating]] = {
                    "prediction": predict_finite(network, shard["input"], params.evaluate.batch_size),
                    "posterior_mean": floor.estimate(shard),
                    "least_squares": least_squares.estimate(shard["input"]),
                    "hilbert": hilbert(shard["input"]),
                    "zero": zero(shard["input"]),
                }
                add_errors(scores, excess, estimates, shard["target"])
                predictions.write({**shard, **{name: estimates[name].astype(np.float32) for name in ESTIMATE_COLUMNS}})
    floor.end()
    if floor.is_withdrawn:
        excess = Excess()
        withdraw_floor()
    warn_of_small_windows(params.generate)
    write_metrics(scores, excess, floor, seen)


def search_training(shards: Sequence[Columns], threads: int, least_squares: LeastSquares | None) -> int:
    """Returns the number of windows of some test shards that are in the training split; fits least squares if given."""
    search = SeenWindows([shard["input"] for shard in shards], threads)
    window_length = shards[0]["input"].shape[1]
    for train in read_split(TRAIN, ("input", "target") if least_squares else ("input",), window_length):
        if least_squares:
            least_squares.add(train["input"], train["target"])
        search.look_in(train["input"])
    return search.count


def predict_finite(network: QuadratureNetwork, windows: NDArray[np.float32], batch_size: int) -> NDArray[np.float32]:
    """Returns the network's estimates, (count, window_length). Raises DataError if one is not finite."""
    prediction = predict(network, windows, batch_size)
    if not np.isfinite(prediction).all():
        raise DataError(f"{MODEL} gives estimates that are not finite; run `dvc repro train`")
    return prediction


def add_errors(
    scores: Mapping[str, Score],
    excess: Excess,
    estimates: Mapping[str, NDArray[np.floating]],
    target: NDArray[np.floating],
) -> None:
    """Adds the errors of the estimates of a shard; all arrays are (count, window_length)."""
    for name, score in scores.items():
        score.add(estimates[name], target)
    excess.add(estimates["prediction"], estimates["posterior_mean"], target)


def withdraw_floor() -> None:
    """Sets the column posterior_mean of data/predictions.parquet to nulls; copies the other columns."""
    with writing(PREDICTIONS) as predictions:
        for rows in read_row_groups(PREDICTIONS, (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS)):
            predictions.write(rows | {"posterior_mean": np.full_like(rows["posterior_mean"], np.nan)})


def write_metrics(scores: Mapping[str, Score], excess: Excess, floor: OptionalFloor, seen: int) -> None:
    """Writes metrics/test.json and its digest, and logs the main figures."""
    network = scores["prediction"]
    figures = excess.figures()
    write_json(
        METRICS,
        {
            "mse": network.mse,
            "rmse": network.rmse,
            "max_abs_error": network.max_abs_error,
            **figures,
            "floor_numerical_error": floor.numerical_error,
            "floor_missing": floor.missing,
            "baselines": {name: scores[name].mse for name in ("zero", "hilbert", "least_squares")},
            "windows": network.windows,
            "seen_in_training": seen / network.windows,
        },
    )
    write_list(Path("data/digests/evaluate.sha256"), [METRICS])
    logging.info("windows %s, mse %.3g, %s", f"{network.windows:,}", network.mse, describe(figures))


def warn_of_small_windows(params: GenerateParams) -> None:
    """Logs a warning where windows are so small that different ones may be within the tolerance of seen_in_training."""
    if max(params.amplitude.low, params.noise_std, params.offset_std, params.drift_std) < SMALL:
        logging.warning(
            "seen_in_training may be too high: inputs within %g count as the same, and amplitudes begin at %g",
            TOLERANCE, params.amplitude.low,
        )  # fmt: skip


def describe(figures: Mapping[str, float | None]) -> str:
    """Returns the figures of an excess for the log."""
    if figures["excess"] is None:
        return "no floor"
    error = figures["excess_standard_error"]
    scatter = "" if error is None else f" +- {error:.4f}"
    return f"floor {figures['floor_mse']:.3g}, excess {figures['excess']:.4f}{scatter}"


if __name__ == "__main__":
    lifecycle.run(main)
