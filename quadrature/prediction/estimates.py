"""Estimates the analytic signal for a table of windows or of a long signal, in memory of constant size.

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

from quadrature.network.model import QuadratureNetwork, analytic_signal, predict
from quadrature.prediction.added_columns import HERTZ, OUTPUTS, Channel, Spread, carried_names, derive
from quadrature.prediction.derived import Held, as_complex, frequency
from quadrature.prediction.gaps import Filler, are_full, fill
from quadrature.prediction.likeness import Likeness
from quadrature.prediction.metadata import output_metadata
from quadrature.prediction.overlap import At, Overlap, ShortSignalError
from quadrature.prediction.table_writer import TableWriter, compressed
from quadrature.prediction.times import EvenTimes
from quadrature.runtime.errors import DataError
from quadrature.runtime.threads import prefetch
from quadrature.storage.places import Place, replacing
from quadrature.tables.columns import Gaps, Read, has_lists, signal_reader, window_reader
from quadrature.tables.csv_text import compression_of
from quadrature.tables.table import Format, Table

Array = NDArray[np.float32]

_SLAB_VALUES = 2**18  # samples read at a time, unless a batch has more


class Estimator:
    """A network, with the number of windows in a forward pass."""

    def __init__(self, network: QuadratureNetwork, batch_size: int) -> None:
        self._network = network
        self.batch_size = batch_size
        self.length = network.window_length
        self._likeness: dict[str, Likeness] = {}  # by channel

    @property
    def slab_windows(self) -> int:
        """Windows to read at a time: whole batches, so that these, and all bits, are those of all windows at once."""
        return self.batch_size * max(1, _SLAB_VALUES // (self.batch_size * self.length))

    def warnings(self) -> Iterator[str]:
        """Yields a sentence for each channel that was unlike the signal in training."""
        for channel, likeness in self._likeness.items():
            if (words := likeness.describe()) is not None:
                yield f"channel {channel}: {words}" if channel else words

    def __call__(self, windows: Array, channel: str = "") -> Array:
        """Returns the analytic signal of windows of a channel, (count, 2, length).

        That of windows with gaps means nothing, and changes no other's bits.
        """
        full = are_full(windows)
        filled = windows if full.all() else np.nan_to_num(windows, nan=0.0)
        estimates = predict(self._network, filled, self.batch_size)
        signal: Array = analytic_signal(filled, estimates).astype(np.float32, copy=False)
        usual = full & np.isfinite(signal).all(axis=(1, 2))
        likeness = self._likeness.setdefault(channel, Likeness(self._network.ranges))
        likeness.add(windows[usual], signal[usual])
        return signal


class Slab(NamedTuple):
    """Rows of a table, the number of rows before them, and the samples of each channel: (count, length), or (count,)
    of a signal."""

    first: int
    rows: pa.Table
    channels: Sequence[Array]


class Estimates(NamedTuple):
    """Rows of a table, the number of rows before them, and their estimates."""

    first: int
    rows: pa.Table
    channels: Sequence[Channel]


class Signal(NamedTuple):
    """A column for each channel of a signal, a window every `hop` rows, the column of times, if it is checked, and
    where in a window its estimates are taken."""

    columns: Sequence[str]
    hop: int
    time: str | None = None
    at: At = "mean"


class Output(NamedTuple):
    """The file to write estimates to."""

    place: Place
    format: Format
    label: str  # its name in messages
    progress: bool = True  # whether to show it on a terminal
    rate: float | None = None  # samples a second; None: no column of Hz

    @property
    def columns(self) -> tuple[str, ...]:
        """The added columns of a channel."""
        return OUTPUTS if self.rate is None else (*OUTPUTS, HERTZ)


def predict_windows(estimate: Estimator, table: Table, output: Output, gaps: Gaps = "refuse") -> None:
    """Writes a copy of a table of windows, with an estimate for each; null for one with a gap that is not filled.

    The estimates equal those of quadrature.network.model.predict for all the table's windows at once. Raises DataError.
    """
    read = window_reader(table, estimate.length, gaps)
    numbers, added = range(estimate.length), output.columns
    names = carried_names(table, [*added, *(f"{name}_{position}" for name in added for position in numbers)])

    def estimate_slab(slab: Slab) -> Estimates:
        windows = fill(slab.channels[0]) if gaps == "interpolate" else slab.channels[0]
        in_phase, quadrature = estimate(windows).swapaxes(0, 1)
        advance = frequency(as_complex(in_phase, quadrature))
        channel = Channel("", in_phase, quadrature, advance, are_full(windows))
        return Estimates(slab.first, slab.rows, [channel])

    estimates = map(estimate_slab, _slabs(table, [read], estimate.slab_windows))
    _write(estimates, table, names, output, numbered=not has_lists(table))


def predict_signal(estimate: Estimator, table: Table, output: Output, signal: Signal, gaps: Gaps = "refuse") -> None:
    """Writes a copy of a table of a signal, a sample a row, with an estimate for each of its channels.

    The estimate is the mean over the windows that hold the sample and no gap, one window every `hop` samples:
    quadrature.prediction.overlap; null if there is none. The names of the added columns end with their channel's if
    there are several. Raises DataError, also if the signal is shorter than a window.
    """
    reads = [signal_reader(table, column, gaps) for column in signal.columns]
    suffixes = [f"_{column}" for column in signal.columns] if len(reads) > 1 else [""]
    names = carried_names(table, [f"{name}{suffix}" for suffix in suffixes for name in output.columns])
    times = EvenTimes(table, signal.time) if signal.time is not None else None
    slabs = _slabs(table, reads, estimate.slab_windows * signal.hop, times)
    followers = [_Follower(estimate, signal, gaps, suffix) for suffix in suffixes]
    try:
        _write(_follow(slabs, followers), table, names, output, numbered=False)
    except ShortSignalError as error:
        raise DataError(f"{table.label} holds {error}") from None


def _slabs(table: Table, reads: Sequence[Read], size: int, times: EvenTimes | None = None) -> Iterator[Slab]:
    """Yields a table's slabs. Reads the next one while the current one is used."""

    def read(first: int, rows: pa.Table) -> Slab:
        if times is not None:
            times.check(first, rows)
        return Slab(first, rows, [channel(first, rows) for channel in reads])

    return prefetch(read(first, rows) for first, rows in table.slabs(size))


