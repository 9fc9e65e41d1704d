"""The rank of this process among those that torchrun started, and its part of the work. Does not import torch."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from quadrature.runtime.errors import ParameterError

_REMEDY = "start with torchrun, which sets both, or unset both"


class Launch(NamedTuple):
    """A process's rank among all processes started together, and among those on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def cores(self) -> int:
        """The number of cores for this process, if the processes on a machine share its cores evenly."""
        affinity = getattr(os, "sched_getaffinity", None)  # macOS lacks it
        available = len(affinity(0)) if affinity else os.cpu_count() or 1
        return max(1, available // self.local_world_size)

    def own_items(self, items: range) -> range:
        """Returns every world_size-th item, beginning with the rank-th: each item goes to exactly one rank."""
        return items[self.rank :: self.world_size]


def read_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Reads RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE as torchrun sets them; without them, a single process.

    Raises ParameterError if they contradict each other.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return Launch()
    rank, world_size = _read_pair(environment, "RANK", "WORLD_SIZE")
    if "LOCAL_RANK" not in environment and "LOCAL_WORLD_SIZE" not in environment:
        return Launch(rank, world_size)  # some clusters start one process per machine
    local_rank, local_world_size = _read_pair(environment, "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if local_world_size > world_size:
        raise ParameterError(f"LOCAL_WORLD_SIZE is {local_world_size}, more than WORLD_SIZE, {world_size}; {_REMEDY}")
    return Launch(rank, world_size, local_rank, local_world_size)


def _read_pair(environment: Mapping[str, str], rank: str, size: str) -> tuple[int, int]:
    for name, other in ((rank, size), (size, rank)):
        text = environment.get(name)
        if text is None:
            raise ParameterError(f"{other} is set, but {name} is not; {_REMEDY}")
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise ParameterError(f"{name} is {text!r}, which is not a whole number from 0; {_REMEDY}")
    if int(environment[rank]) >= int(environment[size]):
        raise ParameterError(f"{rank} is {environment[rank]}, not below {size}, {environment[size]}; {_REMEDY}")
    return int(environment[rank]), int(environment[size])
