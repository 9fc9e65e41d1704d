"""Measures how the evaluate stage's memory and time grow with the test split and with the training split.

    .venv/bin/python -m benchmarks.costs.evaluate            # 10,000 to 10,000,000 windows of each, 15 minutes
    .venv/bin/python -m benchmarks.costs.evaluate 500 2000   # two sizes

Prints a row for each size of one split beside the smallest size of the other: `python -m stages.evaluate` on windows
made for it in a temporary folder (100 bytes a window), with the untrained network of benchmarks/params.yaml.
"""

import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks.processes import PROJECT, Outcome, run
from benchmarks.task import PARAMETERS

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


def save_network() -> None:
    """Writes the untrained network of params.yaml to models/model.safetensors."""
    from benchmarks.costs.predict import Params, make_network
    from quadrature.network.model_file import save_model
    from quadrature.runtime.params import load_params

    save_model(make_network(load_params(Params)), Path("models/model.safetensors"))


def measure(train: int, test: int) -> Outcome:
    """Evaluates a network on a number of test windows, beside a number of training windows."""
    params = yaml.safe_load(PARAMETERS.read_text())
    params["generate"]["windows"] = {"train": train, "validation": 1, "test": test}
    params["train"]["batch_size"] = 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "params.yaml").write_text(yaml.safe_dump(params))

        def start(*program: str) -> Outcome:
            return run([sys.executable, "-m", *program], folder, PYTHONPATH=str(PROJECT))

        start("stages.generate")
        start("benchmarks.costs.evaluate", "network")
        return start("stages.evaluate")


def main(*sizes: int) -> None:
    smallest, *larger = sizes or SIZES
    print("| training windows | test windows | peak memory (MB) | seconds |\n|---|---|---|---|")
    for train, test in (
        (smallest, smallest),
        *((smallest, size) for size in larger),
        *((size, smallest) for size in larger),
    ):
        done = measure(train, test)
        print(f"| {train:,} | {test:,} | {done.peak_mb:.0f} | {done.seconds:.1f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["network"]:
        save_network()
    else:
        main(*map(int, sys.argv[1:]))
