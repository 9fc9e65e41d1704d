"""Where tensors live and how many threads compute: the machine's part of a result."""

import os
from typing import Literal

import torch

from quadrature.errors import ParameterError

Device = Literal["auto", "cpu", "cuda", "mps"]


def set_up_device(name: Device, threads: int) -> torch.device:
    """Chooses the device and makes its arithmetic repeatable: fixed thread count, deterministic kernels.

    `auto` takes the accelerator that torch reports, else the CPU. Raises ParameterError if `name` is not there.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS cannot repeat itself
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    found = accelerator.type if accelerator is not None else "cpu"
    if name not in ("auto", "cpu", found):
        raise ParameterError(f"device in params.yaml is {name}, but torch finds {found}; set device: auto")
    return torch.device(found if name == "auto" else name)
