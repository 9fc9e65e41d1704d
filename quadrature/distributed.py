"""Processes that train one network together, as torchrun starts them; nothing when there is one.

Each computes a share of every batch's gradient shards and gets those of the others; adding all up in the shards' order,
each takes the same step. So the processes keep the same weights to the last bit, and those of one process alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor

from quadrature.errors import ParameterError, QuadratureError
from quadrature.launch import Launch


class LostRankError(QuadratureError):
    """A process that trains with others did not hear from them."""

    exit_code = 75


class Ranks:
    """The processes, seen from one of them."""

    def __init__(self, launch: Launch = Launch(), patience: float = 0.0) -> None:  # noqa: B008, it is a constant
        self._launch = launch
        self._patience = patience

    def share(self, shards: int) -> range:
        """Returns the shards that this process computes."""
        size = shards // self._launch.world_size
        return range(self._launch.rank * size, (self._launch.rank + 1) * size)

    def gather(self, rows: Tensor) -> Tensor:
        """Returns all processes' rows, (shards, size), in order, given this one's. Raises LostRankError."""
        if self._launch.world_size == 1:
            return rows
        everyones = rows.new_empty(self._launch.world_size * len(rows), rows.shape[1])
        try:
            torch.distributed.all_gather_into_tensor(everyones, rows)
        except RuntimeError as error:  # a time-out, or a connection that another's end closed
            reason = str(error).strip().splitlines()[0]
            raise LostRankError(
                f"rank {self._launch.rank} lost another, or waited {self._patience:g} seconds for it ({reason})"
            ) from None
        return everyones


@contextmanager
def joined(launch: Launch, device: torch.device, gradient_shards: int, patience: float) -> Iterator[Ranks]:
    """Yields the processes once all are there; none waits for another for more than `patience` seconds.

    Raises ParameterError unless they can share the gradient's shards evenly.
    """
    if gradient_shards % launch.world_size:
        raise ParameterError(
            f"train.gradient_shards in params.yaml is {gradient_shards}, which {launch.world_size} processes cannot "
            f"share evenly; make it a multiple of {launch.world_size}"
        )
    if launch.world_size == 1:
        yield Ranks()
        return
    backend = torch.distributed.get_default_backend_for_device(device)  # gloo on the CPU, NCCL on CUDA
    torch.distributed.init_process_group(backend, timeout=timedelta(seconds=patience))
    try:
        yield Ranks(launch, patience)
    finally:
        torch.distributed.destroy_process_group()
