"""SHA-256 digests, by which a stage notices that an input has changed since it was written.

DVC trusts its cache and the files it has hashed once. So each parquet or safetensors file holds its own SHA-256 in its
metadata, computed with zeros in the digest's place. Text and pictures have no such place: data/digests/STAGE.sha256
lists the digests of a stage's files, in the format of `sha256sum --check`, and holds its own digest in a comment.
"""

import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from quadrature.runtime.errors import REMAKE, DataError
from quadrature.runtime.system_errors import refuse_special, reraise_systems
from quadrature.storage.files import replacing

ZEROS = "0" * 64
"""A placeholder that a writer puts after the word sha256; `write` replaces it."""

_CHANGED = "its SHA-256 has changed since it was written"

_PLACE = re.compile(rb"sha256[\\\":# ]{1,6}([0-9a-f]{64})")  # in JSON, in JSON within JSON, in a comment
_REACH = 2**16  # bytes at either end of a file that are searched for the digest
_PART = 2**20  # bytes read at a time


class Readable(Protocol):
    """The methods that pyarrow's and Python's files share."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


def write(path: Path) -> None:
    """Replaces a file's placeholder by its digest. Raises ValueError if there is no placeholder."""
    with path.open("r+b") as file:
        place = _find(file)
        digest = _compute(file, place)
        file.seek(place)
        file.write(digest.encode())


def check(file: Readable) -> None:
    """Reads a file to its end. Raises ValueError if it holds no digest or a wrong one."""
    place = _find(file)
    digest = _compute(file, place)
    file.seek(place)
    if file.read(len(digest)) != digest.encode():
        raise ValueError(_CHANGED)


def write_list(path: Path, files: Iterable[Path]) -> None:
    """Writes the digests of files, in the format of sha256sum."""
    lines = [f"# sha256 {ZEROS}, of this list", *(f"{_hash(file.read_bytes())}  {file}" for file in sorted(files))]
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        write(temporary)


class DigestList:
    """A list of files and their digests."""

    def __init__(self, path: Path) -> None:
        """Reads the list at `path`. Raises DataError if it is missing or has changed."""
        content = _read(path)
        try:
            check(io.BytesIO(content))
            lines = (line.split("  ", 1) for line in content.decode().splitlines()[1:])
            self._digests = {name: digest for digest, name in lines}
        except ValueError as error:
            raise DataError(f"{path} is not a list of digests ({error}); {REMAKE}") from None
        self._path = path

    def __contains__(self, path: Path) -> bool:
        """Whether a file is listed."""
        return str(path) in self._digests

    def read(self, path: Path) -> bytes:
        """Returns a file's content. Raises DataError, naming the file, if it is missing, changed or not listed."""
        content = _read(path)
        if path not in self:
            raise DataError(f"{path} is not listed in {self._path}; {REMAKE}")
        if _hash(content) != self._digests[str(path)]:
            raise DataError(f"{path} is damaged ({_CHANGED}); {REMAKE}")
        return content


def _find(file: Readable) -> int:
    """Returns the position of a file's digest: near the end in parquet, near the beginning in other files."""
    size = file.seek(0, io.SEEK_END)
    for start in (max(0, size - _REACH), 0):
        file.seek(start)
        if found := _PLACE.search(file.read(_REACH)):
            return start + found.start(1)
    raise ValueError("it holds no SHA-256")


def _compute(file: Readable, place: int) -> str:
    """Returns the digest of a file, with zeros in the digest's place."""
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
    refuse_special(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro` to make it") from None
    except OSError as error:
        reraise_systems(error, path)
        raise
