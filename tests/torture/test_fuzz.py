"""The readers of tables and models, fed by a coverage-guided fuzzer: no crash, no hang, no error but DataError."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from quadrature.network.model_file import save_model
from tests.checkout import PROJECT
from tests.torture.strange import COLUMNS, windows_table, write_table
from tests.torture.strange_models import make_network, strange_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is for Linux on x86-64"),
]

LONGEST = 20_000
"""The most bytes of a file that is tried."""


def seed_tables(folder):
    """Writes small good tables in several encodings, and some that are refused."""
    rng = np.random.default_rng(0)
    table = windows_table(rng, 3)
    write_table(folder / "zstd", table, compression="zstd")
    write_table(folder / "plain", table, compression="none", use_dictionary=False)
    write_table(folder / "bare", table, {}, compression="none", store_schema=False, data_page_version="2.0")
    write_table(folder / "wide", pa.table({f"input_{index}": [0.5, None] for index in range(10)}), compression="none")
    for name in ("list", "some null lists", "text", "dictionary", "special", "int64", "extension"):
        column = COLUMNS[name](rng, 3)
        write_table(folder / name, pa.table({"input": column, "phase": column}), compression="snappy")


def seed_models(folder):
    """Writes a small good model and some strange ones, as coverage does not see the header's values."""
    save_model(make_network(), folder / "model")
    for number in range(40):
        path = folder / f"strange-{number}"
        strange_model(path, np.random.default_rng([4, number]))
        if path.stat().st_size > LONGEST:
            path.unlink()


SEEDS = {"tables": seed_tables, "models": seed_models}


def test_fuzzed_readers_only_ever_refuse(tmp_path, tally, request):
    """The readers are fuzzed in parallel, five minutes each in full."""
    seconds = max(2, round(300 * request.config.getoption("torture")))
    running = {}
    for reader, seed in SEEDS.items():
        (tmp_path / reader).mkdir()
        seed(tmp_path / reader)
        options = (f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=0", f"-max_len={LONGEST}", "-seed=1")
        options += ("-print_final_stats=1", f"-artifact_prefix={tmp_path}/{reader}-")
        with (tmp_path / f"{reader}.txt").open("wb") as log:
            command = [sys.executable, "-m", "tests.torture.fuzz", reader, tmp_path / reader, *options]
            running[reader] = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)
    for process in running.values():
        process.wait()
    for reader, process in running.items():
        said = (tmp_path / f"{reader}.txt").read_text(errors="replace")
        executed = max(map(int, re.findall(r"^#(\d+)", said, re.MULTILINE)), default=1)
        survived = executed - (process.returncode != 0)
        tally.counts[f"fuzzed {reader} are read or refused, within 10 s and 1 GB"] = executed, survived
    assert [process.returncode for process in running.values()] == [0, 0], f"see {tmp_path}"
