"""A training's state on disk, so that one that was interrupted goes on where it was, to the same bytes.

DVC deletes a stage's outputs before it runs, and an experiment's whole folder after it, so the state lies in the
user's cache, `quadrature` there or QUADRATURE_STATE_DIR: a folder for each training, named by a digest of all that
determines its result. A training that finds its state goes on from it; any other begins anew. The two newest states
are kept, each with a digest of its own, so that whatever befalls a file, no more is lost than time.

    <cache>/<key>/lock                    held by the process that trains
    <cache>/<key>/step-000000000512       SHA-256 of the key and what follows: tensors as safetensors
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
"""Tensors by name: of a device when they are saved, on the CPU when they are loaded."""

MAX_TOTAL_BYTES = 4 * 10**9
"""Bytes of all trainings' states together; beyond, the longest untouched go first."""

MAX_AGE_SECONDS = 30 * 86400.0
"""Seconds that a state is kept untouched."""

_DIGEST_BYTES = 32
_KEY = re.compile("[0-9a-f]{32}")
_FILE = re.compile(r"lock|step-[0-9]{12}|\.step-[0-9]{12}\.tmp")


def training_key(**what: object) -> str:
    """Returns a name for a training: a digest of what is given, of the code in use, of torch and of the processor."""
    return fingerprint(torch=torch.__version__, cpu=torch.backends.cpu.get_cpu_capability(), **what)


def state_folder() -> Path:
    """Returns where the states of all trainings lie."""
    return Path(os.environ.get("QUADRATURE_STATE_DIR") or platformdirs.user_cache_path("quadrature"))


class Checkpoints:
    """One training's states on disk."""

    def __init__(self, folder: Path, every: float) -> None:
        self._folder = folder
        self._every = every  # seconds
        self._saved_at = time.monotonic()

    def load(self) -> bytes:
        """Returns the newest state that is whole, for `unpack`; nothing if there is none."""
        for path in self._paths():
            try:
                content = path.read_bytes()
            except OSError:
                content = b""
            packed = content[_DIGEST_BYTES:]
            if self._digest(packed) == content[:_DIGEST_BYTES]:
                return packed
            logging.warning("%s is damaged; passed over", path)
        return b""

    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved_at >= self._every

    def save(self, step: int, state: Tensors) -> None:
        """Writes a state, and removes those before the last but one. A disk that refuses is told of, no more."""
        self._saved_at = time.monotonic()
        packed = safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()})
        try:
            write_bytes(self._folder / f"step-{step:012}", self._digest(packed) + packed)
            for path in self._paths()[2:]:
                path.unlink()
        except OSError as error:
            logging.warning(
                "%s: %s; this training could not go on if it were interrupted", self._folder, error.strerror
            )

    def remove(self) -> None:
        """Removes what is no longer needed, as the training is done."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _digest(self, packed: bytes) -> bytes:
        """Returns what a state's file begins with; another training's would not do."""
        return hashlib.sha256(self._folder.name.encode() + packed).digest()

    def _paths(self) -> list[Path]:
        """Returns the states' files, the newest first."""
        return sorted(self._folder.glob("step-*"), reverse=True)


def unpack(packed: bytes) -> Tensors:
    """Returns the state, each tensor in memory of its own: where it lies alters the last bits of MKL's sums."""
    return {name: tensor.clone() for name, tensor in safetensors.torch.load(packed).items()}


def prefixed(prefix: str, state: Tensors) -> dict[str, Tensor]:
    """Returns a part's tensors as they are named in the whole."""
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def within(prefix: str, state: Tensors) -> dict[str, Tensor]:
    """Returns a part's tensors, named as `prefixed` was given them."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in state.items() if name.startswith(f"{prefix}.")}


@contextmanager
def checkpoints(key: str, every: float) -> Iterator[Checkpoints | None]:
    """Yields a training's states, saved every so many seconds; None if another process has them or no disk does."""
    everyone = state_folder()
    lock = filelock.FileLock(everyone / key / "lock", timeout=0)
    try:
        for folder in (everyone, everyone / key):  # what mkdir makes on the way has not the mode
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
    except filelock.Timeout:
        logging.warning("another process trains the same network; this one begins anew and keeps no state")
        yield None
        return
    except OSError as error:
        logging.warning("%s: %s; an interrupted training begins anew", everyone, error.strerror)
        yield None
        return
    try:
        _clean(everyone, everyone / key)
        yield Checkpoints(everyone / key, every)
    finally:
        lock.release()


def _clean(everyone: Path, own: Path) -> None:
    """Removes other trainings' states that are too old or too much; none that is in use, nor anything else there."""
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
    """Whether a folder is a training's by its name and by all that it holds."""
    with suppress(OSError):
        return bool(_KEY.fullmatch(folder.name)) and all(_FILE.fullmatch(path.name) for path in folder.iterdir())
    return False


def _size_up(folder: Path) -> tuple[float, int, Path]:
    """Returns when a training's folder was last touched, and its bytes; other processes may remove some meanwhile."""
    found = []
    with suppress(OSError):
        found = [path.stat() for path in folder.iterdir()]
    return max((one.st_mtime for one in found), default=time.time()), sum(one.st_size for one in found), folder
