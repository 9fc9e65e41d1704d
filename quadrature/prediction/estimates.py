"""Estimates the quadrature component for a table of windows or of a long signal, in memory of constant size.

The table is read a slab at a time. While torch computes a slab, one thread reads the next and another writes the one
before. Both threads release Python's lock nearly all the time.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from quadrature.network.model import QuadratureNetwork, predict
from quadrature.prediction.columns import (
    OUTPUTS,
    Read,
    Spread,
    as_column,
    carried_names,
    has_lists,
    signal_reader,
    window_reader,
)
from quadrature.prediction.metadata import output_metadata
from quadrature.prediction.overlap import Overlap, ShortSignalError
from quadrature.prediction.table_writer import TableWriter
from quadrature.prediction.tables import Format, Table
from quadrature.runtime.errors import DataError
from quadrature.runtime.threads import prefetch
from quadrature.storage.places import Place, replacing

Array = NDArray[np.float32]

_SLAB_VALUES = 2**18  # samples read at a time, unless a batch has more
_PI = np.float32(np.pi)


class Slab(NamedTuple):
    """Rows of a table, the number of rows before them, and their samples: (count, length), or (count,) of a signal."""

    first: int
    rows: pa.Table
    samples: Array


class Estimates(NamedTuple):
    """Rows of a table, the number of rows before them, their samples, and the network's estimates, shaped alike."""

    first: int
    rows: pa.Table
    input: Array
    prediction: Array


class Output(NamedTuple):
    """The file to write estimates to."""

    place: Place
    format: Format
    label: str  # its name in messages
    progress: bool = True  # whether to show it on a terminal


def predict_windows(network: QuadratureNetwork, table: Table, output: Output, batch_size: int) -> None:
    """Writes a copy of a table of windows, with an estimate for each.

    The estimates equal those of quadrature.network.model.predict for all the table's windows at once. Raises DataError.
    """
    length = network.window_length
    read = window_reader(table, length)
    names = carried_names(table, [*OUTPUTS, *(f"{name}_{position}" for name in OUTPUTS for position in range(length))])
    slabs = _slabs(table, read, _slab_windows(network, batch_size))
    estimates = (Estimates(*slab, predict(network, slab.samples, batch_size)) for slab in slabs)
    _write(estimates, table, names, output, numbered=not has_lists(table))


def predict_signal(
    network: QuadratureNetwork, table: Table, output: Output, batch_size: int, column: str, hop: int
) -> None:
    """Writes a copy of a table of a signal, a sample a row, with an estimate for each.

    The estimate is the mean over the windows that hold the sample, one window every `hop` samples:
    quadrature.prediction.overlap. Raises DataError, also if the signal is shorter than a window.
    """
    read = signal_reader(table, column)
    names = carried_names(table, OUTPUTS)
    slabs = _slabs(table, read, _slab_windows(network, batch_size) * hop)
    try:
        _write(_follow(network, slabs, batch_size, hop), table, names, output, numbered=False)
    except ShortSignalError as error:
        raise DataError(f"{table.label} holds {error}") from None


def _slab_windows(network: QuadratureNetwork, batch_size: int) -> int:
    """Returns a multiple of the batch size, so that the batches, and all bits, are those of all windows at once."""
    return batch_size * max(1, _SLAB_VALUES // (batch_size * network.window_length))


def _slabs(table: Table, read: Read, size: int) -> Iterator[Slab]:
    """Yields a table's slabs. Reads the next one while the current one is used."""
    return prefetch(Slab(first, rows, read(first, rows)) for first, rows in table.slabs(size))


def _follow(network: QuadratureNetwork, slabs: Iterator[Slab], batch_size: int, hop: int) -> Iterator[Estimates]:
    """Yields a signal's rows with their estimates, once no later window can change them."""
    overlap = Overlap(network.window_length, hop)
    first, waiting = 0, list[pa.Table]()
    for slab in chain(slabs, [None]):
        if slab is None:
            overlap.end()
        else:
            waiting.append(slab.rows)
            overlap.push(slab.samples)
        windows = overlap.take(batch_size)
        if len(windows):
            overlap.put(predict(network, windows, batch_size))
        samples, prediction = overlap.pop()
        rows = pa.concat_tables(waiting)
        yield Estimates(first, rows.slice(0, len(samples)), samples, prediction)
        first, waiting = first + len(samples), [rows.slice(len(samples))]


def _write(estimates: Iterator[Estimates], table: Table, names: Sequence[str], output: Output, numbered: bool) -> None:
    """Writes the file, completely or not at all. `names` are the new names of the table's columns."""
    spread = Spread(table)

    def write(part: Estimates) -> None:
        added = pa.table({name: as_column(values) for name, values in _derive(part, table).items()})
        if numbered and output.format == "parquet":
            added = spread(part.first, added)
        rows = part.rows.rename_columns(names)
        for name in added.column_names:
            rows = rows.append_column(name, added.column(name))
        if output.format == "csv":
            rows = spread(part.first, rows)
        elif part.first == 0:  # the writer takes it from the first rows
            renamed = dict(zip(table.schema.names, names, strict=True))
            rows = rows.replace_schema_metadata(output_metadata(part.rows.schema, renamed, added.schema))
        writer.write(rows)

    with (
        replacing(output.place) as temporary,
        temporary.open("wb") as file,
        closing(TableWriter(file, output.format, output.label)) as writer,
        ThreadPoolExecutor(1) as thread,
        tqdm(total=table.rows, unit=" rows", unit_scale=True, disable=None if output.progress else True) as bar,
    ):
        writing: Future[None] = thread.submit(lambda: None)
        for part in estimates:
            writing.result()
            if len(part.rows):
                writing = thread.submit(write, part)
            bar.update(len(part.rows))
        writing.result()


def _derive(part: Estimates, table: Table) -> dict[str, Array]:
    """Returns the values of the added columns. Raises DataError if one is not finite."""
    sine, cosine = part.input, part.prediction
    with np.errstate(over="ignore", invalid="ignore"):
        amplitude = np.hypot(sine, cosine)
    if not np.isfinite(amplitude).all():
        row = int(np.argwhere(~np.isfinite(amplitude))[0, 0])
        place = table.place(part.first + row)
        raise DataError(f"{place}: the estimate is not finite; scale the samples to the size of those in training")
    phase = np.arctan2(sine, cosine)
    phase[phase == -_PI] = _PI  # for a sine of -0.0 or a tiny negative one: the same angle, inside (-pi, pi]
    return dict(zip(OUTPUTS, (cosine, amplitude, phase), strict=True))
