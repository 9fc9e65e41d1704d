"""The device of the tensors and the number of threads: the machine's part of a result."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from quadrature.network.params import Device
from quadrature.runtime.errors import ParameterError


def set_up_device(name: Device, threads: int, index: int = 0) -> torch.device:
    """Chooses the device and makes its arithmetic repeatable; call it before any tensor is computed.

    `auto` takes the accelerator that torch reports, otherwise the CPU. Of several accelerators, a process takes the one
    with its index. Raises ParameterError if torch does not find `name`.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    found = accelerator.type if accelerator is not None else "cpu"
    if name not in ("auto", "cpu", found):
        raise ParameterError(f"device in params.yaml is {name}, but torch finds {found}; set device: auto")
    device = torch.device(found if name == "auto" else name)

    if device.type != "cpu":
        if index:
            torch.accelerator.set_device_index(index % torch.accelerator.device_count())
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without it
        torch.use_deterministic_algorithms(True)
        # With its index: the current device is a thread's own, and another thread reads windows ahead.
        device = torch.device(device.type, torch.accelerator.current_device_index())
    # MKL chooses its vector functions at their first call. If two threads make it at once, one of them occasionally
    # uses other functions than the rest of the run, with other bits: 3 of 20,000 first calls of tanh here, and none of
    # 20,000 after this line. So one thread makes the first call.
    torch.set_num_threads(1)
    torch.tanh(torch.zeros(1))
    torch.set_num_threads(threads)
    return device


def compute_alone() -> None:
    """Restricts torch to the calling thread.

    Otherwise torch splits an operation over threads. The order of its sums then depends on their number, and waiting
    threads spin, which slows all other work on the machine.
    """
    torch.set_num_threads(1)


@contextmanager
def computing_alone() -> Iterator[None]:
    """Restricts torch to the calling thread until the block ends."""
    threads = torch.get_num_threads()
    compute_alone()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
