"""Arguments that several commands share: number types that say what they accept, and a parser that escapes quotes."""

import argparse
import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from quadrature.runtime.errors import printable


class Parser(argparse.ArgumentParser):
    """A parser of the command line whose errors are one line, with unprintable characters escaped."""

    def error(self, message: str) -> NoReturn:
        """Prints the error, with the choice that was probably meant, and exits with 2."""
        if found := _INVALID_CHOICE.search(message):
            near = difflib.get_close_matches(found["given"], re.findall(r"[\w.-]+", found["choices"]), n=1)
            message += "".join(f"; did you mean {choice}?" for choice in near)
        super().error(printable(message))


_INVALID_CHOICE = re.compile(r"invalid choice: '(?P<given>.*)' \(choose from (?P<choices>.*)\)$")


def take_none(module: str, description: str | None) -> None:
    """Parses the command line of a module that has no arguments; `description` is its docstring."""
    Parser(prog=f"python -m {module}", description=(description or "").partition("\n")[0]).parse_args()


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declares --model, the network's file."""
    parser.add_argument(
        "-m", "--model", type=Path, required=True, metavar="FILE", help="the network, such as models/model.safetensors"
    )


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Returns an argparse type: a whole number from lowest to highest."""

    def convert(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text[:20]) <= highest:
            raise argparse.ArgumentTypeError(
                f"{' '.join(text.split())} is not a whole number from {lowest:,} to {highest:,}"
            )
        return int(text)

    return convert


def seconds(text: str) -> float:
    """An argparse type: a number of seconds from 0 to 1,000,000."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{' '.join(text.split())} is not a number of seconds from 0 to 1,000,000")
    return value


def hertz(text: str) -> float:
    """An argparse type: a number of samples a second, from 1e-12 to 1e12, so that float32 holds every frequency."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1e-12 <= value <= 1e12:
        shown = " ".join(text.split())
        raise argparse.ArgumentTypeError(f"{shown} is not a number of samples a second from 1e-12 to 1e12")
    return value
