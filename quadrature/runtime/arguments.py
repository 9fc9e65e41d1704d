"""Number types for argparse, which say what they accept, and a parser that escapes what it quotes."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from quadrature.runtime.errors import printable


class Parser(argparse.ArgumentParser):
    """A parser of the command line whose errors are one line, with unprintable characters escaped."""

    def error(self, message: str) -> NoReturn:
        """Prints the error and exits with 2."""
        super().error(printable(message))


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
