"""Guards a stage that DVC runs against changes of its parameters, code or inputs while it runs.

DVC reads these again after the stage has ended, and records them beside the outputs. If one was edited meanwhile,
dvc.lock would call outputs fresh that an earlier version made, and DVC's run cache would serve them later.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import yaml

from quadrature.runtime.errors import ParameterError, QuadratureError
from quadrature.runtime.settings import flatten

_CONTENT_BYTES = 2**20  # of a file whose content is compared; of a larger one, size and time of change


class ChangedInputsError(QuadratureError):
    """Parameters, code or inputs of a stage changed while it ran."""

    exit_code = 75


class Inputs:
    """The parameters, code and inputs that dvc.yaml declares for a stage, as they are at its start."""

    def __init__(self, stage: Mapping[str, object]) -> None:
        self._stage = stage
        self._ignored = _ignored_names()
        self._before = self._read()

    def check(self) -> None:
        """Raises ChangedInputsError if any of them has changed; deletes the stage's outputs first."""
        now = self._read()
        changed = sorted(name for name in {*now, *self._before} if now.get(name) != self._before.get(name))
        if not changed:
            return
        for path in _paths(self._stage, ("outs", "metrics", "plots")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise ChangedInputsError(
            f"{', '.join(changed[:3])}{more} changed while this stage ran; its outputs are deleted: run it again"
        )

    def _read(self) -> dict[str, object]:
        found: dict[str, object] = dict(_parameters(self._stage))
        for path in _paths(self._stage, ("deps",)):
            for file in path.rglob("*") if path.is_dir() else [path]:
                if file.is_file() and not any(fnmatch(part, name) for part in file.parts for name in self._ignored):
                    found[str(file)] = _state(file)
        return found


def watch_inputs() -> Inputs | None:
    """Returns the inputs of the stage that DVC runs in this process; None if DVC runs none, or none of this dvc.yaml.

    Raises ParameterError if the process is one of several: DVC would record its part of the outputs as the whole.
    """
    name = os.environ.get("DVC_STAGE")
    if name is None:
        return None
    for variable in ("RANK", "WORLD_SIZE"):
        if variable in os.environ:
            raise ParameterError(
                f"{variable} is set, so this process would do only a part, which DVC would record as the whole; "
                "unset RANK and WORLD_SIZE (train.processes in params.yaml starts several)"
            )
    stage = _section(_load(Path("dvc.yaml")), "stages", name)
    return Inputs(stage) if isinstance(stage, dict) else None


def _ignored_names() -> list[str]:
    """Returns the patterns in .dvcignore; DVC records no file of such a name."""
    try:
        lines = Path(".dvcignore").read_text().splitlines()
    except (OSError, ValueError):
        return []
    return [line for line in lines if not line.startswith("#")]


def _load(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_bytes()) if path.is_file() else None
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None  # the reader that needs the file reports the mistake


def _section(tree: object, *names: str) -> object:
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _paths(stage: Mapping[str, object], kinds: Iterable[str]) -> Iterator[Path]:
    """Yields the paths in lists of dvc.yaml, whose entries are a path, or a path with options."""
    for kind in kinds:
        entries = stage.get(kind)
        for entry in entries if isinstance(entries, list) else []:
            yield Path(next(iter(entry)) if isinstance(entry, dict) else str(entry))


def _parameters(stage: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yields the declared parameters of params.yaml, by dotted name."""
    tree = _load(Path("params.yaml"))
    entries = stage.get("params")
    for name in entries if isinstance(entries, list) else []:
        if isinstance(name, str):
            yield from ((key, repr(value)) for key, value in flatten({name: _section(tree, *name.split("."))}).items())


def _state(file: Path) -> object:
    """Returns what changes with a file: a digest of its content, or for a large file its size and time of change."""
    try:
        found = file.stat()
        if found.st_size > _CONTENT_BYTES:
            return found.st_size, found.st_mtime_ns
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None  # deleted meanwhile
