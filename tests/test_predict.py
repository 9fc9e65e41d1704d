"""The command predict: right estimates whatever the files are like, one line where they are wrong, whole or nothing."""

import argparse
import math
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch

from quadrature import prediction
from quadrature.commands.predict import add_arguments, main
from quadrature.errors import DataError, ParameterError
from quadrature.layout import OUTPUTS
from quadrature.model import ModelParams, QuadratureNetwork, initialize, load_model, predict, save_model
from quadrature.windows import read_windows
from tests.checkout import PROJECT
from tests.test_overlap import averaged, starts_of
from tests.test_readme import commands

LENGTH = 10
PARAMS = {
    "cell": "gru", "nonlinearity": "tanh", "hidden_size": 8, "num_layers": 1, "bias": True, "bidirectional": False,
    "dropout": 0.0, "execution": "sequence", "head": "last",
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """Estimates to compare with are computed as the command computes them; torch's threads are then as they were."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model file, with random weights."""
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS), LENGTH)
    initialize(network, 0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(network, path)
    return path


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(0).standard_normal((1000, LENGTH)).astype(np.float32)


def run(model, source, output, *options):
    """Runs the command in this process."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    paths = ["--model", model, "--input", source, "--output", output]
    main(parser.parse_args([*map(str, paths), "--threads", "1", "--device", "cpu", *map(str, options)]))


def start(model, source, output, *options, **streams):
    """Starts the command as people do."""
    paths = ["--model", str(model), "--input", str(source), "--output", str(output)]
    options = ["--device", "cpu", "--threads", "1", *map(str, options)]
    command = [sys.executable, "-m", "quadrature", "predict", *paths, *options]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True, **streams)


def numbered(name, values):
    return {f"{name}_{at}": values[:, at] for at in range(values.shape[1])}


def fixed(values):
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def read(path):
    """Returns a file's columns, numbered ones side by side, as arrays."""
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)
    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        base, _, number = name.rpartition("_")
        if pa.types.is_fixed_size_list(column.type):
            found[name] = np.array(column.to_pylist(), np.float32)
        elif number.isdecimal():
            found.setdefault(base, []).append(column.to_numpy().astype(np.float32))
        else:
            found[name] = column.to_numpy()
    return {name: np.stack(values, 1) if isinstance(values, list) else values for name, values in found.items()}


LAYOUTS = {
    "fixed-size lists": lambda windows: {"input": fixed(windows)},
    "lists of float64": lambda windows: {"input": pa.array(windows.astype(np.float64).tolist())},
    "large lists": lambda windows: {"input": pa.array(windows.tolist(), pa.large_list(pa.float32()))},
    "columns": lambda windows: numbered("input", windows),
    "columns of float64, another order": lambda windows: dict(
        reversed(numbered("input", windows.astype(np.float64)).items())
    ),
}


def test_the_estimates_are_those_of_evaluate(finished, tmp_path):
    """From the folder of test windows, and from the predictions themselves, whose own are kept as given."""
    expected = pq.read_table(finished.path / "data/predictions.parquet")
    model = finished.path / "models/model.safetensors"
    threads = ("--threads", finished.yaml("params.yaml")["train"]["threads"])
    run(model, finished.path / "data/windows/test", tmp_path / "folder.parquet", *threads)
    found = pq.read_table(tmp_path / "folder.parquet")
    assert found["prediction"].to_pylist() == expected["prediction"].to_pylist()
    names = ["input", "target", "given_phase", "frequency", "given_amplitude", *OUTPUTS]
    assert found.column_names == names
    for name in names[:5]:
        assert found[name].equals(expected[name.removeprefix("given_")])

    run(model, finished.path / "data/predictions.parquet", tmp_path / "again.parquet", *threads)
    found = pq.read_table(tmp_path / "again.parquet")
    for name in expected.column_names:
        kept = f"given_{name}" if name in OUTPUTS else name
        assert found[kept].equals(expected[name])
        assert found.schema.field(kept).type == expected.schema.field(name).type
    assert found["prediction"].equals(found["given_prediction"].cast(found["prediction"].type))

    run(model, finished.path / "data/predictions.parquet", tmp_path / "again.csv", *threads)
    assert np.array_equal(read(tmp_path / "again.csv")["prediction"], np.array(expected["prediction"].to_pylist()))


