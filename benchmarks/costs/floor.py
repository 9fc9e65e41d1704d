"""Measures what the floor costs, setting by setting: seconds, peak memory, numerical error. Linux only: reads /proc.

    .venv/bin/python -m benchmarks.costs.floor                        # every setting, 8,192 windows each, two threads
    .venv/bin/python -m benchmarks.costs.floor 1024 "much noise"      # one setting, so many windows

Prints a row a setting. Each runs in a process of its own, so that the peak is its own as well.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.task import PARAMETERS
from quadrature.runtime.params import load_params
from quadrature.scoring.floor import Floor
from quadrature.scoring.posterior import NoFloorError
from quadrature.signals.waves import GenerateParams, draw_shard
from stages.generate import Params

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
    "long windows": {"length": 64, "span": 8.0 * np.pi, "noise_std": 0.3},
    "very long windows": {"length": 2048, "span": 100.0},
}
"""Changes to the `generate` section of benchmarks/params.yaml, ranges as pairs."""


def settle(changes: dict[str, object], windows: int) -> GenerateParams:
    """Returns the parameters of a setting with so many test windows, in one shard."""
    tree = load_params(Params, PARAMETERS).generate.model_dump() | {"shard_windows": windows} | changes
    for name in ("frequency", "amplitude"):
        if isinstance(tree[name], tuple):
            tree[name] = dict(zip(("low", "high"), tree[name], strict=True))
    return GenerateParams.model_validate(tree | {"windows": {"train": 1, "validation": 1, "test": windows}})


def measure(setting: str, windows: int) -> str:
    """Returns a setting's row, measured in this process."""
    params = settle(SETTINGS[setting], windows)
    test = draw_shard(params, "test", 0)
    started = time.perf_counter()
    try:
        floor = Floor(params, test, 2)
        estimates = floor.estimate(test)
        floor.end()
    except NoFloorError as reason:
        figures = f"none: {reason} | 0 | "
    else:
        mse = np.square(estimates[floor.rows] - test["target"][floor.rows]).mean()
        figures = f"{mse:.4g} | {len(floor.rows)} | {floor.numerical_error:.0e}"
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1e3
    return f"| {setting} | {seconds:.1f} | {peak:.0f} | {figures} |"


def main(windows: int = 8192, *settings: str) -> None:
    if len(settings) == 1:
        print(measure(settings[0], windows))
        return
    print("| setting | seconds | peak memory (MB) | floor | windows | numerical error |\n|---|---|---|---|---|---|")
    for setting in settings or SETTINGS:
        command = [sys.executable, "-m", "benchmarks.costs.floor", str(windows), setting]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
