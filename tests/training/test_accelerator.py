"""An accelerator estimates, trains and scores as the CPU does. The CPU takes these tests, too: they work."""

import hashlib
import json

import numpy as np
import pytest
import torch

from quadrature.network.model import predict
from tests.forks import after_step, clear, interrupt, run_stage
from tests.network.test_model import make_network
from tests.training.test_train import OUTPUTS

ACCELERATOR = torch.accelerator.current_accelerator(check_available=True)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("auto", marks=pytest.mark.skipif(ACCELERATOR is None, reason="torch finds no accelerator here")),
    ]
)
def name(request):
    """The parameter `device`: the CPU, and what `auto` takes where there is an accelerator."""
    return request.param


@pytest.fixture
def device(name):
    return torch.device("cpu") if name == "cpu" else ACCELERATOR


@pytest.mark.parametrize("output", ["analytic", "quadrature"])
@pytest.mark.parametrize("head", ["last", "every"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_network_estimates_there_what_it_estimates_on_the_cpu(device, cell, head, output):
    network = make_network(cell=cell, head=head, output=output, hidden_size=24)
    windows = np.random.default_rng(0).standard_normal((1100, 7)).astype(np.float32)
    expected = predict(network, windows, 500)
    network.to(device)
    np.testing.assert_allclose(predict(network, windows, 500), expected, rtol=0, atol=1e-5)


def digests(checkout):
    return {path: hashlib.sha256((checkout.path / path).read_bytes()).hexdigest() for path in OUTPUTS}


@pytest.mark.slow
def test_it_trains_to_the_same_bytes_again_and_when_interrupted_and_as_well_as_the_cpu(name, device, again):
    on_cpu = json.loads((again.path / "metrics/train.json").read_text())
    again.set(device=name)
    clear(again, "train")
    log = again.stage("train").stderr
    assert log.startswith(f"device {device.type}")
    first = digests(again)
    clear(again, "train")
    assert run_stage(again, "train", torment=after_step(8, interrupt)).returncode == 75
    assert "resuming after step 8" in again.stage("train").stderr
    assert digests(again) == first
    there = json.loads((again.path / "metrics/train.json").read_text())
    assert there["validation_mse"] == pytest.approx(on_cpu["validation_mse"], rel=0.02)


@pytest.mark.slow
def test_its_scores_of_a_network_are_those_of_the_cpu(name, again):
    on_cpu = json.loads((again.path / "metrics/test.json").read_text())
    again.set(device=name)
    clear(again, "evaluate")
    again.stage("evaluate")
    there = json.loads((again.path / "metrics/test.json").read_text())
    assert there.keys() == on_cpu.keys()
    for metric in ("mse", "in_phase_mse", "excess", "phase_rmse_degrees", "amplitude_rmse"):
        assert there[metric] == pytest.approx(on_cpu[metric], rel=1e-3)