class _Follower:
    """Estimates a channel of a signal that comes in parts."""

    def __init__(self, estimate: Estimator, signal: Signal, gaps: Gaps, suffix: str) -> None:
        self._estimate, self._suffix = estimate, suffix
        self._overlap = Overlap(estimate.length, signal.hop, signal.at)
        self._filler = Filler() if gaps == "interpolate" else None
        self._held = Held()

    def follow(self, samples: Array | None) -> Channel:
        """Returns the samples whose estimate no later window can change. None ends the signal."""
        part = samples if self._filler is None else self._filler.push(samples)
        if part is not None:
            self._overlap.push(part)
        if samples is None:
            self._overlap.end()
        windows = self._overlap.take(self._estimate.batch_size)
        if len(windows):
            self._overlap.put(self._estimate(windows, self._suffix.removeprefix("_")))
        (in_phase, quadrature), advance, known = self._held.push(*self._overlap.pop(), is_end=samples is None)
        return Channel(self._suffix, in_phase, quadrature, advance, known)


def _follow(slabs: Iterator[Slab], followers: Sequence[_Follower]) -> Iterator[Estimates]:
    """Yields a signal's rows with their estimates, once no later window can change them."""
    first, waiting = 0, list[pa.Table]()
    for slab in chain(slabs, [None]):
        if slab is not None:
            waiting.append(slab.rows)
        parts: Sequence[Array | None] = [None] * len(followers) if slab is None else slab.channels
        channels = [follower.follow(part) for follower, part in zip(followers, parts, strict=True)]
        count = len(channels[0].quadrature)  # the same for each
        rows = pa.concat_tables(waiting)
        yield Estimates(first, rows.slice(0, count), channels)
        first, waiting = first + count, [rows.slice(count)]


def _write(estimates: Iterator[Estimates], table: Table, names: Sequence[str], output: Output, numbered: bool) -> None:
    """Writes the file, completely or not at all. `names` are the new names of the table's columns."""
    spread = Spread(table)

    def write(part: Estimates) -> None:
        added = pa.table(
            {
                name: column
                for channel in part.channels
                for name, column in derive(part.first, channel, table, output.rate).items()
            }
        )
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
        compressed(file, compression_of(str(output.place)) if output.format == "csv" else None) as stream,
        closing(TableWriter(stream, output.format, output.label)) as writer,
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
