"""Measures how long the command `live` takes to answer a sample, from the write to the answer's line.

    .venv/bin/python -m benchmarks.costs.live          # 5,000 samples
    .venv/bin/python -m benchmarks.costs.live 200      # 200 samples

Prints a row for the default's network, which reads its last window again, and one for head `every`, which keeps its
state. The columns are milliseconds: median, 99th percentile and largest of all answers after the first hundred. `cat`
in place of the command shows what the pipes and this script take. The ways take turns sample by sample.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.processes import PROJECT
from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams

WINDOW_LENGTH, HIDDEN_SIZE = 10, 64
LEFT_OUT = 100  # answers while caches fill

PARAMS = {
    "cell": "gru", "nonlinearity": "tanh", "hidden_size": HIDDEN_SIZE, "num_layers": 1, "bias": True,
    "bidirectional": False, "dropout": 0.0, "execution": "sequence", "output": "analytic",
}  # fmt: skip


def command(folder: Path, head: str) -> list[str]:
    """Writes an untrained model; returns the command that answers with it."""
    network = QuadratureNetwork(ModelParams.model_validate({**PARAMS, "head": head}), WINDOW_LENGTH)
    initialize(network, 0)
    save_model(network, folder / f"{head}.safetensors")
    return [sys.executable, "-m", "quadrature", "live", "--model", str(folder / f"{head}.safetensors")]


def main(samples: int = 5000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ways = {f"head {head}": command(Path(folder), head) for head in ("last", "every")} | {"cat": ["cat"]}
        started = {
            name: subprocess.Popen(
                words, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
            for name, words in ways.items()
        }
        seconds = {name: np.empty(samples) for name in ways}
        for name, process in started.items():
            if name != "cat":
                assert process.stdout
                process.stdout.readline()  # the header
        for step in range(samples):
            for name, process in started.items():
                assert process.stdin
                assert process.stdout
                begun = time.perf_counter()
                process.stdin.write(f"{np.sin(0.3 * step)}\n")
                process.stdout.readline()
                seconds[name][step] = time.perf_counter() - begun
        for process in started.values():
            process.communicate()
    print(f"hidden size {HIDDEN_SIZE}, {samples:,} samples, milliseconds\n")
    print("| | p50 | p99 | largest |\n|---|---|---|---|")
    for name, each in seconds.items():
        counted = 1e3 * each[min(LEFT_OUT, samples // 2) :]
        print(f"| {name} | {np.median(counted):.3f} | {np.percentile(counted, 99):.3f} | {counted.max():.3f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
