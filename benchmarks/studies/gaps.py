"""Measures the error of a signal's estimates where samples are missing: how long a gap may be filled, and what else one
could do.

    .venv/bin/python -m benchmarks.studies.gaps

Follows signals like the windows of params.yaml with models/model.safetensors, a window every half of its length. The
first table has a row for each length of a gap: the mean squared error over the samples that share a window with the
gap, if nothing is missing and if the gap is filled. In the second, one in a hundred samples is missing, each alone. A
row that is left out moves all later samples by one, so that after a while each estimate is compared with another time.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quadrature.network.model import QuadratureNetwork, analytic_signal, predict
from quadrature.network.model_file import load_model
from quadrature.prediction.gaps import fill
from quadrature.prediction.overlap import Overlap
from quadrature.runtime.params import load_params
from quadrature.signals.params import GenerateParams
from quadrature.signals.waves import draw_shard
from stages.generate import Params

Array = NDArray[np.float32]

GAPS = range(1, 7)


def draw(params: GenerateParams, length: int, count: int) -> tuple[Array, Array]:
    """Returns noisy sines and their cosines, (count, length), with the spacing of params.yaml."""
    longer = {"length": length, "shard_windows": count}
    if params.span is not None:
        longer["span"] = params.span * (length - 1) / (params.length - 1)
    windows = {"train": 1, "validation": 1, "test": count}
    tree = params.model_dump() | longer | {"windows": windows, "seed": params.seed + 1}
    drawn = draw_shard(GenerateParams.model_validate(tree), "test", 0)
    return drawn["input"], drawn["target"]


def follow(network: QuadratureNetwork, signal: Array) -> Array:
    """Returns the estimates of a signal's quadrature component, NaN where there is none."""
    overlap = Overlap(network.window_length, network.window_length // 2)
    overlap.push(signal)
    overlap.end()
    windows = np.nan_to_num(overlap.take(1))
    overlap.put(analytic_signal(windows, predict(network, windows, 512)))
    (_, quadrature), known = overlap.pop()
    return np.where(known, quadrature, np.float32(np.nan))


def error(estimates: Array, cosine: Array) -> float:
    """Returns the mean squared error over the samples that have an estimate."""
    return float(np.nanmean(np.square(estimates.astype(np.float64) - cosine)))


def show_gaps(network: QuadratureNetwork, params: GenerateParams, count: int) -> None:
    reach = network.window_length - 1
    before = 3 * network.window_length  # samples of a wave before the gap; the next wave is as far
    sine, cosine = draw(params, 2 * before + max(GAPS), count)  # waves one after another
    full = follow(network, sine.ravel()).reshape(sine.shape)
    print("| missing | nothing missing | filled | times | without an estimate if not filled |\n|---|---|---|---|---|")
    for gap in GAPS:
        spoilt, near = sine.copy(), slice(before - reach, before + gap + reach)
        spoilt[:, before : before + gap] = np.nan
        filled = follow(network, fill(spoilt.ravel(), gap)).reshape(sine.shape)
        errors = [error(each[:, near], cosine[:, near]) for each in (full, filled)]
        null = np.isnan(follow(network, spoilt.ravel())).sum() / count
        print(f"| {gap} | {errors[0]:.2e} | {errors[1]:.2e} | {errors[1] / errors[0]:.1f} | {null:.1f} |")


def show_ways(network: QuadratureNetwork, params: GenerateParams, count: int, length: int = 2000) -> None:
    rng, rows = np.random.default_rng(0), []
    for signal, truth in zip(*draw(params, length, count), strict=True):
        missing = np.zeros(length, np.bool_)
        missing[rng.choice(np.arange(1, length // 2), length // 100, replace=False) * 2] = True  # none side by side
        spoilt = np.where(missing, np.float32(np.nan), signal)
        left = follow(network, signal[~missing])
        ways = [(follow(network, each), truth) for each in (signal, fill(spoilt), spoilt)]
        ways += [(left, truth[~missing]), (left, truth[: len(left)])]
        rows.append([(error(*way), np.isnan(way[0]).mean()) for way in ways])
    names = ["nothing missing", "interpolate", "null", "row left out, times known", "row left out, times counted"]
    print("\n| one in a hundred missing | mean squared error | without an estimate |\n|---|---|---|")
    for name, (mse, null) in zip(names, np.mean(rows, 0), strict=True):
        print(f"| {name} | {mse:.2e} | {100 * null:.1f} % |")


def main(waves: int = 4096, signals: int = 160) -> None:
    params = load_params(Params, Path("params.yaml")).generate
    network = load_model(Path("models/model.safetensors"))
    show_gaps(network, params, waves)
    show_ways(network, params, signals)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
