"""This project's training with a peer's command line. The bench takes the time to target from the real train stage.

.venv/bin/python -m benchmarks.frameworks.peers.ours score   # the mse of models/model.safetensors on data/windows/test
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.frameworks.peers import task
from quadrature.network.device import computing_alone, set_up_device
from quadrature.network.model import QuadratureNetwork, initialize, predict
from quadrature.network.model_file import load_model
from quadrature.network.params import ModelParams
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from quadrature.training.batches import Batch, SplitReader, epoch_batches
from quadrature.training.params import TrainParams
from quadrature.training.parts import PartGradients
from quadrature.training.state import make_optimizer
from quadrature.training.step import TrainStep


class Params(Section):
    model: ModelParams
    train: TrainParams


PARAMS = load_params(Params)
SHARED = {"threads": 1, "gradient_shards": 1}


def limit_threads(threads: int) -> None:
    """Sets the number of threads that share a gradient; each computes a part of it."""
    set_up_device("cpu", threads=1)
    SHARED.update(threads=threads, gradient_shards=threads)


def build(hidden: int, seed: int) -> QuadratureNetwork:
    """Returns the network of params.yaml with another hidden size."""
    network = QuadratureNetwork(PARAMS.model.model_copy(update={"hidden_size": hidden}), task.LENGTH)
    initialize(network, seed)
    return network


def train(model: QuadratureNetwork, inputs: np.ndarray, target: np.ndarray, batch: int) -> QuadratureNetwork:
    """Trains for an epoch as the stage does, with the peers' optimizer: Adam at its default rate, without clipping.

    Each thread computes one shard of the gradient.
    """
    changes = {"batch_size": batch, "optimizer": "adam", "learning_rate": 1e-3, "gradient_clip": None}
    params = PARAMS.train.model_copy(update={**changes, **SHARED})
    optimizer = make_optimizer(model, params)
    windows = SplitReader.of([Batch(torch.from_numpy(inputs.copy()).unsqueeze(-1), torch.from_numpy(target.copy()))])
    model.train()
    batches = epoch_batches(windows, params.seed, 0, batch, params.shuffle_windows)
    with computing_alone(), PartGradients(model, params, processes=params.threads) as gradients:
        take_step = TrainStep(model, optimizer, params, gradients)
        for step, windows_of_step in enumerate(batches, 1):
            take_step(windows_of_step, step, params.learning_rate)
    return model


def estimate(model: QuadratureNetwork, inputs: np.ndarray) -> np.ndarray:
    return predict(model, inputs, len(inputs))


def load(model: QuadratureNetwork, weights: Mapping[str, np.ndarray]) -> QuadratureNetwork:
    model.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights})
    return model


def count(model: nn.Module) -> int:
    return sum(weights.numel() for weights in model.parameters())


if __name__ == "__main__":
    if sys.argv[1:] == ["score"]:
        network = load_model(Path("models/model.safetensors"))
        windows, cosines = task.read(Path("data/windows/test"))
        task.answer(mse=task.mse(predict(network, windows, 8192), cosines))
    else:
        task.main(task.Peer(build, train, estimate, load, count), limit_threads)
