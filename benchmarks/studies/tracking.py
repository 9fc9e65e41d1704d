"""Measures the error of a tracker's estimates, also beyond the window length that it was trained on.

    .venv/bin/python -m benchmarks.studies.tracking

Trains two networks with head `every` as experiments of `dvc exp run --temp`: one on the windows of params.yaml, one on
the same number of samples in windows ten times as long. Both then track 4,096 signals of a thousand samples, with the
same spacing, frequencies and noise. Prints the mean squared error at some of the samples, a row for each.
"""

import sys
from pathlib import Path

import numpy as np

from benchmarks.studies.article import network_of
from benchmarks.studies.experiments import run_dvc, set_params
from quadrature.prediction.tracker import Tracker
from quadrature.runtime.params import load_params
from quadrature.signals.params import GenerateParams
from quadrature.signals.waves import draw_shard
from stages.generate import Params

SAMPLES = (1, 2, 5, 10, 11, 20, 50, 100, 101, 200, 500, 1000)
EVERY = {"model.head": "every", "model.output": "quadrature", "model.hidden_size": "32"}


def longer(params: GenerateParams, times: int) -> dict[str, object]:
    """Returns length, and span where it is set, of windows that are `times` as long, with the same spacing."""
    length = times * params.length
    return {"length": length} | (
        {"span": params.span * (length - 1) / (params.length - 1)} if params.span is not None else {}
    )


def train(name: str, changes: dict[str, str]) -> Tracker:
    """Runs an experiment; returns a tracker with its network."""
    run_dvc("exp", "run", "--temp", "--force", "--name", name, *set_params(changes), "train")
    return Tracker(network_of(name))


def main(signals: int = 4096) -> None:
    params = load_params(Params, Path("params.yaml")).generate
    long = {f"generate.{key}": str(value) for key, value in longer(params, 10).items()}
    fewer = {"generate.windows.train": str(max(params.windows.train // 10, 1))}
    trackers = [train("tracking-short", EVERY), train("tracking-long", {**EVERY, **long, **fewer})]

    running = longer(params, 1000 // params.length) | {"seed": params.seed + 1, "shard_windows": signals}
    windows = {"train": 1, "validation": 1, "test": signals}
    drawn = draw_shard(GenerateParams.model_validate(params.model_dump() | running | {"windows": windows}), "test", 0)
    print(f"| sample | trained on {params.length} | trained on {10 * params.length} |\n|---|---|---|")
    for number, (sample, cosine) in enumerate(zip(drawn["input"].T, drawn["target"].T, strict=True), 1):
        errors = [np.square(tracker.update(sample).astype(float) - cosine).mean() for tracker in trackers]
        if number in SAMPLES:
            print(f"| {number:,} | {' | '.join(f'{error:.2g}' for error in errors)} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
