"""The text of a CSV file as a stream of UTF-8: unpacked, decoded, without comments and without blank lines at the end.

The file is read a part at a time. What does not fit raises ValueError, with the option to give.
"""

import codecs
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa

from quadrature.tables.dialect import Dialect

_PART = 2**20  # bytes read at once, and the longest line beside comments
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
_SIGNATURES = {
    b"\x1f\x8b": "a gzip file; let its name end in .csv.gz, or unpack it",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; let its name end in .csv.zst, or unpack it",
    b"PK\x03\x04": "a spreadsheet or a zip file; export it as CSV, or unpack it",
}
_CLOSING = re.compile(rb'[^"]*(?:""[^"]*)*"(?!")')
"""The rest of a quoted field: a quote in it is doubled."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def compression_of(name: str) -> str | None:
    """Returns the compression that a file's name tells, as pyarrow calls it."""
    return next((kind for suffix, kind in _COMPRESSIONS.items() if name.lower().endswith(suffix)), None)


class TextStream:
    """A binary file, as pyarrow reads one, of an iterator's parts."""

    closed = False

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._left = b""

    def read(self, size: int) -> bytes:
        """Returns the next `size` bytes, fewer at the end only: pyarrow takes what it gets for a block of lines."""
        found, missing = [self._left], size - len(self._left)
        while missing > 0 and (part := next(self._parts, None)) is not None:
            found.append(part)
            missing -= len(part)
        content = b"".join(found)
        self._left = content[size:]
        return content[:size]


def open_text(path: Path, dialect: Dialect) -> TextStream:
    """Opens a CSV file."""
    parts = _decode(_read(path), dialect)
    if dialect.comment is not None:
        parts = _drop_comments(parts, dialect.comment.encode(), dialect.delimiter.encode())
    blanks = b" \t\r\n".replace(dialect.delimiter.encode(), b"")
    return TextStream(_drop_blank_end(parts, blanks))


def _read(path: Path) -> Iterator[bytes]:
    compression = compression_of(path.name)
    with path.open("rb") as file:
        stream = file if compression is None else pa.CompressedInputStream(file, compression)
        while part := stream.read(_PART):
            yield part


def _decode(parts: Iterator[bytes], dialect: Dialect) -> Iterator[bytes]:
    """Yields UTF-8 without a byte order mark."""
    encoding = dialect.encoding
    decoder = codecs.getincrementaldecoder(encoding)()
    is_utf8, line, is_first = codecs.lookup(encoding).name == "utf-8", 1, True
    while True:
        part = next(parts, b"")
        if is_first:
            _check_signature(part, is_utf8, dialect)
        try:
            text = decoder.decode(part, final=not part)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            byte, other = error.object[error.start], "latin-1" if is_utf8 else "utf-8"
            advice = dialect.advise(f"; give --encoding, such as {other}")
            raise ValueError(f"line {line} holds the byte 0x{byte:02x}, which is not {encoding}{advice}") from None
        except UnicodeError:  # no byte order mark, for example
            raise ValueError(f"it is not {encoding}{dialect.advise('; give --encoding, such as utf-8')}") from None
        line += text.count("\n")
        content = part if is_utf8 and part.isascii() else text.encode()
        yield content.removeprefix(codecs.BOM_UTF8) if is_first else content
        is_first = is_first and not content
        if not part:
            return


def _check_signature(begin: bytes, is_utf8: bool, dialect: Dialect) -> None:
    for signature, advice in _SIGNATURES.items():
        if begin.startswith(signature):
            raise ValueError(f"it begins as {advice}")
    if begin[:4] == b"RIFF" and begin[8:12] == b"WAVE":
        raise ValueError("it begins as a WAV file; let its name end in .wav")
    if is_utf8 and begin.startswith(_UTF16):
        raise ValueError(f"it begins as UTF-16 does{dialect.advise('; give --encoding utf-16')}")


def _drop_comments(parts: Iterator[bytes], comment: bytes, delimiter: bytes) -> Iterator[bytes]:
    """Drops the lines that begin with `comment`, after blanks, except inside quotes."""
    opening = re.compile(rb'(?:^|%s)"' % re.escape(delimiter))
    rest, is_quoted = b"", False
    for part in chain(parts, [None]):
        lines = (rest + (part or b"")).splitlines(keepends=True)
        rest = lines.pop() if part is not None and lines and not lines[-1].endswith(b"\n") else b""
        kept = []
        for line in lines:
            if is_quoted or not line.lstrip(b" \t").startswith(comment):
                kept.append(line)
                is_quoted = _ends_quoted(line, opening, is_quoted)
        yield b"".join(kept)
        if len(rest) > _PART:
            raise ValueError(f"a line is longer than {_PART:,} characters")


def _ends_quoted(line: bytes, opening: re.Pattern[bytes], is_quoted: bool) -> bool:
    """Whether a quoted field goes on after a line. As for pyarrow, a quote opens one only where a field begins."""
    position = 0
    while found := _CLOSING.match(line, position) if is_quoted else opening.search(line, position):
        position, is_quoted = found.end(), not is_quoted
    return is_quoted


def _drop_blank_end(parts: Iterator[bytes], blanks: bytes) -> Iterator[bytes]:
    """Drops blank lines at the end, up to a part of them, and ends the last line; anywhere else they are rows."""
    tail = b""
    for part in parts:
        body = part.rstrip(blanks)
        if body and tail:
            yield tail
            tail = b""
        yield body
        tail += part[len(body) :]
        if len(tail) > _PART:
            yield tail
            tail = b""
    yield (tail.splitlines() or [b""])[0] + b"\n"
