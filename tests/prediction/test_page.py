"""The commands of docs/predict.md about signals, with a small model: they run in the page's order and do as it says."""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from quadrature.commands.predict import add_arguments, main
from quadrature.prediction.added_columns import HERTZ, OUTPUTS
from quadrature.prediction.gaps import LONGEST_GAP
from quadrature.prediction.times import TOLERANCE
from quadrature.runtime.errors import DataError
from tests.checkout import PROJECT
from tests.promises.test_readme import commands_in

PAGE = (PROJECT / "docs/predict.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
SIGNALS = ("A long signal", "Missing samples", "CSV as instruments write it")
COMMAND = ["python", "-m", "quadrature", "predict"]


def start(line):
    """Runs a line of the page: the command in this process, others in a shell."""
    words = shlex.split(line)
    if words[:4] != COMMAND:
        subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True)
        return
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    main(parser.parse_args([*words[4:], "--threads", "1", "--device", "cpu"]))


def rows_of(path):
    return pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)


def test_the_pages_commands_about_signals_do_as_it_says(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model.safetensors").symlink_to(model)
    for section in SIGNALS:
        for line in commands_in(SECTIONS[section]):
            start(line)
    found = {
        name: rows_of(tmp_path / name)
        for name in ("followed.csv", "channels.parquet", "tone.csv", "scope.parquet", "bare.csv.zst")
    }
    assert {name: len(rows) for name, rows in found.items()} == dict.fromkeys(found, 1000)
    assert found["channels.parquet"].column_names[2:] == [f"{name}_{channel}" for channel in "ab" for name in OUTPUTS]
    assert found["tone.csv"].column_names == ["input", *OUTPUTS, HERTZ]
    assert found["scope.parquet"].column_names[:2] == ["t", "U [V]"]
    for name in ("prediction", "phase"):
        bare, scope = (found[file][name].to_numpy().astype(np.float32) for file in ("bare.csv.zst", "scope.parquet"))
        assert np.array_equal(bare, scope)
    assert found["followed.csv"]["volts"].null_count == 1  # and yet every row has an estimate
    assert found["followed.csv"]["prediction"].null_count == 0


def test_rows_that_were_left_out_are_found_and_put_back_by_the_pages_snippet(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in commands_in(SECTIONS["A long signal"])[:1] + commands_in(SECTIONS["Missing samples"])[:1]:
        start(line)
    options = f"--model {model} --hop 5 --column volts --time time --gaps interpolate"
    with pytest.raises(
        DataError, match=r"^left_out\.csv, row 100: time is 2 after the row before, where 1 was expected"
    ):
        start(f"python -m quadrature predict --input left_out.csv --output out.csv {options}")
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", SECTIONS["Missing samples"], re.MULTILINE | re.DOTALL)
    exec(snippet, {})  # noqa: S102
    start(f"python -m quadrature predict --input put_back.csv --output out.csv {options}")
    found = rows_of(tmp_path / "out.csv")
    assert found["time"].to_pylist() == list(range(1000))
    assert [row for row, value in enumerate(found["volts"].to_pylist()) if value is None] == [99]
    assert found["prediction"].null_count == 0


def test_the_page_lists_the_added_columns_in_their_order():
    assert re.findall(r"^\| `(\w+)` \|", SECTIONS["Output"], re.MULTILINE) == [*OUTPUTS, HERTZ]


@pytest.mark.committed_results
def test_the_page_tells_the_errors_of_the_committed_network():
    test = json.loads((PROJECT / "metrics/test.json").read_text())
    told = " ".join(SECTIONS["Output"].split())
    assert f"phase has an error of {test['phase_rmse_degrees']:.1f} degrees" in told
    assert f"amplitude has one of {test['amplitude_rmse']:.3f}, but" in told


def test_the_page_tells_the_limits_that_the_code_has():
    assert LONGEST_GAP == 2
    assert "a gap of one or two samples is filled" in SECTIONS["Missing samples"]
    assert TOLERANCE == 0.1
    assert "may differ by a tenth" in SECTIONS["Missing samples"]


@pytest.mark.slow
def test_the_pages_command_about_a_signal_as_it_comes_answers_its_last_sample(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model.safetensors").symlink_to(model)
    (line,) = commands_in(SECTIONS["A signal as it comes"])
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], capture_output=True, text=True, check=True)
    assert len([float(field) for field in done.stdout.split(",")]) == 6