def test_amplitude_and_phase_follow_from_input_and_estimate(model, windows, tmp_path):
    special = windows.copy()
    special[0] = 0.0
    special[1] = -0.0
    special[2] = -1e-30
    special[3, ::2] *= 1e30
    pq.write_table(pa.table({"input": fixed(special)}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = read(tmp_path / "out.parquet")
    columns = (found[name].ravel() for name in ("input", *OUTPUTS))
    pi = float(np.float32(np.pi))
    for sine, cosine, amplitude, phase in zip(*(column.tolist() for column in columns), strict=True):
        assert amplitude == pytest.approx(math.hypot(sine, cosine), rel=1e-6)
        turn = math.remainder(phase - math.atan2(sine, cosine), 2.0 * math.pi)
        assert abs(turn) < 1e-6
        assert -pi < phase <= pi


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_format_gives_the_same_estimates_to_the_bit(model, windows, tmp_path, layout):
    columns = LAYOUTS[layout](windows) | {"label": [f"row {row}" for row in range(len(windows))]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    run(model, tmp_path / "a.parquet", tmp_path / "b.parquet")
    run(model, tmp_path / "a.parquet", tmp_path / "c.csv")
    sources = [tmp_path / "b.parquet", tmp_path / "c.csv"]
    if "columns" in layout:
        pa.csv.write_csv(pa.table(columns), tmp_path / "d.csv")
        run(model, tmp_path / "d.csv", tmp_path / "e.csv")
        run(model, tmp_path / "d.csv", tmp_path / "f.parquet")
        sources += [tmp_path / "e.csv", tmp_path / "f.parquet"]
        assert pq.read_schema(tmp_path / "f.parquet").field("label").type == pa.string()
    expected = predict(load_model(model), windows, 8192)
    first = read(sources[0])
    for source in sources:
        found = read(source)
        assert np.array_equal(found["prediction"], expected)
        for name in (*OUTPUTS, "label"):
            assert np.array_equal(found[name], first[name])
    names = pq.read_schema(tmp_path / "b.parquet").names
    assert names == [*columns, *(OUTPUTS if "columns" not in layout else numbered_outputs())]


def numbered_outputs():
    return [f"{name}_{at}" for name in OUTPUTS for at in range(LENGTH)]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_batches_are_those_of_all_windows_at_once_whatever_the_parts_they_come_in(
    model, windows, tmp_path, monkeypatch, batch_size
):
    monkeypatch.setattr(prediction, "_SLAB_VALUES", 1300)
    for part, (begin, end) in enumerate([(0, 333), (333, 340), (340, 1000)]):
        part_of = pa.table({"input": fixed(windows[begin:end])})
        pq.write_table(part_of, tmp_path / f"part-{part}.parquet", row_group_size=100)
    run(model, tmp_path, tmp_path / "out.parquet", "--batch-size", batch_size)
    expected = predict(load_model(model), windows, batch_size)
    assert np.array_equal(read(tmp_path / "out.parquet")["prediction"], expected)


def test_whole_numbers_are_samples_too(model, tmp_path):
    windows = np.random.default_rng(0).integers(-3, 4, (20, LENGTH))
    expected = predict(load_model(model), windows.astype(np.float32), 8192)
    pq.write_table(pa.table({"input": windows.tolist()}), tmp_path / "a.parquet")
    pa.csv.write_csv(pa.table(numbered("input", windows)), tmp_path / "b.csv")
    for source in ("a.parquet", "b.csv"):
        run(model, tmp_path / source, tmp_path / "out.parquet")
        assert np.array_equal(read(tmp_path / "out.parquet")["prediction"], expected)
    assert pq.read_schema(tmp_path / "out.parquet").field("input_0").type == pa.int64()


@pytest.mark.parametrize("hop", [1, 3, LENGTH - 1, LENGTH])
@pytest.mark.parametrize("count", [10, 11, 19, 20, 21, 997])
def test_a_signal_is_put_together_as_a_plain_loop_does_it(model, tmp_path, monkeypatch, hop, count):
    monkeypatch.setattr(prediction, "_SLAB_VALUES", 900)
    samples = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    table = pa.table({"time": np.arange(count) / 8.0, "v": samples, "phase": pa.array(["a"] * count)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=77)
    starts = starts_of(count, hop)
    windows = np.array([samples[begin : begin + LENGTH] for begin in starts])
    expected = averaged(predict(load_model(model), windows, 32), starts, count)

    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", hop, "--column", "v", "--batch-size", 32)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == ["time", "v", "given_phase", *OUTPUTS]
    assert found.select([0, 1, 2]).rename_columns(table.column_names).equals(table)
    assert np.array_equal(found["prediction"].to_numpy(), expected)
    assert np.allclose(found["amplitude"].to_numpy(), np.hypot(samples, expected), rtol=1e-6)
    assert np.allclose(found["phase"].to_numpy(), np.arctan2(samples, expected), rtol=1e-6)

    pa.csv.write_csv(table.rename_columns(["time", "input", "phase"]), tmp_path / "in.csv")
    run(model, tmp_path / "in.csv", tmp_path / "out.csv", "--hop", hop, "--batch-size", 32)
    assert np.array_equal(read(tmp_path / "out.csv")["prediction"].astype(np.float32), expected)


def test_a_file_can_be_its_own_output_and_stays_as_it_was_when_refused(model, windows, tmp_path):
    for spoilt in (False, True):
        table = pa.table({"input": fixed(windows * (np.inf if spoilt else 1.0))})
        pq.write_table(table, tmp_path / "a.parquet")
        before = (tmp_path / "a.parquet").read_bytes()
        if spoilt:
            with pytest.raises(DataError):
                run(model, tmp_path / "a.parquet", tmp_path / "a.parquet")
            assert (tmp_path / "a.parquet").read_bytes() == before
        else:
            run(model, tmp_path / "a.parquet", tmp_path / "a.parquet")
            assert np.array_equal(read(tmp_path / "a.parquet")["input"], windows)
            assert "prediction" in read(tmp_path / "a.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_the_format_is_what_was_asked_for_whatever_the_name(model, windows, tmp_path):
    pq.write_table(pa.table({"input": fixed(windows)}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "estimates.txt", "--format", "csv")
    assert (tmp_path / "estimates.txt").read_text().startswith("input_0,")
    run(model, tmp_path / "in.parquet", tmp_path / "estimates", "--format", "parquet")
    assert pq.read_table(tmp_path / "estimates").num_rows == len(windows)


GOOD = np.linspace(-1.0, 1.0, 5 * LENGTH).reshape(5, LENGTH).tolist()


def changed(row, position, value):
    values = [list(window) for window in GOOD]
    values[row][position] = value
    return values


def parquet(**columns):
    return lambda path: pq.write_table(pa.table(columns), path)


def text(*lines):
    return lambda path: path.write_text("\n".join(lines) + "\n")


HEADER = ",".join(f"input_{at}" for at in range(LENGTH))
ROW = ",".join(["0.5"] * LENGTH)

EMPTY = "{} is empty or begins with an empty line; its first line should name its columns"
NO_ROWS = "{} holds no rows, so there is nothing to estimate"
EITHER = "columns input_0, input_1, ...; its windows should be in one or the other"
READS = "the model reads windows of 10"
SIGNAL = "not lists of 10 numbers; if it is a signal, a sample a row, give --hop"
MISSING = "is missing; leave the row out, or put a number there"
FINITE = "leave the row out, or put a finite number there"

REFUSED = {
    "missing.parquet": (lambda _: None, "{} is missing"),
    "missing.csv": (lambda _: None, "{} is missing"),
    "in.txt": (lambda path: path.touch(), "{} ends in neither .parquet nor .csv; rename it"),
    "empty.csv": (lambda path: path.touch(), EMPTY),
    "header.csv": (text(HEADER), NO_ROWS),
    "rows.parquet": (parquet(input=pa.array([], pa.list_(pa.float32()))), NO_ROWS),
    "folder": (lambda path: path.mkdir(), "{} holds no part-*.parquet; give a file, or a folder of these"),
    "text.parquet": (text(HEADER, ROW), "{} is no readable parquet file ("),
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
    "word.csv": (text(HEADER, ROW, ROW.replace("0.5", "x", 1)), "{}, row 2: input_0 is 'x', which is no number"),
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
        "{} has both phase and given_phase, and phase is to be the output's; rename one",
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
    "blank.csv": (text("input", *["1"] * 30, "", "1"), f"{{}}, row 31: input {MISSING}"),
    "late.parquet": (parquet(input=[*[0.0] * 500, np.inf]), f"{{}}, row 501: input is inf; {FINITE}"),
    "given.csv": (
        text("input,prediction,given_prediction", *["1,1,1"] * 30),
        "{} has both prediction and given_prediction, and prediction is to be the output's; rename one",
    ),
}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(
    ("name", "options", "case"),
    [
        *((name, (), case) for name, case in REFUSED.items()),
        *((name, ("--hop", "3"), case) for name, case in REFUSED_SIGNALS.items()),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_one_line_and_nothing_is_written(
    model, tmp_path, monkeypatch, name, options, case, suffix
):
    monkeypatch.setattr(prediction, "_SLAB_VALUES", 20)
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


@pytest.mark.parametrize("options", [(), ("--hop", 10)])
def test_an_estimate_that_is_not_finite_is_refused_by_its_row(tmp_path, options):
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS | {"cell": "rnn", "nonlinearity": "relu"}), LENGTH)
    initialize(network, 0)
    with torch.no_grad():
        network.linear.weight *= 1000.0
    save_model(network, tmp_path / "model.safetensors")
    windows = np.zeros((40, LENGTH), np.float32)
    windows[30] = 3e38
    pq.write_table(pa.table({"input": windows.ravel() if options else fixed(windows)}), tmp_path / "in.parquet")
    with pytest.raises(DataError) as caught:
        run(tmp_path / "model.safetensors", tmp_path / "in.parquet", tmp_path / "out.parquet", *options)
    place = f"{tmp_path}/in.parquet, row {301 if options else 31}"
    assert str(caught.value) == (
        f"{place}: the estimate is not finite; are the samples as large as those of the training?"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "model.safetensors"]


@pytest.fixture
def folder(windows, tmp_path):
    """A folder of three shards."""
    (tmp_path / "windows").mkdir()
    for shard, part in enumerate(np.split(windows, [400, 800])):
        pq.write_table(pa.table({"input": fixed(part)}), tmp_path / f"windows/part-{shard:05}.parquet")
    return tmp_path / "windows"


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_becomes_a_folder_of_the_same_files(model, folder, tmp_path, ending):
    run(model, folder, f"{tmp_path}/estimates{ending}")
    for path in folder.iterdir():
        run(model, path, tmp_path / "expected.parquet")
        assert (tmp_path / "estimates" / path.name).read_bytes() == (tmp_path / "expected.parquet").read_bytes()
    assert len(files(tmp_path / "estimates")) == 3


def test_processes_share_a_folder_and_write_what_one_does(model, folder, tmp_path, monkeypatch):
    run(model, folder, tmp_path / "one")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        run(model, folder, tmp_path / "two")
        assert len(files(tmp_path / "two")) == (2, 3)[rank]
    assert files(tmp_path / "two") == files(tmp_path / "one")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("source", "output", "options", "message"),
    [
        ("windows", "estimates", ("--hop", "5"), "--hop follows one signal, and .*estimates is a folder; name a file"),
        ("windows", "old", (), "old holds part-00007.parquet, which .*windows does not; remove it, or name another"),
        ("empty", "estimates", (), r"empty holds no part-\*.parquet; give a file, or a folder of these"),
        ("windows/part-00000.parquet", "old", (), "old is a folder; name a file to write"),
    ],
)
def test_a_folder_that_cannot_be_shared_is_refused(model, tmp_path, source, output, options, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old/part-00007.parquet").write_text("of a larger data set")
    before = files(tmp_path / "old")
    with pytest.raises((DataError, ParameterError), match=message):
        run(model, tmp_path / source, tmp_path / output, *options)
    assert files(tmp_path / "old") == before
    assert not (tmp_path / "estimates").exists()


@pytest.mark.parametrize(("source", "output"), [("windows", "one.parquet"), ("windows/part-00000.parquet", "one.csv")])
def test_several_processes_never_write_one_file(model, folder, tmp_path, monkeypatch, source, output):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ParameterError, match="several processes share a folder; give one as --input, and one as --out"):
        run(model, folder.parent / source, tmp_path / output)
    assert not (tmp_path / output).exists()


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
    with pytest.raises(DataError, match=r"row 4: x holds 2 values, not 1 as before; CSV needs as many, parquet not$"):
        run(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    pq.write_table(table.slice(0, 3).append_column("x_0", pa.array([0, 0, 0])), tmp_path / "in.parquet")
    with pytest.raises(
        DataError, match=r"has both x_0 and x_0, which are one in CSV|which are one in CSV; rename one$"
    ):
        run(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            ["--hop", "11"],
            ParameterError,
            "--hop is 11, and samples between windows of 10 would go without an estimate",
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
        .endswith(f"argument {option}: {value} is no whole number from 1 to {2**24}")
    )


def test_the_process_ends_with_one_line_and_the_exit_code(model, tmp_path):
    with start(model, tmp_path / "in.csv", tmp_path / "out.csv") as process:
        assert (process.communicate()[1], process.returncode) == (f"{tmp_path}/in.csv is missing\n", 65)
    assert not list(tmp_path.iterdir())


def shell(script, tmp_path, **variables):
    """Runs a line of shell with `predict` for the command; returns exit code, standard output and standard error."""
    for name in ("TMPDIR", "files"):
        (tmp_path / name).mkdir(exist_ok=True)
    words = [sys.executable, "-m", "quadrature", "predict", "--device", "cpu", "--threads", "1"]
    line = f'set -o pipefail; predict() {{ {shlex.join(words)} "$@"; }}; {script}'
    env = {**os.environ, "TMPDIR": str(tmp_path / "TMPDIR"), **{name: str(path) for name, path in variables.items()}}
    result = subprocess.run(["bash", "-c", line], cwd=PROJECT, env=env, capture_output=True, check=False)
    assert not list((tmp_path / "TMPDIR").iterdir())
    return result.returncode, result.stdout, result.stderr.decode()


def test_pipes_carry_what_files_do(model, windows, tmp_path):
    pq.write_table(pa.table({"input": fixed(windows)}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    script = 'cat "$D/in.parquet" | predict --model "$M" --input - --output - | cat'
    code, found, errors = shell(script, tmp_path, D=tmp_path, M=model)
    assert (code, errors) == (0, "")
    assert found == (tmp_path / "out.parquet").read_bytes()
    script = (
        'predict --model "$M" --input "$D/in.parquet" --output - --format csv | cut -d, -f1-10 '
        '| predict --model "$M" --input - --output -'
    )
    code, found, errors = shell(script, tmp_path, D=tmp_path, M=model)
    assert (code, errors) == (0, "")
    assert found == (tmp_path / "out.csv").read_bytes()


def test_a_refusal_sends_nothing_down_the_pipe(model, tmp_path):
    lines = [HEADER, *[ROW] * 20_000, ROW[:-3] + "nan"]
    script = 'cat "$D/in.csv" | predict --model "$M" --input - --output -'
    text(*lines)(tmp_path / "in.csv")
    code, found, errors = shell(script, tmp_path, D=tmp_path, M=model)
    message = "standard input, row 20001: input_9 is nan; leave the row out, or put a finite number there\n"
    assert (code, found, errors) == (65, b"", message)


def test_a_reader_that_leaves_ends_the_command_without_a_word(model, tmp_path):
    text(HEADER, *[ROW] * 20_000)(tmp_path / "in.csv")
    script = 'predict --model "$M" --input "$D/in.csv" --output - | head --lines 2'
    code, found, errors = shell(script, tmp_path, D=tmp_path, M=model)
    assert (code, errors) == (128 + signal.SIGPIPE, "")
    assert found.count(b"\n") == 2


@pytest.mark.parametrize("output", ["out.parquet", "-"])
def test_an_interrupted_command_leaves_nothing(model, tmp_path, output):
    windows = np.zeros((2**21, LENGTH), np.float32)
    pq.write_table(pa.table({"input": fixed(windows)}), tmp_path / "in.parquet")
    (tmp_path / "TMPDIR").mkdir()
    target = tmp_path / output if output != "-" else output
    env = {**os.environ, "TMPDIR": str(tmp_path / "TMPDIR")}
    half_written = ".out.parquet.tmp" if output != "-" else "TMPDIR/*/.output.tmp"
    with start(model, tmp_path / "in.parquet", target, stdout=subprocess.PIPE, env=env) as process:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.glob(half_written)):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        found, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert errors == "interrupted by SIGTERM; nothing unfinished was kept\n"
    assert found == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["TMPDIR", "in.parquet"]
    assert not list((tmp_path / "TMPDIR").iterdir())


def test_importing_the_command_needs_torch_but_no_pandas_matplotlib_or_dvc():
    program = (
        "import sys, quadrature.commands.predict; "
        "print(*sorted({'pandas', 'matplotlib', 'dvc', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "\n"


def peak_memory(model, source, output, *options):
    """Returns the command's peak resident memory in MB, read from the kernel's record of it."""
    program = (
        "import os, runpy, sys\n"
        "os._exit = sys.exit\n"
        "sys.argv[0] = 'quadrature'\n"
        "try: runpy.run_module('quadrature', run_name='__main__')\n"
        "finally: print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = ["--model", model, "--input", source, "--output", output, "--device", "cpu", "--threads", 1, *options]
    result = subprocess.run(
        [sys.executable, "-c", program, "predict", *map(str, command)],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(result.stdout.split()[1]) / 1e3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "hop"), [("parquet", None), ("csv", None), ("csv", 5)])
def test_memory_does_not_grow_with_the_file(model, tmp_path, suffix, hop):
    """Sixteen times the rows take at most 5 % and 96 MB more: with few, not all of the parts in flight are full.

    To hold 2^20 windows, or 2^22 samples, with their windows and estimates would take hundreds.
    """
    peaks = []
    for count in (2**16, 2**20) if hop is None else (2**18, 2**22):
        shape = (count, LENGTH) if hop is None else (count, 1)
        samples = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        columns = numbered("input", samples) if hop is None else {"input": samples[:, 0]}
        path = tmp_path / f"in.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.table(columns), path)
        else:
            pa.csv.write_csv(pa.table(columns), path)
        options = () if hop is None else ("--hop", hop)
        peaks.append(peak_memory(model, path, tmp_path / f"out.{suffix}", *options))
    assert peaks[1] < 1.05 * peaks[0] + 96, peaks
    assert peaks[1] < 700, peaks


@pytest.mark.slow
def test_the_pages_commands_run_one_after_another(checkout):
    checkout.repro()
    (checkout.path / ".venv").symlink_to(sys.prefix)
    script = commands("docs/predict.md")
    assert len(script) >= 5
    checkout.run("bash", "-euo", "pipefail", "-c", "\n".join(script))
    found = read_windows(checkout.path / "data/predictions.parquet", ["prediction"])["prediction"]
    assert np.array_equal(read(checkout.path / "estimates.parquet")["prediction"], found)
