"""Processes that train one network together, started by torchrun; a single process communicates with nobody.

Each process computes some of a batch's gradient parts and receives the others. All add the parts in the same order and
take the same step. So they hold the same weights, to the last bit those of a single process.
"""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from quadrature.runtime.errors import Interruption, ParameterError, QuadratureError
from quadrature.runtime.launch import Launch


class LostRankError(QuadratureError):
    """A process that trains with others lost contact with them."""

    exit_code = 75


class Ranks:
    """The group of processes, as one of them sees it."""

    def __init__(
        self,
        launch: Launch = Launch(),  # noqa: B008, it is a constant
        device: torch.device = torch.device("cpu"),  # noqa: B008, so is this
        patience: float = 0.0,
    ) -> None:
        self._launch = launch
        self._device = device
        self._patience = patience

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return self._launch.world_size

    @property
    def is_main_process(self) -> bool:
        """Whether this process logs, saves and writes for all."""
        return self._launch.rank == 0

    def own_parts(self, parts: int) -> range:
        """Returns the parts of a batch's gradient that this process computes."""
        size = parts // self._launch.world_size
        return range(self._launch.rank * size, (self._launch.rank + 1) * size)

    def gather(self, rows: Tensor) -> Tensor:
        """Returns all processes' rows, (parts, size), in order, given this process's. Raises LostRankError."""
        if self._launch.world_size == 1:
            return rows
        everyones = rows.new_empty(self._launch.world_size * len(rows), rows.shape[1])
        with self.translating():
            torch.distributed.all_gather_single(everyones, rows)
        return everyones

    def broadcast(self, message: bytes) -> bytes:
        """Returns the main process's message; the message of any other process is ignored. Raises LostRankError."""
        if self._launch.world_size == 1:
            return message
        with self.translating():
            length = torch.tensor(len(message), device=self._device)
            torch.distributed.broadcast(length, src=0)
            content = torch.zeros(int(length), dtype=torch.uint8)
            if self.is_main_process and message:
                content = torch.frombuffer(bytearray(message), dtype=torch.uint8)
            content = content.to(self._device)
            torch.distributed.broadcast(content, src=0)
        return content.cpu().numpy().tobytes()

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Turns the error that torch raises if another process is missing into a LostRankError."""
        try:
            yield
        except RuntimeError as error:  # a time-out, or a connection that another's end closed
            reason = str(error).strip().splitlines()[0]
            raise LostRankError(
                f"rank {self._launch.rank} lost another, or waited {self._patience:g} seconds for it ({reason})"
            ) from None


def start_processes(count: int, program: Sequence[str]) -> None:
    """Runs a Python program in `count` processes on this machine, as torchrun does, and waits for them.

    Raises SystemExit with the exit code of the first process that failed, which has logged why, and Interruption on a
    signal.
    """
    # Imported here: these import many modules that the processes themselves do not need.
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    os.environ.pop("DVC_STAGE", None)  # DVC runs this process, which runs the others
    handled = ["SIGTERM", "SIGINT"]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        handled.append("SIGHUP")
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, signals_to_handle=",".join(handled),
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)(*program)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        raise SystemExit(failure.exitcode if failure.exitcode > 0 else LostRankError.exit_code) from None
    except SignalException as error:
        raise Interruption(f"interrupted by {error.sigval.name}") from None


@contextmanager
def joined(launch: Launch, device: torch.device, gradient_shards: int, patience: float) -> Iterator[Ranks]:
    """Yields the group once all processes have joined; no process waits for another longer than `patience` seconds.

    Raises ParameterError unless world_size divides gradient_shards, and each process has a GPU if they train on GPUs.
    """
    if gradient_shards % launch.world_size:
        raise ParameterError(
            f"train.gradient_shards in params.yaml is {gradient_shards}, which {launch.world_size} processes cannot "
            f"share evenly; make it a multiple of {launch.world_size}"
        )
    if launch.world_size == 1:
        yield Ranks()
        return
    if device.type == "cuda" and launch.local_world_size > (found := torch.accelerator.device_count()):
        raise ParameterError(
            f"{launch.local_world_size} processes of a machine each need a GPU, but torch finds {found}; lower "
            "train.processes in params.yaml, or torchrun's --nproc-per-node"
        )
    ranks = Ranks(launch, device, patience)
    with ranks.translating():
        _meet(launch, device, timedelta(seconds=patience))
    try:
        yield ranks
    finally:
        torch.distributed.destroy_process_group()


def _meet(launch: Launch, device: torch.device, patience: timedelta) -> None:
    try:
        store, _, _ = next(rendezvous("env://", timeout=patience))
    except ValueError as error:  # a variable with the address of the others is missing
        raise ParameterError(f"{str(error).strip().splitlines()[0]}; start with torchrun, which sets all") from None
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun's store outlives the processes. Without a prefix, restarted processes would read the addresses of the
        # processes before them (github.com/pytorch/pytorch/issues/135712).
        store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
    backend = torch.distributed.get_default_backend_for_device(device)  # gloo on the CPU, NCCL on CUDA
    torch.distributed.init_process_group(
        backend, store=store, rank=launch.rank, world_size=launch.world_size, timeout=patience
    )
