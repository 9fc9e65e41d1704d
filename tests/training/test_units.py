"""Volts, microvolts or counts: the unit of the windows changes neither the network nor its relative errors."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from quadrature.network.model import QuadratureNetwork, initialize, predict
from quadrature.network.model_file import load_model, save_model
from quadrature.signals.waves import draw_shard
from quadrature.storage.arrow import stack
from quadrature.storage.windows import COMPONENTS, shard_path, writing
from quadrature.training import loop
from quadrature.training.batches import open_split
from quadrature.training.state import Training
from tests.checkout import Checkout
from tests.network.test_model import make_params
from tests.signals.test_waves import settings
from tests.training.test_loop import make_training


class Trained(NamedTuple):
    """A network's weights, and its errors and estimates in a unit and that unit squared."""

    weights: list[torch.Tensor]
    errors: list[float]
    estimates: np.ndarray


def learn(folder, unit, **changes):
    """Trains a network on windows of amplitudes 0.8 to 1.5 of a unit; estimates with the one in its file."""
    count = {"train": 300, "validation": 1, "test": 1}
    high = 1.5 * unit
    params = settings(amplitude={"low": 0.8 * unit, "high": high}, noise_std=0.1 * unit, windows=count)
    columns = draw_shard(params, "train", 0)
    with writing(shard_path(folder, 0)) as file:
        file.write(columns)
    model = make_params(**changes)
    components = COMPONENTS[-model.components :]
    windows = open_split(folder, torch.device("cpu"), 10**6, scale=high, components=components)
    network = QuadratureNetwork(model, windows.window_length)
    initialize(network, 0)
    (record,) = loop.train(Training(network, make_training(epochs=1)), windows, windows)
    network.scale = high
    save_model(network, folder / "model")
    estimates = predict(load_model(folder / "model"), columns["input"], 100).astype(float) / unit
    target = columns["target"] if len(components) == 1 else stack(columns, components)
    errors = [record.train_mse / unit**2, record.validation_mse / unit**2]
    assert errors[1] == pytest.approx(np.square(estimates - target / unit).mean(), rel=1e-4)
    return Trained(list(network.state_dict().values()), errors, estimates)


@pytest.mark.parametrize(
    "changes", [{}, {"num_layers": 2}, {"output": "analytic"}], ids=["written out", "autograd", "two components"]
)
def test_another_power_of_two_gives_the_same_bits(tmp_path, changes):
    expected = learn(tmp_path / "1", 1.0, **changes)
    for power in (-90, 20, 90):
        found = learn(tmp_path / f"{power}", 2.0**power, **changes)
        assert all(map(torch.equal, found.weights, expected.weights))
        assert found.errors == expected.errors
        assert (found.estimates == expected.estimates).all()


@pytest.mark.parametrize("power", [-12, -6, 6])
def test_another_power_of_ten_gives_the_same_network_up_to_rounding(tmp_path, power):
    """Rounding is 6e-8; each step of a training makes differences larger."""
    expected, found = learn(tmp_path / "1", 1.0), learn(tmp_path / "2", 10.0**power)
    for mine, theirs in zip(found.weights, expected.weights, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)
    assert found.errors == pytest.approx(expected.errors, rel=1e-4)
    np.testing.assert_allclose(found.estimates, expected.estimates, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_stages_give_the_same_network_and_relative_errors_in_another_unit(tmp_path):
    weights, metrics = [], []
    for unit in (1.0, 2.0**-40):
        checkout = Checkout.make(tmp_path / f"{unit}")
        checkout.set(**{"generate.amplitude": {"low": 0.5 * unit, "high": unit}, "generate.noise_std": 0.1 * unit})
        for stage in ("generate", "targets", "train", "evaluate"):
            checkout.stage(stage)
        weights.append(load_file(checkout.path / "models/model.safetensors"))
        train, test = (checkout.yaml(f"metrics/{name}.json") for name in ("train", "test"))
        relative = [test[name] for name in ("excess", "floor_z_score", "seen_in_training", "phase_rmse_degrees")]
        squares = [
            train["train_mse"],
            train["validation_mse"],
            test["mse"],
            test["floor_mse"],
            test["in_phase_mse"],
            test["floor_in_phase_mse"],
            test["amplitude_rmse"] ** 2,
            *test["baselines"].values(),
        ]
        metrics.append([*relative, *(square / unit**2 for square in squares)])
    assert all(torch.equal(weights[0][name], tensor) for name, tensor in weights[1].items())
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-9)
    assert metrics[0][2] == 0.0
