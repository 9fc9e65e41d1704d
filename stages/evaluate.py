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

from quadrature.network.device import set_up_device
from quadrature.network.model import QuadratureNetwork, analytic_signal, predict
from quadrature.network.model_file import load_model
from quadrature.network.params import Device
from quadrature.posterior.mean import PosteriorMean, PrefixMean
from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import take_none
from quadrature.runtime.errors import DataError
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.scoring.baselines import LeastSquares, hilbert, zero
from quadrature.scoring.floor import OptionalFloor
from quadrature.scoring.leakage import SeenWindows, slices
from quadrature.scoring.params import EvaluateParams
from quadrature.scoring.scores import BASELINES, Scores
from quadrature.signals.params import GenerateParams
from quadrature.storage.arrow import Columns, stack
from quadrature.storage.digest import write_list
from quadrature.storage.files import write_json
from quadrature.storage.windows import (
    COMPONENTS,
    ESTIMATE_COLUMNS,
    IN_PHASE_COLUMNS,
    TARGET_COLUMNS,
    WINDOW_COLUMNS,
    Split,
    read_row_groups,
    read_split,
    writing,
)

MODEL = Path("models/model.safetensors")
TEST, TRAIN = Path("data/windows/test"), Path("data/windows/train")
PREDICTIONS, METRICS = Path("data/predictions.parquet"), Path("metrics/test.json")


class Params(Section):
    device: Device
    threads: Annotated[int, Field(ge=1, le=1024, alias="train.threads")]
    generate: GenerateParams
    evaluate: EvaluateParams


def main() -> None:
    take_none("stages.evaluate", __doc__)
    params = load_params(Params)
    device = set_up_device(params.device, params.threads)
    logging.info("device %s, threads %d", device, params.threads)
    network = load_model(MODEL).to(device)
    is_known = all("in_phase" in Split(folder).columns for folder in (TEST, TRAIN))
    components = COMPONENTS if is_known else TARGET_COLUMNS

    least_squares, seen = LeastSquares(network.window_length, network.scale), 0
    posterior = PosteriorMean if network.params.sees_whole_window else PrefixMean
    floor, scores = OptionalFloor(params.generate, params.threads, posterior), Scores(components, network.scale)
    columns = dict.fromkeys((*WINDOW_COLUMNS, *components))
    with writing(PREDICTIONS) as predictions:
        for number, shards in enumerate(slices(read_split(TEST, list(columns), network.window_length))):
            seen += search_training(shards, params.threads, network, None if number else least_squares, components)
            for shard in shards:
                estimates: dict[str, NDArray[np.floating]] = {
                    "prediction": predict_finite(network, shard["input"], params.evaluate.batch_size),
                    "posterior_mean": floor.estimate(shard),
                    "least_squares": least_squares.estimate(shard["input"]),
                    "hilbert": hilbert(shard["input"]),
                    "zero": zero(shard["input"]),
                }
                scores.add(estimates, shard)
                predictions.write(rows(shard, estimates, components))
    floor.end()
    if floor.is_withdrawn:
        scores.withdraw_floor()
        withdraw_floor(components)
    write_metrics(scores, floor, seen)


def search_training(
    shards: Sequence[Columns],
    threads: int,
    network: QuadratureNetwork,
    least_squares: LeastSquares | None,
    components: Sequence[str],
) -> int:
    """Returns the number of windows of some test shards that are in the training split; fits least squares if given."""
    search = SeenWindows([shard["input"] for shard in shards], threads, network.scale)
    columns = ("input", *components) if least_squares else ("input",)
    for train in read_split(TRAIN, columns, network.window_length):
        if least_squares:
            least_squares.add(train["input"], stack(train, components))
        search.look_in(train["input"])
    return search.count


def predict_finite(network: QuadratureNetwork, windows: NDArray[np.float32], batch_size: int) -> NDArray[np.floating]:
    """Returns the network's estimates, (count, 2, window_length). Raises DataError if one is not finite."""
    prediction = predict(network, windows, batch_size)
    if not np.isfinite(prediction).all():
        raise DataError(f"{MODEL} gives estimates that are not finite; run `dvc repro train`")
    return analytic_signal(windows, prediction)


def rows(shard: Columns, estimates: Columns, components: Sequence[str]) -> Columns:
    """Returns the rows of data/predictions.parquet for a shard, by the estimates of the analytic signal."""
    found = {name: shard[name] for name in WINDOW_COLUMNS}
    found |= {name: estimates[name][:, -1].astype(np.float32) for name in ESTIMATE_COLUMNS}
    found["in_phase_prediction"] = estimates["prediction"][:, 0]
    return found | ({"in_phase": shard["in_phase"]} if "in_phase" in components else {})


def withdraw_floor(components: Sequence[str]) -> None:
    """Sets the column posterior_mean of data/predictions.parquet to nulls; copies the other columns."""
    names = (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS, *IN_PHASE_COLUMNS[: len(components)])  # the truth only if it is known
    with writing(PREDICTIONS) as predictions:
        for group in read_row_groups(PREDICTIONS, names):
            predictions.write(group | {"posterior_mean": np.full_like(group["posterior_mean"], np.nan)})


def write_metrics(scores: Scores, floor: OptionalFloor, seen: int) -> None:
    """Writes metrics/test.json and its digest, and logs the main figures."""
    network, windows = scores.quadrature["prediction"], scores.quadrature["prediction"].windows
    excess = scores.excess.figures()
    write_json(
        METRICS,
        {
            "mse": network.mse,
            "mse_standard_error": network.mse_standard_error,
            "rmse": network.rmse,
            "max_abs_error": network.max_abs_error,
            **excess,
            "floor_numerical_error": floor.numerical_error,
            "floor_missing": floor.missing,
            "baselines": {name: scores.quadrature[name].mse for name in BASELINES},
            "baselines_standard_error": {name: scores.quadrature[name].mse_standard_error for name in BASELINES},
            **scores.analytic["prediction"].figures(),
            **{f"floor_{name}": figure for name, figure in scores.analytic["posterior_mean"].figures().items()},
            **scores.baselines(),
            "windows": windows,
            "seen_in_training": seen / windows,
        },
    )
    write_list(Path("data/digests/evaluate.sha256"), [METRICS])
    phase = scores.analytic["prediction"].figures()["phase_rmse_degrees"]
    logging.info(
        "windows %s, mse %.3g, %s%s",
        f"{windows:,}", network.mse, describe(excess), "" if phase is None else f", phase error {phase:.2f} degrees",
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
