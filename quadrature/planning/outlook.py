"""What an estimate could be at best, before any training: by the posterior mean, least squares and Hilbert's transform.

Windows are drawn with the given parameters, and scored as the stage evaluate scores them. numpy and scipy, no torch.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from quadrature.scoring.analytic import AnalyticScore
from quadrature.scoring.baselines import LeastSquares, hilbert
from quadrature.scoring.floor import OptionalFloor
from quadrature.signals.params import GenerateParams
from quadrature.signals.waves import draw_shard, shard_count
from quadrature.storage.arrow import stack
from quadrature.storage.windows import COMPONENTS

WINDOWS = 512
"""Windows that are scored: errors scatter by about 5 % of their size."""

PER_COEFFICIENT = 20
"""Windows that least squares is fitted to, for each coefficient of a sample."""

SHARD = 1024
"""Windows drawn at a time."""

ESTIMATES = ("best", "least_squares", "hilbert")


class Outlook(NamedTuple):
    """The errors at one sample of windows."""

    place: str
    phase_degrees: Mapping[str, float | None]  # root mean squared error by estimate; None if there is no best estimate
    amplitude_percent: Mapping[str, float | None]  # the same, of the highest amplitude


def look(params: GenerateParams, threads: int = 1) -> tuple[list[Outlook], str | None]:
    """Returns the errors in the middle and at the end of windows, and why there is no best estimate, if there is none.

    The sizes of the splits in `params` do not matter; its highest amplitude should not be 0.
    """
    sizes = {"train": PER_COEFFICIENT * (params.length + 1), "validation": 1, "test": WINDOWS}
    drawn = params.model_copy(update={"windows": params.windows.model_copy(update=sizes), "shard_windows": SHARD})
    line, floor = LeastSquares(params.length, params.amplitude.high), OptionalFloor(drawn, threads)
    for shard in range(shard_count(drawn, "train")):
        train = draw_shard(drawn, "train", shard)
        line.add(train["input"], stack(train, COMPONENTS))
    test = draw_shard(drawn, "test", 0)
    estimates = {
        "best": floor.estimate(test),
        "least_squares": line.estimate(test["input"]),
        "hilbert": hilbert(test["input"]),
    }
    floor.end()
    if floor.is_withdrawn:
        estimates["best"] = np.full_like(estimates["best"], np.nan)
    truth = stack(test, COMPONENTS)
    found = []
    for place, sample in {"middle": params.length // 2, "end": params.length - 1}.items():
        scores = {name: AnalyticScore(params.amplitude.high) for name in ESTIMATES}
        for name, score in scores.items():
            score.add(estimates[name][:, :, [sample]], truth[:, :, [sample]])
        figures = {name: score.figures() for name, score in scores.items()}
        amplitude = {
            name: None if (each := figures[name]["amplitude_rmse"]) is None else 100.0 * each / params.amplitude.high
            for name in ESTIMATES
        }
        found.append(Outlook(place, {name: figures[name]["phase_rmse_degrees"] for name in ESTIMATES}, amplitude))
    return found, floor.missing
