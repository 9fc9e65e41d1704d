"""Fuzzes a reader: mutates good files, guided by the coverage of the reader's code.

`python -m tests.torture.fuzz READER CORPUS OPTION...` passes the options to libFuzzer. A reader may raise only
DataError. It must not crash, hang or exceed this process's limit of memory. Each file gets its right digest before it
is read, as a fuzzer would never find one.
"""

import resource
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["quadrature"]):
    from quadrature.network.model_file import load_model
    from quadrature.runtime.errors import DataError
    from quadrature.storage.windows import WINDOW_COLUMNS, read_split
    from quadrature.tables.columns import signal_reader, window_reader
    from quadrature.tables.table import open_table

from tests.torture.strange import forge

FOLDER = Path(tempfile.mkdtemp())
MORE = 10**9  # bytes beyond those of the imports


def tables(content):
    """Reads a parquet file as the stages and `predict` do."""
    path = FOLDER / "part-00000.parquet"
    path.write_bytes(content)
    forge(path)
    with suppress(DataError):
        for columns in read_split(FOLDER, WINDOW_COLUMNS):
            assert len(columns["input"]) == len(columns["phase"])
    for make in (lambda table: window_reader(table, 10), lambda table: signal_reader(table, "phase")):
        with suppress(DataError):
            table = open_table(path, "parquet", str(path), typed=True)
            read = make(table)
            for first, rows in table.slabs(1000):
                assert len(read(first, rows)) == len(rows)


def models(content):
    """Reads a model file."""
    path = FOLDER / "model.safetensors"
    path.write_bytes(content)
    forge(path)
    with suppress(DataError):
        load_model(path)


if __name__ == "__main__":
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resource.setrlimit(resource.RLIMIT_DATA, (int(status["VmData"].split()[0]) * 1024 + MORE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], {"tables": tables, "models": models}[name])
    atheris.Fuzz()
