"""Turns what goes wrong in reading a table into a DataError of one line."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from quadrature.runtime.errors import DataError
from quadrature.runtime.system_errors import reraise_systems


@contextmanager
def refusing(label: str, kind: str) -> Iterator[None]:
    """Turns errors from reading into a DataError of one line."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{label} is missing") from None
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        reraise_systems(error, label)
        raise DataError(f"{label} is not a readable {kind} file ({error_text(error)})") from None


def check_names(label: str, names: Sequence[str], hint: str = "") -> None:
    """Raises DataError if two columns have one name."""
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{label} has two columns named {name}; rename one{hint}")


def error_text(error: Exception) -> str:
    """Returns an error's message in one line, without the path of a system error."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())
