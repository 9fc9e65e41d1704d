"""Where tensors live and how many threads compute: the machine's part of a result."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from quadrature.runtime.errors import ParameterError

Device = Literal["auto", "cpu", "cuda", "mps"]


def set_up_device(name: Device, threads: int, index: int = 0) -> torch.device:
    """Chooses the device and makes its arithmetic repeatable; to be called before any tensor is computed.

    `auto` takes the accelerator that torch reports, else the CPU; where there are several, processes take them in turn
    by their index. Raises ParameterError if `name` is not there.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    found = accelerator.type if accelerator is not None else "cpu"
    if name not in ("auto", "cpu", found):
        raise ParameterError(f"device in params.yaml is {name}, but torch finds {found}; set device: auto")
    device = torch.device(found if name == "auto" else name)

    if device.type != "cpu":
        if index:
            torch.accelerator.set_device_index(index % torch.accelerator.device_count())
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS cannot repeat itself
        torch.use_deterministic_algorithms(True)
        # With its number, as what is current is so for one thread, and a thread of its own reads windows ahead.
        device = torch.device(device.type, torch.accelerator.current_device_index())
    # MKL chooses its vector functions at their first call. When two threads make it at once, one now and then
    # computes with other functions than the rest of the run (3 of 20,000 first tanh calls here, none of 20,000
    # after this line), and all that follows has other bits. So the first call is made alone.
    torch.set_num_threads(1)
    torch.tanh(torch.zeros(1))
    torch.set_num_threads(threads)
    return device


def compute_alone() -> None:
    """Has torch compute on the calling thread alone.

    Else it splits one operation over threads, which sums in another order for each number of them, and lets them
    spin while they wait for each other, which slows whatever else runs on the machine.
    """
    torch.set_num_threads(1)


@contextmanager
def computing_alone() -> Iterator[None]:
    """Has torch compute on the calling thread alone until the block ends."""
    threads = torch.get_num_threads()
    compute_alone()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
