"""Models with random weights, and windows for them."""

import numpy as np
import pytest
import torch

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams
from tests.prediction.running import LENGTH, OUTPUTS_OF_MODELS, PARAMS


@pytest.fixture(autouse=True)
def one_thread():
    """Sets torch to one thread, as in the command, and restores it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model files with random weights, by the value of model.output."""
    folder = tmp_path_factory.mktemp("models")
    for output in OUTPUTS_OF_MODELS:
        network = QuadratureNetwork(ModelParams.model_validate(PARAMS | {"output": output}), LENGTH)
        initialize(network, 0)
        save_model(network, folder / f"{output}.safetensors")
    return {output: folder / f"{output}.safetensors" for output in OUTPUTS_OF_MODELS}


@pytest.fixture(scope="module")
def model(models):
    """A model file with random weights, of both components."""
    return models["analytic"]


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(0).standard_normal((1000, LENGTH)).astype(np.float32)
