"""Measures how evaluate's memory and time grow with the test split, and with the training split. Unix: asks the kernel.

    .venv/bin/python -m benchmarks.costs.evaluate            # 10,000 to 10,000,000 windows of each, 15 minutes
    .venv/bin/python -m benchmarks.costs.evaluate 500 2000   # two sizes

Prints a row for each size of one split beside the smallest of the other: `python -m stages.evaluate` on windows made
for it in a temporary folder (100 bytes a window), with the network of benchmarks/params.yaml, untrained. Peak memory is
the kernel's count for the process.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.task import PARAMETERS
from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.runtime.params import load_params
from stages.train import Params

PROJECT = Path(__file__).parents[2]
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


def run(stage: str, folder: Path) -> tuple[float, float]:
    """Runs a stage in a folder; returns its seconds and its peak memory in megabytes."""
    started = time.perf_counter()
    command = [sys.executable, "-m", f"stages.{stage}"]
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT)}, stderr=subprocess.PIPE
    )
    words = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{stage} failed:\n{words[-2000:]}")
    return seconds, usage.ru_maxrss / 1e3


def measure(train: int, test: int) -> str:
    """Returns the row of an evaluation of so many test windows beside so many training windows."""
    params = yaml.safe_load(PARAMETERS.read_text())
    params["generate"]["windows"] = {"train": train, "validation": 1, "test": test}
    params["train"]["batch_size"] = 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        run("generate", folder)
        network = QuadratureNetwork(load_params(Params, folder / "params.yaml").model, params["generate"]["length"])
        initialize(network, 0)
        save_model(network, folder / "models/model.safetensors")
        seconds, peak = run("evaluate", folder)
    return f"| {train:,} | {test:,} | {peak:.0f} | {seconds:.1f} |"


def main(*sizes: int) -> None:
    smallest, *larger = sizes or SIZES
    print("| training windows | test windows | peak memory (MB) | seconds |\n|---|---|---|---|")
    for train, test in (
        (smallest, smallest),
        *((smallest, size) for size in larger),
        *((size, smallest) for size in larger),
    ):
        print(measure(train, test), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
