"""The device at hand, and the thread count that is part of a result."""

import pytest
import torch

from quadrature.network.device import set_up_device
from quadrature.runtime.errors import ParameterError


@pytest.fixture(autouse=True)
def _threads_are_put_back():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_auto_takes_what_torch_reports():
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    assert set_up_device("auto", 1).type == (accelerator.type if accelerator else "cpu")
    assert set_up_device("cpu", 1).type == "cpu"


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_are_set_whatever_the_environment_says(monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    set_up_device("cpu", threads)
    assert torch.get_num_threads() == threads


def test_a_device_that_is_not_there_is_refused():
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    absent = "mps" if accelerator is None or accelerator.type != "mps" else "cuda"
    with pytest.raises(ParameterError, match=f"device in params.yaml is {absent}, but torch finds"):
        set_up_device(absent, 1)
