"""How a stage knows its input from what a disk, a cache or a person has made of it: by a SHA-256 its writer left.

DVC trusts its cache, and what it has hashed once. So a parquet or safetensors file bears, in its metadata, the SHA-256
of itself, taken with zeros in the place of the digest. Text and pictures have no such place: those of a stage are
listed in data/digests/STAGE.sha256, as `sha256sum --check` takes them, and the list bears its own in a comment.
"""

import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from quadrature.runtime.errors import REMAKE, DataError
from quadrature.storage.files import replacing, reraise_systems

ZEROS = "0" * 64
"""What a writer puts where the digest is to stand, after the word sha256."""

_CHANGED = "it has changed since: its SHA-256 is another"

_PLACE = re.compile(rb"sha256[\\\":# ]{1,6}([0-9a-f]{64})")  # in JSON, in JSON within JSON, in a comment
_REACH = 2**16  # bytes from either end of a file that the place is looked for in
_PART = 2**20  # bytes read at a time


class Readable(Protocol):
    """What pyarrow's files and Python's have in common."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


def write(path: Path) -> None:
    """Writes a file's digest into the place that its writer left for it. Raises ValueError where there is none."""
    with path.open("r+b") as file:
        place = _find(file)
        digest = _compute(file, place)
        file.seek(place)
        file.write(digest.encode())


def check(file: Readable) -> None:
    """Reads a file to its end. Raises ValueError where it bears no digest, or another than its own."""
    place = _find(file)
    digest = _compute(file, place)
    file.seek(place)
    if file.read(len(digest)) != digest.encode():
        raise ValueError(_CHANGED)


def write_list(path: Path, files: Iterable[Path]) -> None:
    """Writes the digests of files, in the form of sha256sum."""
    lines = [f"# sha256 {ZEROS}, of this list", *(f"{_hash(file.read_bytes())}  {file}" for file in sorted(files))]
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        write(temporary)


class DigestList:
    """The files whose digests a list holds."""

    def __init__(self, path: Path) -> None:
        """Raises DataError, naming the list, where it is missing or has changed."""
        content = _read(path)
        try:
            check(io.BytesIO(content))
            lines = (line.split("  ", 1) for line in content.decode().splitlines()[1:])
            self._digests = {name: digest for digest, name in lines}
        except ValueError as error:
            raise DataError(f"{path} is no list of digests ({error}); {REMAKE}") from None
        self._path = path

    def read(self, path: Path) -> bytes:
        """Returns a file's content. Raises DataError, naming it, where it is missing, changed or not in the list."""
        content = _read(path)
        if str(path) not in self._digests:
            raise DataError(f"{path} is not listed in {self._path}; {REMAKE}")
        if _hash(content) != self._digests[str(path)]:
            raise DataError(f"{path} is not as it was written ({_CHANGED}); {REMAKE}")
        return content


def _find(file: Readable) -> int:
    """Returns where a file's digest stands: near its end in parquet, near its beginning elsewhere."""
    size = file.seek(0, io.SEEK_END)
    for start in (max(0, size - _REACH), 0):
        file.seek(start)
        if found := _PLACE.search(file.read(_REACH)):
            return start + found.start(1)
    raise ValueError("it bears no SHA-256")


def _compute(file: Readable, place: int) -> str:
    """Returns the digest of a file with zeros in the digest's place."""
    digest = hashlib.sha256()
    file.seek(0)
    left = place
    while part := file.read(min(_PART, left)):
        digest.update(part)
        left -= len(part)
    digest.update(ZEROS.encode())
    file.seek(place + len(ZEROS))
    while part := file.read(_PART):
        digest.update(part)
    return digest.hexdigest()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro` to make it") from None
    except OSError as error:
        reraise_systems(error, path)
        raise
