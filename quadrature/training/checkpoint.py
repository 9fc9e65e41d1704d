"""A training's state on disk. An interrupted training resumes from it and ends with the same bytes.

DVC deletes a stage's outputs before the stage runs, and an experiment's whole folder after it. So the state is kept in
the user's cache, in `quadrature` there or in QUADRATURE_STATE_DIR. Each training has a folder, named by a digest of
everything that determines its result. A training resumes from the state in its folder, if there is one. The two newest
states are kept, each with its own digest, so that a damaged file costs time only.

    <cache>/<key>/lock                    held by the process that trains
    <cache>/<key>/step-000000000512       SHA-256 of the key and the rest of the file: tensors as safetensors
"""

import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import platformdirs
import safetensors.torch
import torch
from torch import Tensor

from quadrature.storage.files import write_bytes
from quadrature.storage.fingerprint import fingerprint

Tensors = Mapping[str, Tensor]
"""Tensors by name: on any device when saved, on the CPU when loaded."""

MAX_TOTAL_BYTES = 4 * 10**9
"""Bytes of all trainings' states together; above this, the states that were used least recently are deleted."""

MAX_AGE_SECONDS = 30 * 86400.0
"""Seconds after its last use at which a state is deleted."""

_DIGEST_BYTES = 32
_KEY = re.compile("[0-9a-f]{32}")
_FILE = re.compile(r"lock|step-[0-9]{12}|\.step-[0-9]{12}\.tmp")


_KERNELS = ("ATEN_", "DNNL_", "MKL_", "ONEDNN_")
"""How the names of variables begin by which torch, oneDNN and MKL choose their code."""


def training_key(**what: object) -> str:
    """Returns a name for a training: a digest of the arguments, the code in use, torch and what chooses its kernels."""
    kernels = {name: value for name, value in os.environ.items() if name.startswith(_KERNELS)}
    return fingerprint(torch=torch.__config__.show(), kernels=kernels, **what)


def state_folder() -> Path:
    """Returns the folder of all trainings' states."""
    return Path(os.environ.get("QUADRATURE_STATE_DIR") or platformdirs.user_cache_path("quadrature"))


class Checkpoints:
    """One training's states on disk."""

    def __init__(self, folder: Path, every: float) -> None:
        self._folder = folder
        self._every = every  # seconds
        self._saved_at = time.monotonic()

    def load(self) -> bytes:
        """Returns the newest undamaged state, for `unpack`; empty if there is none."""
        for path in self._paths():
            try:
                content = path.read_bytes()
            except OSError as error:
                logging.warning("%s: %s; ignored", path, error.strerror)
                continue
            packed = content[_DIGEST_BYTES:]
            if self._digest(packed) == content[:_DIGEST_BYTES]:
                return packed
            logging.warning("%s is damaged; ignored", path)
        return b""

    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved_at >= self._every

    def save(self, step: int, state: Tensors) -> None:
        """Writes a state and deletes all but the two newest. If the disk refuses, logs a warning."""
        self._saved_at = time.monotonic()
        packed = safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()})
        try:
            write_bytes(self._folder / f"step-{step:012}", self._digest(packed) + packed)
            for path in self._paths()[2:]:
                path.unlink()
        except OSError as error:
            logging.warning("%s: %s; this training cannot resume if it is interrupted", self._folder, error.strerror)

    def remove(self) -> None:
        """Deletes the states of a finished training."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _digest(self, packed: bytes) -> bytes:
        """Returns the digest that begins a state's file; it includes the training's key."""
        return hashlib.sha256(self._folder.name.encode() + packed).digest()

    def _paths(self) -> list[Path]:
        """Returns the files of the states, newest first."""
        return sorted(self._folder.glob("step-*"), reverse=True)


def unpack(packed: bytes) -> Tensors:
    """Returns the state, each tensor in its own memory: its alignment changes the last bits of MKL's sums."""
    return {name: tensor.clone() for name, tensor in safetensors.torch.load(packed).items()}


def prefixed(prefix: str, state: Tensors) -> dict[str, Tensor]:
    """Returns tensors with `prefix.` before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def within(prefix: str, state: Tensors) -> dict[str, Tensor]:
    """Inverse of `prefixed`: returns the tensors with that prefix, without it."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in state.items() if name.startswith(f"{prefix}.")}


@contextmanager
def checkpoints(key: str, every: float) -> Iterator[Checkpoints | None]:
    """Yields a training's states, due every `every` seconds; None if another process holds them or the disk refuses."""
    everyone = state_folder()
    lock = filelock.FileLock(everyone / key / "lock", timeout=0)
    try:
        for folder in (everyone, everyone / key):  # mkdir gives parents the default mode
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
    except filelock.Timeout:
        logging.warning(
            "another process trains the same network; this one starts from the beginning and saves no state"
        )
        yield None
        return
    except OSError as error:
        logging.warning("%s: %s; an interrupted training starts from the beginning", everyone, error.strerror)
        yield None
        return
    try:
        _clean(everyone, everyone / key)
        yield Checkpoints(everyone / key, every)
    finally:
        lock.release()


def _clean(everyone: Path, own: Path) -> None:
    """Deletes other trainings' states that are too old or take too much room, unless they are in use."""
    others = sorted(
        (_size_up(folder) for folder in everyone.iterdir() if folder != own and _is_ours(folder)), reverse=True
    )
    total = 0
    for touched, size, folder in others:
        total += size
        if total > MAX_TOTAL_BYTES or time.time() - touched > MAX_AGE_SECONDS:
            with suppress(OSError), filelock.FileLock(folder / "lock", timeout=0):  # Timeout is an OSError
                shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    """Whether a folder's name and all its files are those of a training."""
    with suppress(OSError):
        return bool(_KEY.fullmatch(folder.name)) and all(_FILE.fullmatch(path.name) for path in folder.iterdir())
    return False


def _size_up(folder: Path) -> tuple[float, int, Path]:
    """Returns when a training's folder was last used, and its bytes; other processes may delete files meanwhile."""
    found = []
    with suppress(OSError):
        found = [path.stat() for path in folder.iterdir()]
    return max((one.st_mtime for one in found), default=time.time()), sum(one.st_size for one in found), folder
