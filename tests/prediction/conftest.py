"""A model with random weights, and windows for it."""

import numpy as np
import pytest
import torch

from quadrature.network.model import ModelParams, QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from tests.prediction.running import LENGTH, PARAMS


@pytest.fixture(autouse=True)
def one_thread():
    """Sets torch to one thread, as in the command, and restores it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model file with random weights."""
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS), LENGTH)
    initialize(network, 0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(network, path)
    return path


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(0).standard_normal((1000, LENGTH)).astype(np.float32)
