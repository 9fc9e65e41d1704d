"""metrics/history.csv: the errors in the course of training, for plots, `dvc plots` and people."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quadrature.runtime.errors import DataError
from quadrature.storage.digest import DigestList
from quadrature.storage.files import write_bytes


class Record(NamedTuple):
    """A row: the position in training, and the mean squared errors there."""

    epoch: float  # epochs done; an integer at the end of an epoch
    step: int  # optimizer steps done
    learning_rate: float  # of the last step
    train_mse: float  # over the steps since the previous record, each before its update
    validation_mse: float


class History(NamedTuple):
    """The records of a training."""

    records: Sequence[Record]
    train_target: str
    """The kind of target that train_mse is measured against: posterior_mean | clean. validation_mse's is clean."""


_COLUMNS = (*Record._fields, "train_target")


def write_history(path: Path, history: History) -> None:
    """Writes a header and a line per record, each float in its shortest exact form."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((*record, history.train_target) for record in history.records)
    write_bytes(path, text.getvalue().encode())


def read_history(path: Path, digests: DigestList) -> History:
    """Returns the history. Raises DataError if the file is missing, changed or not in the form of write_history."""
    try:
        header, *rows = csv.reader(digests.read(path).decode().splitlines())
        if tuple(header) != _COLUMNS or not rows:
            raise ValueError(f"expected the columns {', '.join(_COLUMNS)} and at least one row")
        records = [Record(float(epoch), int(step), *map(float, others)) for epoch, step, *others, _ in rows]
        if not all(math.isfinite(number) for record in records for number in record):
            raise ValueError("a number is not finite")
    except (ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is not a training history ({error}); run `dvc repro train` to make it again") from None
    return History(records, rows[0][-1])
