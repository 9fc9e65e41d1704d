"""metrics/history.csv: how the errors fell while the network was trained, for plots, `dvc plots` and people."""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from quadrature.runtime.errors import DataError
from quadrature.storage.digest import DigestList
from quadrature.storage.files import write_bytes


class Record(NamedTuple):
    """A row: where training stood, and the mean squared errors there."""

    epoch: float  # epochs done; a whole number at the end of each
    step: int  # optimizer steps done
    learning_rate: float  # of the last step
    train_mse: float  # over the steps since the record before, each before its update
    validation_mse: float


def write_history(path: Path, records: Iterable[Record]) -> None:
    """Writes a header and a line for each record, each float in its shortest exact spelling."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Record._fields)
    writer.writerows(records)
    write_bytes(path, text.getvalue().encode())


def read_history(path: Path, digests: DigestList) -> list[Record]:
    """Returns the records. Raises DataError when the file is missing, changed or not as write_history leaves it."""
    try:
        header, *rows = csv.reader(digests.read(path).decode().splitlines())
        if tuple(header) != Record._fields or not rows:
            raise ValueError(f"expected the columns {', '.join(Record._fields)} and a row for each record")
        records = [Record(float(epoch), int(step), *map(float, others)) for epoch, step, *others in rows]
        if not all(math.isfinite(number) for record in records for number in record):
            raise ValueError("not every number is finite")
    except (ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is no training history ({error}); run `dvc repro train` to make it again") from None
    return records
