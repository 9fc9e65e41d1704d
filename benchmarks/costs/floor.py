"""Measures the cost of the floor in several settings: seconds, peak memory and numerical error.

    .venv/bin/python -m benchmarks.costs.floor                        # every setting, 8,192 windows each, two threads
    .venv/bin/python -m benchmarks.costs.floor 1024 "much noise"      # one setting, 1,024 windows

Prints a row for each setting. Each setting runs in its own process, which has its own peak of memory.
"""

import json
import math
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.processes import PROJECT, run
from benchmarks.task import PARAMETERS

if TYPE_CHECKING:
    from quadrature.signals.params import GenerateParams

SETTINGS: dict[str, dict[str, object]] = {
    "the default": {},
    "two samples": {"length": 2},
    "two samples, little noise": {"length": 2, "noise_std": 1e-4},
    "two samples, hardly any noise, any amplitude": {"length": 2, "noise_std": 1e-6, "amplitude": (0.0, 1.0)},
    "little noise": {"noise_std": 0.01},
    "hardly any noise": {"noise_std": 1e-6},
    "much noise": {"noise_std": 10.0},
    "frequency 0": {"frequency": (0.0, 0.0)},
    "any amplitude": {"amplitude": (0.0, 1.0)},
    "any amplitude, little noise": {"amplitude": (0.0, 1.0), "noise_std": 1e-4},
    "undersampled": {"span": 100.0},
    "undersampled, little noise": {"span": 100.0, "noise_std": 1e-3},
    "undersampled beyond reach": {"span": 1e6},
    "long windows": {"length": 64, "span": 8.0 * math.pi, "noise_std": 0.3},
    "very long windows": {"length": 2048, "span": 100.0},
}
"""Changes to the `generate` section of benchmarks/params.yaml; a range is a pair."""


def settle(changes: dict[str, object], windows: int) -> "GenerateParams":
    """Returns the parameters of a setting, with the given number of test windows in one shard."""
    from quadrature.runtime.params import load_params
    from quadrature.signals.params import GenerateParams
    from stages.generate import Params

    tree = load_params(Params, PARAMETERS).generate.model_dump() | {"shard_windows": windows} | changes
    for name in ("frequency", "amplitude"):
        if isinstance(tree[name], tuple):
            tree[name] = dict(zip(("low", "high"), tree[name], strict=True))
    return GenerateParams.model_validate(tree | {"windows": {"train": 1, "validation": 1, "test": windows}})


def measure(setting: str, windows: int) -> None:
    """Prints as JSON the seconds that a setting's floor takes in this process, and the row's last cells."""
    import numpy as np

    from quadrature.posterior.refined import PosteriorError
    from quadrature.scoring.floor import Floor
    from quadrature.signals.waves import draw_shard

    params = settle(SETTINGS[setting], windows)
    test = draw_shard(params, "test", 0)
    started = time.perf_counter()
    try:
        floor = Floor(params, test, 2)
        estimates = floor.estimate(test)
        floor.end()
    except PosteriorError as reason:
        figures = f"none: {reason} | 0 | "
    else:
        mse = np.square(estimates[floor.rows, 1] - test["target"][floor.rows]).mean()
        figures = f"{mse:.4g} | {len(floor.rows)} | {floor.numerical_error:.0e}"
    print(json.dumps({"seconds": time.perf_counter() - started, "figures": figures}))


def main(windows: int = 8192, *settings: str) -> None:
    print("| setting | seconds | peak memory (MB) | floor | windows | numerical error |\n|---|---|---|---|---|---|")
    for setting in settings or SETTINGS:
        command = [sys.executable, "-m", "benchmarks.costs.floor", "measure", setting, str(windows)]
        done = run(command, PROJECT)
        row = (setting, f"{done.answer['seconds']:.1f}", f"{done.peak_mb:.0f}", done.answer["figures"])
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure", setting, windows]:
            measure(setting, int(windows))
        case arguments:
            main(*map(int, arguments[:1]), *arguments[1:])
