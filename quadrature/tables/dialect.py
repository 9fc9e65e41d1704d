"""How a CSV file writes its rows: what its user says of it, never what is guessed.

Where a file does not fit, a message ends with a hint: the option that its content suggests.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from quadrature.runtime.errors import ParameterError

DELIMITERS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
"""Frequent delimiters, each as --delimiter takes it in a shell."""

_COMMENTS = ("#", "%", "!", "//")
_PLAIN = "; save it as CSV with commas, decimal points and a line of column names, in UTF-8, or as parquet"
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Dialect:
    """The options for CSV. Raises ParameterError for options that no file can have, or that contradict each other."""

    header: bool = True  # whether the first line names the columns
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    comment: str | None = None  # how lines begin that hold no row
    is_fixed: bool = False  # whether the reader has no options: then a hint says how to write the file

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n\0':
            raise ParameterError(
                f"--delimiter is {self.delimiter!r}; give one ASCII character other than a quote, or tab"
            )
        if self.delimiter == self.decimal:
            raise ParameterError(f"--decimal {self.decimal} is the delimiter too; give --delimiter, such as ';' or tab")
        if self.comment is not None and (not self.comment.strip() or set(self.comment) & {*'"\r\n', self.delimiter}):
            raise ParameterError(
                f"--comment is {self.comment!r}; give the begin of a comment, such as '#', without delimiter or quote"
            )
        try:
            b"".decode(self.encoding)
            "".encode(self.encoding)
        except (LookupError, ValueError):
            raise ParameterError(
                f"--encoding {self.encoding} is not known to Python; give one such as latin-1, cp1252 or utf-16"
            ) from None

    def numbers(self, texts: pa.Array, kind: pa.DataType) -> pa.Array:
        """Returns texts as numbers of a type, blank texts as nulls. Raises pa.ArrowInvalid if one is not a number."""
        if self.decimal == ".":
            with suppress(pa.ArrowInvalid):
                return pc.cast(texts, kind)
        plain = pc.ascii_trim_whitespace(texts)
        if self.decimal != ".":  # a point is then no part of a number
            plain = pc.replace_substring(pc.replace_substring(plain, ".", "?"), self.decimal, ".")
        return pc.cast(pc.if_else(pc.equal(plain, ""), pa.scalar(None, plain.type), plain), kind)

    def hint(self, names: Sequence[str]) -> str:
        """Returns the option that the columns' names suggest, as the end of a message; mostly none."""
        return self.advise(self._hint(names))

    def hint_number(self, text: str, is_first: bool) -> str:
        """Returns the option that a text in place of a number suggests, as the end of a message; mostly none."""
        return self.advise(self._hint_number(text.strip(), is_first))

    def advise(self, hint: str) -> str:
        """Returns the end of a message: a hint at an option, or what to do where there are no options."""
        return _PLAIN if hint and self.is_fixed else hint

    def _hint(self, names: Sequence[str]) -> str:
        first = names[0] if names else ""
        if self.comment is None:
            for mark in _COMMENTS:
                if first.startswith(mark):
                    return f"; if lines that begin with {mark} are comments, give --comment '{mark}'"
        for delimiter, shown in DELIMITERS.items():
            if len(names) == 1 and delimiter in first and delimiter != self.delimiter:
                return f"; if {shown} separates its columns, give --delimiter {shown}"
        if self.header and names and all(_NUMBER.fullmatch(name) for name in names):
            return "; if its first line is a row, give --no-header"
        return ""

    def _hint_number(self, text: str, is_first: bool) -> str:
        if self.comment is None and text.startswith(_COMMENTS):
            return f"; if lines that begin with {text[0]} are comments, give --comment '{text[0]}'"
        if _NUMBER.fullmatch(text):  # and yet not a number: its decimal mark is the other one
            return "; if , is its decimal mark, give --decimal ," if "," in text else "; leave --decimal out"
        if is_first and not self.header:
            return "; if the first line names the columns, leave --no-header out"
        return "; if it stands for a missing sample, give --gaps" if text == "NA" else ""
