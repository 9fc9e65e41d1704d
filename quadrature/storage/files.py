"""Files written whole or not at all, and JSON with one spelling for each value."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` and moves the file written there to `path` when the block ends well.

    However the block ends, the temporary file is gone; until it ends well, `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name is the same every time, so what a killed process left is replaced by the next one.
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # were it a link, what is written would go where it leads
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def move_into(folder: Path, paths: Iterable[Path]) -> None:
    """Moves files into a folder of the same disk, where they stay though the power fails."""
    for path in paths:
        path.replace(folder / path.name)
    _sync(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Writes JSON for people and `dvc metrics`: indented, keys as given. Raises ValueError on NaN or infinity."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def reraise_systems(error: Exception, path: Path | str) -> None:
    """Raises an error that is the system's again, with the file's name, which reads and some libraries leave out.

    What a library says of a file's content may be an OSError as well, but has no number; a folder has no content.
    """
    if isinstance(error, OSError) and error.errno and not isinstance(error, IsADirectoryError):
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None


def canonical_json(value: object) -> str:
    """Returns the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
