"""The benchmarks run, on tiny sizes, so that they cannot rot; what they measure is for people to read."""

import subprocess
import sys

from tests.checkout import PROJECT


def test_the_parquet_benchmark_prints_a_row_for_each_encoding():
    command = [sys.executable, "-m", "benchmarks.parquet", "500", "2"]
    lines = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "500 windows of 10 samples, medians of 2"
    rows = [line for line in lines if line.count("|") == 5][2:]
    assert len(rows) == 12
    assert all(float(cell) > 0 for row in rows for cell in row.split("|")[2:5])
