"""Windows of one's own, cut from the table `generate.source` in place of drawn ones. Needs no torch and no pandas.

The table has the columns `input`, `target` and, if the wave without noise is known, `in_phase`. Each row is a window;
or, with `generate.hop`, a sample of one recording, whose window k starts at row k * hop. The splits follow each other
in time, training first. Between two splits of a recording, at least `length` rows belong to no window: then no test
window is a shifted copy of a training window.

No column says what a window's wave is. So its phase, frequency and amplitude are measured, with z = target + i in_phase
(the input, where in_phase is not known) and samples k:

    amplitude   mean of |z|
    frequency   angle of the sum of z[k + 1] conj(z[k]), radians a sample, in the unit of `generate.frequency`
    phase       angle of the sum of z[k] exp(-i k frequency), of the first sample
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from quadrature.runtime.errors import ParameterError
from quadrature.signals.params import SPLITS, GenerateParams
from quadrature.storage.arrow import Columns
from quadrature.tables.columns import Advice, Read, Terms, has_windows, signal_reader, window_reader
from quadrature.tables.dialect import Dialect
from quadrature.tables.table import format_of, open_table

_ROWS = 2**16  # read at a time

_NUMBER = "put a finite number there; without the row, all later ones would shift"
_TERMS = Terms(
    length="generate.length in params.yaml is",
    give_hop="set generate.hop in params.yaml",
    leave_hop="generate.hop is for a recording of one number a row, set it to null",
    signals=Advice(missing=_NUMBER, nan=_NUMBER, infinite=_NUMBER),
)


class Source:
    """The table that `params.source` names, and the windows of each split. Rows are read forward, once."""

    def __init__(self, params: GenerateParams) -> None:
        """Opens the table. Raises DataError if it cannot be read, ParameterError if it has too few windows."""
        assert params.source is not None  # noqa: S101, the caller holds it
        self._params, self._path = params, Path(params.source)
        kind = "parquet" if self._path.is_dir() else format_of(self._path)
        self._table = open_table(self._path, kind, params.source, typed=False, dialect=Dialect(is_fixed=True))
        self._readers = {name: self._reader(name) for name in ("input", "target")}
        if has_windows(self._table, "in_phase"):
            self._readers["in_phase"] = self._reader("in_phase")
        self.rows = self._table.rows
        if self.rows is None:
            self.rows = sum(len(rows) for _, rows in self._table.slabs(_ROWS))
        self._firsts = self._divide(self.rows)
        self._slabs = self._read()
        self._held: list[tuple[int, Columns]] = []  # the number of rows before a slab, and its samples
        self._passed = 0  # rows read

    def digest(self) -> str:
        """Returns the SHA-256 of the table's files."""
        found = hashlib.sha256()
        for path in self._table.files:
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()

    def shard(self, split: str, number: int) -> Mapping[str, NDArray[np.floating]]:
        """Returns the windows of a shard, with the columns of signals.waves.draw_shard; in_phase only if it is known.

        Shards are read in their order, training first; any may be left out. Raises DataError for what is no number.
        """
        done = number * self._params.shard_windows
        count = min(self._params.shard_windows, getattr(self._params.windows, split) - done)
        windows = self._windows(self._firsts[split] + done, count)
        wave = measure(windows["target"], windows.get("in_phase", windows["input"]), self._params.unit_angle)
        known = {"in_phase": windows["in_phase"]} if "in_phase" in windows else {}
        return {"input": windows["input"], "target": windows["target"], **wave, **known}

    def _reader(self, name: str) -> Read:
        if self._params.hop is None:
            return window_reader(self._table, self._params.length, name=name, terms=_TERMS)
        return signal_reader(self._table, name, terms=_TERMS)

    def _divide(self, rows: int) -> dict[str, int]:
        """Returns the number of windows before each split. Raises ParameterError if there are too few."""
        length, hop, sizes = self._params.length, self._params.hop, dict(self._params.windows)
        count, apart = rows, 0
        if hop is not None:
            count, apart = max(0, (rows - length) // hop + 1), 2 * -(-length // hop) - 1
        firsts, first = {}, 0
        for split in SPLITS:
            firsts[split] = first
            first += sizes[split] + apart
        if (missing := first - apart - count) > 0:
            raise ParameterError(self._too_few(count - 2 * apart, missing))
        return firsts

    def _too_few(self, usable: int, missing: int) -> str:
        total = sum(size for _, size in self._params.windows)
        tenth = max(1, usable // 10)
        rows = f"{self._params.source} has {self.rows:,} row{'' if self.rows == 1 else 's'}, which make"
        if usable < len(SPLITS):
            return f"generate.source in params.yaml: {rows} too few windows for three splits; record more"
        sizes = f"{{train: {usable - 2 * tenth}, validation: {tenth}, test: {tenth}}}"
        return (
            f"generate.windows in params.yaml asks for {total:,} windows, but {rows} {total - missing:,}; "
            f"set it to fewer, such as {sizes}"
        )

    def _windows(self, first: int, count: int) -> dict[str, NDArray[np.float32]]:
        hop = self._params.hop
        if hop is None:
            return self._samples(first, first + count)
        step = max(1, _ROWS // hop)  # so that few of the rows between windows are held
        parts = [self._cut(first + done, min(step, count - done)) for done in range(0, count, step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _cut(self, first: int, count: int) -> dict[str, NDArray[np.float32]]:
        hop, length = self._params.hop or 1, self._params.length
        samples = self._samples(first * hop, (first + count - 1) * hop + length)
        return {name: sliding_window_view(each, length)[::hop].copy() for name, each in samples.items()}

    def _samples(self, start: int, stop: int) -> dict[str, NDArray[np.float32]]:
        """Returns the samples of rows; `start` is never below that of an earlier call."""
        self._held = [(before, slab) for before, slab in self._held if before + len(slab["input"]) > start]
        while self._passed < stop:
            before, slab = next(self._slabs)
            self._passed = before + len(slab["input"])
            if self._passed > start:
                self._held.append((before, slab))
        first = self._held[0][0]
        whole = {name: np.concatenate([slab[name] for _, slab in self._held]) for name in self._readers}
        return {name: each[start - first : stop - first] for name, each in whole.items()}

    def _read(self) -> Iterator[tuple[int, Columns]]:
        for before, rows in self._table.slabs(_ROWS):
            yield before, {name: read(before, rows) for name, read in self._readers.items()}


def measure(
    quadrature: NDArray[np.floating], in_phase: NDArray[np.floating], unit_angle: float
) -> dict[str, NDArray[np.float64]]:
    """Returns phase, frequency and amplitude of windows, (count, length), by both components: each (count,).

    Phases are in [0, 2 pi); a wave of frequency 1 turns by `unit_angle` radians over a window.
    """
    z = quadrature.astype(np.float64) + 1j * in_phase
    turn = np.angle((z[:, 1:] * z[:, :-1].conj()).sum(axis=1))
    steady = z * np.exp(-1j * turn[:, None] * np.arange(z.shape[1]))
    phase = np.angle(steady.sum(axis=1)) % (2.0 * np.pi)
    return {
        "phase": np.where(phase < 2.0 * np.pi, phase, 0.0),  # the remainder of -1e-17 is 2 pi
        "frequency": turn * (z.shape[1] - 1) / unit_angle,
        "amplitude": np.abs(z).mean(axis=1),
    }
