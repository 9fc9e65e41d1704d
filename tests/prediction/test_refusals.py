"""Input that has no estimate is refused in one line, and the output is left unchanged."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams
from quadrature.prediction import estimates
from quadrature.runtime.errors import DataError, ParameterError
from tests.prediction.running import HEADER, LENGTH, OUTPUTS_OF_MODELS, PARAMS, ROW, fixed, run, text

GOOD = np.linspace(-1.0, 1.0, 5 * LENGTH).reshape(5, LENGTH).tolist()


def changed(row, position, value):
    values = [list(window) for window in GOOD]
    values[row][position] = value
    return values


def parquet(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


def bomb(path):
    """Writes a list of 2^26 zeros in 600 bytes."""
    offsets = pa.array([0, 2**26], pa.int32())
    pq.write_table(pa.table({"input": pa.ListArray.from_arrays(offsets, np.zeros(2**26, np.int8))}), path)


def contradiction(path):
    """Writes a file with another number of counts than levels in its footer, at which pyarrow ends the process."""
    windows = pa.array(GOOD[:3], pa.list_(pa.field("element", pa.float32(), nullable=False), LENGTH))
    schema = pa.schema([pa.field("input", windows.type, nullable=False)])
    pq.write_table(pa.table({"input": windows}, schema=schema), path, store_schema=False)
    content = path.read_bytes()
    footer = content.rindex(b"element")
    assert content[footer:].count(b"<)&") == 1  # a list of two numbers
    path.write_bytes(content[:footer] + content[footer:].replace(b"<)&", b"<)f"))


SPECIAL = "{} is not a regular file but a device or a pipe; copy its content to a file first"
EMPTY = "{} is empty or begins with an empty line; its first line should name its columns"
NO_ROWS = "{} holds no rows, so there is nothing to estimate"
EITHER = "columns input_0, input_1, ...; its windows should be in one or the other"
READS = "the model reads windows of 10"
SIGNAL = "not lists of 10 numbers; if it is a signal, a sample a row, give --hop"
MISSING = "is missing; leave the row out, or put a number there"
GAPS = "give --gaps interpolate or --gaps null"
FINITE = "leave the row out, or put a finite number there"

REFUSED = {
    "missing.parquet": (lambda _: None, "{} is missing"),
    "missing.csv": (lambda _: None, "{} is missing"),
    "in.txt": (lambda path: path.touch(), "{} ends in neither .parquet nor .csv; rename it"),
    "empty.csv": (lambda path: path.touch(), EMPTY),
    "header.csv": (text(HEADER), NO_ROWS),
    "pipe.csv": (os.mkfifo, SPECIAL),
    "pipe.parquet": (os.mkfifo, SPECIAL),
    "zero.csv": (lambda path: path.symlink_to("/dev/zero"), SPECIAL),
    "line.csv": (
        lambda path: path.write_text(HEADER * 2**15),
        "{} is not a readable CSV file (its first line is longer than 1,048,576 characters)",
    ),
    "bomb.parquet": (
        bomb,
        "{}: a row group's lists or pages would grow to 268,435,456 bytes, more than 2,048 times their size; "
        "write it with row groups of fewer rows",
    ),
    "contradiction.parquet": (
        contradiction,
        "{} is not a readable parquet file (the metadata of its columns contradict each other)",
    ),
    "rows.parquet": (parquet(input=pa.array([], pa.list_(pa.float32()))), NO_ROWS),
    "folder": (lambda path: path.mkdir(), "{} holds no part-*.parquet; give a file, or a folder of these"),
    "text.parquet": (text(HEADER, ROW), "{} is not a readable parquet file ("),
    "columns.parquet": (parquet(x=[1.0]), f"{{}} has neither a column input nor {EITHER}"),
    "both.parquet": (parquet(input=GOOD, input_0=[1.0] * 5), f"{{}} has both a column input and {EITHER}"),
    "twice.csv": (text(f"{HEADER},input_3", f"{ROW},1"), "{} has two columns named input_3; rename one"),
    "gap.csv": (
        text(HEADER.replace("input_4", "other"), ROW),
        "{} has no column input_4; the windows' samples are input_0 to input_9",
    ),
    "short.csv": (text(HEADER[:-8], ROW[:-4]), f"{{}} holds windows of 9 samples; {READS}"),
    "long.csv": (text(f"{HEADER},input_10", f"{ROW},1"), f"{{}} holds windows of 11 samples; {READS}"),
    "ragged.csv": (text(HEADER, ROW, f"{ROW},1", ROW), "{}, row 2 has 11 fields, but the header has 10"),
    "short.parquet": (parquet(input=[[0.0] * 10, [0.0] * 9]), f"{{}}, row 2: input holds 9 samples; {READS}"),
    "fixed.parquet": (parquet(input=[[0.0] * 4]), f"{{}}, row 1: input holds 4 samples; {READS}"),
    "number.parquet": (parquet(input=[1.0]), f"{{}}: input holds double, {SIGNAL}"),
    "number.csv": (text("input", "1"), f"{{}}: input holds one value a row, {SIGNAL}"),
    "words.parquet": (
        parquet(input=[["a"] * 10]),
        "{}: input holds list<element: string>, not lists of 10 numbers",
    ),
    "word.parquet": (
        parquet(**{name: ["1"] for name in HEADER.split(",")}),
        "{}: input_0 holds string, not numbers",
    ),
    "word.csv": (text(HEADER, ROW, ROW.replace("0.5", "x", 1)), "{}, row 2: input_0 is 'x', which is not a number"),
    "blank.csv": (text(HEADER, ROW, f"{ROW[:-4]},"), f"{{}}, row 2: input_9 {MISSING}"),
    "nan.csv": (text(HEADER, ROW, ROW, f"{ROW[:-3]}NaN"), f"{{}}, row 3: input_9 is nan; {FINITE}"),
    "nan.parquet": (parquet(input=changed(3, 2, np.nan)), f"{{}}, row 4: input[2] is nan; {FINITE}"),
    "inf.parquet": (parquet(input=changed(4, 9, -np.inf)), f"{{}}, row 5: input[9] is -inf; {FINITE}"),
    "big.parquet": (
        parquet(input=changed(1, 0, 1e39)),
        "{}, row 2: input[0] is 1e+39, beyond float32's 3.4e+38; scale the signal",
    ),
    "null.parquet": (parquet(input=changed(1, 7, None)), f"{{}}, row 2: input[7] {MISSING}"),
    "row.parquet": (parquet(input=[*GOOD, None]), f"{{}}, row 6: input {MISSING}"),
    "given.parquet": (
        parquet(input=GOOD, phase=[0] * 5, given_phase=[0] * 5),
        "{} has both phase and given_phase, but the output renames phase to given_phase; rename one",
    ),
}
REFUSED_SIGNALS = {
    "short.csv": (text("input", *["1"] * 9), f"{{}} holds a signal of 9 samples; {READS}"),
    "column.csv": (text("a,b", "1,2"), "{} has no column input; it has a, b"),
    "lists.parquet": (
        parquet(input=GOOD),
        "{}: input holds list<element: double>, not numbers; --hop is for a signal of one number a row, leave it out",
    ),
    "words.parquet": (parquet(input=["a"]), "{}: input holds string, not numbers"),
    "blank.csv": (
        text("input", *["1"] * 30, "", "1"),
        f"{{}}, row 31: input is missing; {GAPS}, or put a number there",
    ),
    "late.parquet": (
        parquet(input=[*[0.0] * 500, np.inf]),
        f"{{}}, row 501: input is inf; put a finite number there, or none and {GAPS}",
    ),
    "nan.csv": (text("input", *["1"] * 30, "NaN"), f"{{}}, row 31: input is nan; {GAPS}, or put a finite number there"),
    "given.csv": (
        text("input,prediction,given_prediction", *["1,1,1"] * 30),
        "{} has both prediction and given_prediction, "
        "but the output renames prediction to given_prediction; rename one",
    ),
}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(
    ("name", "options", "case"),
    [
        *(
            pytest.param(name, (), case, marks=[pytest.mark.slow] * (name == "bomb.parquet"))  # 2^26 numbers
            for name, case in REFUSED.items()
        ),
        *((name, ("--hop", "3"), case) for name, case in REFUSED_SIGNALS.items()),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_one_line_and_nothing_is_written(
    model, tmp_path, monkeypatch, name, options, case, suffix
):
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 20)
    make, message = case
    path, output = tmp_path / name, tmp_path / f"out{suffix}"
    make(path)
    output.write_text("what was there")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError) as caught:
        run(model, path, output, "--batch-size", 2, *options)
    found = str(caught.value)
    assert "\n" not in found
    assert caught.value.exit_code == 65
    if message.endswith("("):
        assert found.startswith(message.format(path))
    else:
        assert found == message.format(path)
    assert sorted(tmp_path.iterdir()) == before
    assert output.read_text() == "what was there"


@pytest.mark.parametrize("factors", [(1000.0,) * 8, (1000.0, -1000.0) * 4], ids=["infinite", "no number"])
@pytest.mark.parametrize("output", OUTPUTS_OF_MODELS)
@pytest.mark.parametrize("options", [(), ("--hop", 10)])
def test_an_estimate_that_is_not_finite_is_refused_by_its_row(tmp_path, options, output, factors):
    changes = {"cell": "rnn", "nonlinearity": "relu", "output": output}
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS | changes), LENGTH)
    initialize(network, 0)
    with torch.no_grad():
        network.rnn.weight_ih_l0[:], network.rnn.weight_hh_l0[:] = 1.0, 0.125  # each state: the sum of the samples
        network.linear.weight[:] = torch.tensor(factors)
    save_model(network, tmp_path / "model.safetensors")
    windows = np.zeros((40, LENGTH), np.float32)
    windows[30] = 3e38
    pq.write_table(pa.table({"input": windows.ravel() if options else fixed(windows)}), tmp_path / "in.parquet")
    with pytest.raises(DataError) as caught:
        run(tmp_path / "model.safetensors", tmp_path / "in.parquet", tmp_path / "out.parquet", *options)
    place = f"{tmp_path}/in.parquet, row {301 if options else 31}"
    assert str(caught.value) == (
        f"{place}: the estimate is not finite; scale the samples to the size of those in training"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "model.safetensors"]


def test_a_bad_row_of_a_folder_is_named_by_its_file(model, tmp_path):
    for part in range(3):
        pq.write_table(
            pa.table({"input": changed(2, 1, np.nan if part == 1 else 0.0)}), tmp_path / f"part-{part}.parquet"
        )
    with pytest.raises(DataError, match=rf"^{tmp_path}/part-1\.parquet, row 3: input\[1\] is nan; "):
        run(model, tmp_path, tmp_path / "out.parquet")


def test_lists_that_csv_cannot_hold_are_refused_by_row(model, tmp_path):
    table = pa.table({"input": GOOD, "x": [[1], None, [2], [3, 4], [5]]})
    pq.write_table(table, tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["x"].equals(table["x"])
    with pytest.raises(
        DataError, match=r"row 4: x holds 2 values, not 1 as before; CSV cannot hold both, parquet can$"
    ):
        run(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    nulls = pa.array([None] * 5, pa.list_(pa.int64()))
    pq.write_table(table.slice(0, 3).append_column("y", nulls.slice(0, 3)), tmp_path / "in.parquet")
    with pytest.raises(
        DataError, match=r"row 1: y has no list in these rows, so its number of CSV columns is unknown; write parquet$"
    ):
        run(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    pq.write_table(table.slice(0, 3).append_column("x_0", pa.array([0, 0, 0])), tmp_path / "in.parquet")
    with pytest.raises(
        DataError, match=r"has a list whose values would be the CSV column x_0, which is a column already; rename one$"
    ):
        run(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            ["--hop", "11"],
            ParameterError,
            "--hop is 11, more than the 10 samples of a window; give at most 10",
        ),
        (["--column", "x"], ParameterError, "--column names a signal's column; give --hop with it"),
        (["--device", "mps"], ParameterError, "--device is mps, which torch does not find here; leave it out"),
        (["--output", "."], DataError, ". is a folder; name a file to write"),
        (["--output", "out.txt"], DataError, "out.txt ends in neither .parquet nor .csv; rename it"),
        (["--model", "no"], DataError, "no is missing; run `dvc repro train` to make it"),
    ],
)
def test_what_was_asked_for_is_refused_where_it_cannot_be(model, windows, tmp_path, options, error, message):
    pq.write_table(pa.table({"input": fixed(windows)}), tmp_path / "in.parquet")
    with pytest.raises(error) as caught:
        run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", *options)
    assert str(caught.value) == message
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize("option", ["--hop", "--batch-size", "--threads"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "²", str(2**25)])
def test_a_number_out_of_range_is_refused_by_its_option(capsys, option, value):
    with pytest.raises(SystemExit) as caught:
        run("m", "i", "o", option, value)
    assert caught.value.code == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith(f"argument {option}: {value} is not a whole number from 1 to {2**24:,}")
    )
