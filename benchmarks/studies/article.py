"""Runs the article's experiment in the pipeline, and the article's own script beside it: `make article`.

    .venv/bin/python -m benchmarks.studies.article          # prints both side by side
    .venv/bin/python -m benchmarks.studies.article measure  # writes the tables of docs/article.md to docs/article/*.csv

The script is docs/article/script.py, which the page shows. The experiment is run by `dvc exp run --temp`. To change
further parameters: `python -m benchmarks.studies.article train.seed=3`.
"""

import contextlib
import io
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dvc.api
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.studies.experiments import finished_experiments, run_dvc, set_params
from quadrature.network.model_file import load_model
from quadrature.runtime.params import load_params
from quadrature.storage.windows import WINDOW_COLUMNS, read_windows
from quadrature.training.schedule import learning_rate
from stages.train import Params

SCRIPT = Path("docs/article/script.py")
MEASURED = Path("docs/article")
EXPERIMENT = {
    "device": "cpu",
    "generate.source": "null",
    "generate.hop": "null",
    "generate.windows.train": "100",
    "generate.windows.validation": "100",
    "generate.windows.test": "100",
    "generate.length": "10",
    "generate.span": "3.141592653589793",
    "generate.rate": "null",
    "generate.phase": "consecutive",
    "generate.frequency.low": "1.0",
    "generate.frequency.high": "1.0",
    "generate.amplitude.low": "1.0",
    "generate.amplitude.high": "1.0",
    "generate.noise_std": "0.0",
    "model.cell": "gru",
    "model.nonlinearity": "tanh",
    "model.hidden_size": "16",
    "model.num_layers": "1",
    "model.bias": "true",
    "model.bidirectional": "false",
    "model.dropout": "0.0",
    "model.execution": "sequence",
    "model.head": "last",
    "model.output": "quadrature",
    "train.epochs": "100",
    "train.batch_size": "32",
    "train.optimizer": "adam",
    "train.learning_rate": "0.01",
    "train.schedule": "constant",
    "train.gradient_clip": "null",
    "train.validations_per_epoch": "1",
}
"""All parameters that the article determines."""


def run_experiment(name: str, **changes: str) -> None:
    """Runs the article's experiment, with further changes."""
    run_dvc("exp", "run", "--temp", "--force", "--name", name, *set_params(EXPERIMENT | changes))


def script_names(workers: int) -> dict[str, Any]:
    """Runs the article's script from a fixed seed; returns its global names."""
    program = SCRIPT.read_text().replace("num_workers=2", f"num_workers={workers}")
    names: dict[str, Any] = {"__name__": "article"}
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(program, SCRIPT, "exec"), names)
    return names


def run_script(workers: int) -> tuple[torch.nn.Module, float, float]:
    """Runs the article's script; returns its network, the mse on its windows and its seconds."""
    started = time.perf_counter()
    names = script_names(workers)
    seconds = time.perf_counter() - started
    return names["model"], (names["pre"] - names["train_y"]).square().mean().item(), seconds


def result_of(name: str, path: str) -> bytes:
    """Returns the content of a file made by an experiment."""
    with dvc.api.open(path, rev=name, mode="rb") as file:
        content: bytes = file.read()
    return content


def network_of(name: str) -> torch.nn.Module:
    """Returns an experiment's network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(result_of(name, "models/model.safetensors"))
        return load_model(path)


@torch.inference_mode()
def errors_by_phase(model: Callable[[Tensor], Tensor]) -> pd.DataFrame:
    """Returns a network's mean squared error on noise-free windows starting at each degree from 0 to 360."""
    phase = np.radians(np.arange(361.0))
    angles = torch.from_numpy(phase[:, None] + np.linspace(0.0, math.pi, 10))
    estimate = model(angles.sin().float().unsqueeze(-1))
    return pd.DataFrame({"phase": phase, "mse": (estimate - angles.cos()).square().mean(dim=1).numpy()})


def compare(**changes: str) -> None:
    """Runs the script and the experiment; prints their errors and the script's seconds."""
    torch.optim.Adam([torch.zeros(1)])  # the first one in a process imports torch's compiler, which takes seconds
    theirs, their_mse, seconds = run_script(workers=2)
    _, _, without_workers = run_script(workers=0)
    run_experiment("article", **changes)
    our_mse = finished_experiments()["article"]["metrics/test.json"]["mse"]
    unseen = [errors_by_phase(model)["mse"][:-1].mean() for model in (theirs, network_of("article"))]
    print(f"{'':36}{'the script':>16}{'the pipeline':>16}")
    print(f"{'mse on the 100 windows it learnt':36}{their_mse:16.1e}{our_mse:16.1e}")
    print(f"{'mse on windows of every phase':36}{unseen[0]:16.2f}{unseen[1]:16.2f}")
    print(f"{'seconds with its two loader workers':36}{seconds:16.1f}")
    print(f"{'seconds without':36}{without_workers:16.1f}")


def measure() -> None:
    """Writes the tables from which the figures of docs/article.md are drawn."""
    MEASURED.mkdir(exist_ok=True)
    run_experiment("article")
    errors_by_phase(network_of("article")).to_csv(MEASURED / "phases.csv", index=False, float_format="%.6g")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        path.write_bytes(result_of("article", "data/predictions.parquet"))
        columns = read_windows(path, (*WINDOW_COLUMNS, "prediction"))
    windows, samples = columns["input"].shape
    table = {name: columns[name].ravel() for name in ("input", "target", "prediction")}
    place = {"window": np.repeat(np.arange(windows), samples), "sample": np.tile(np.arange(samples), windows)}
    pd.DataFrame(place | table).to_csv(MEASURED / "windows.csv", index=False, float_format="%.6f")

    schedules = ("constant", "cosine", "onecycle")
    epochs = pd.DataFrame({schedule: errors_by_epoch(schedule) for schedule in schedules}, index=range(1, 1001))
    epochs.to_csv(MEASURED / "epochs.csv", index_label="epoch", float_format="%.4g")


def errors_by_epoch(schedule: str, epochs: int = 1000) -> list[float]:
    """Trains the article's network on the article's windows; returns each epoch's mean squared error."""
    names = script_names(workers=0)
    model, inputs, target = names["GRU"](), names["train_x"].float(), names["train_y"].float()
    optimizer = torch.optim.Adam(model.parameters())
    params = load_params(Params).train.model_copy(update={"schedule": schedule, "learning_rate": 0.01})
    errors, step, steps = [], 0, 4 * epochs
    for _ in range(epochs):
        squares = 0.0
        for batch in torch.randperm(100).split(32):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(params.schedule, params.learning_rate, step, steps)
            loss = torch.nn.functional.mse_loss(model(inputs[batch]), target[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            squares += loss.item() * len(batch)
            step += 1
        errors.append(squares / 100)
    return errors


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure"]:
            measure()
        case changes if all("=" in change for change in changes):
            compare(**dict(change.split("=", 1) for change in changes))
        case _:
            sys.exit(__doc__)
