"""Estimates are right for every layout and format of files."""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from quadrature.prediction import estimates
from quadrature.prediction.added_columns import OUTPUTS
from quadrature.runtime.errors import DataError, ParameterError
from tests.prediction.running import LENGTH, OUTPUTS_OF_MODELS, components, fixed, numbered, read, run
from tests.prediction.test_derived import assert_derived
from tests.prediction.test_overlap import averaged, starts_of

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
    """Both for the folder of test windows and for data/predictions.parquet, whose columns are kept as given_*."""
    expected = pq.read_table(finished.path / "data/predictions.parquet")
    model = finished.path / "models/model.safetensors"
    threads = ("--threads", finished.yaml("params.yaml")["train"]["threads"])
    run(model, finished.path / "data/windows/test", tmp_path / "folder.parquet", *threads)
    found = pq.read_table(tmp_path / "folder.parquet")
    assert found["prediction"].to_pylist() == expected["prediction"].to_pylist()
    for name, column in (("in_phase", "in_phase_prediction"), ("quadrature", "prediction")):
        assert found[name].to_pylist() == expected[column].to_pylist()
    names = ["input", "target", *(f"given_{name}" for name in ("phase", "frequency", "amplitude", "in_phase"))]
    assert found.column_names == [*names, *OUTPUTS]
    for name in names:
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


@pytest.mark.parametrize("output", OUTPUTS_OF_MODELS)
def test_amplitude_phase_and_frequency_follow_from_the_estimates(models, windows, tmp_path, output):
    special = windows.copy()
    special[0] = 0.0
    special[1] = -0.0
    special[2] = -1e-30
    special[3, ::2] *= 1e30
    pq.write_table(pa.table({"input": fixed(special)}), tmp_path / "in.parquet")
    run(models[output], tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["prediction"].equals(found["quadrature"])
    if output == "quadrature":  # the samples as they are, noise and all
        assert found["in_phase"].to_pylist() == found["input"].to_pylist()
    for window in zip(*(found[name].to_pylist() for name in OUTPUTS if name != "prediction"), strict=True):
        assert_derived(*window)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_format_gives_the_same_estimates_to_the_bit(models, windows, tmp_path, layout):
    model = models["quadrature" if "float64" in layout else "analytic"]
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
    in_phase, quadrature = components(model, windows)
    first = read(sources[0])
    for source in sources:
        found = read(source)
        assert np.array_equal(found["in_phase"], in_phase)
        assert np.array_equal(found["quadrature"], quadrature)
        for name in (*OUTPUTS, "label"):
            assert np.array_equal(found[name], first[name])
    names = pq.read_schema(tmp_path / "b.parquet").names
    assert names == [*columns, *(OUTPUTS if "columns" not in layout else numbered_outputs())]


def numbered_outputs():
    return [f"{name}_{at}" for name in OUTPUTS for at in range(LENGTH)]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_batches_are_those_of_all_windows_at_once_whatever_the_parts_they_come_in(
    model, windows, tmp_path, monkeypatch, batch_size
):
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 1300)
    for part, (begin, end) in enumerate([(0, 333), (333, 340), (340, 1000)]):
        part_of = pa.table({"input": fixed(windows[begin:end])})
        pq.write_table(part_of, tmp_path / f"part-{part}.parquet", row_group_size=100)
    run(model, tmp_path, tmp_path / "out.parquet", "--batch-size", batch_size)
    found, (in_phase, quadrature) = read(tmp_path / "out.parquet"), components(model, windows, batch_size)
    assert np.array_equal(found["in_phase"], in_phase)
    assert np.array_equal(found["quadrature"], quadrature)


def test_whole_numbers_are_samples_too(model, tmp_path):
    windows = np.random.default_rng(0).integers(-3, 4, (20, LENGTH))
    _, expected = components(model, windows.astype(np.float32))
    pq.write_table(pa.table({"input": windows.tolist()}), tmp_path / "a.parquet")
    pa.csv.write_csv(pa.table(numbered("input", windows)), tmp_path / "b.csv")
    for source in ("a.parquet", "b.csv"):
        run(model, tmp_path / source, tmp_path / "out.parquet")
        assert np.array_equal(read(tmp_path / "out.parquet")["prediction"], expected)
    assert pq.read_schema(tmp_path / "out.parquet").field("input_0").type == pa.int64()


@pytest.mark.parametrize("kind", [pa.decimal128(9, 4), pa.decimal256(40, 4), pa.decimal32(9, 4)], ids=str)
def test_decimals_are_samples_too_and_stay_decimals(model, windows, tmp_path, kind):
    rounded = np.round(windows[:20].astype(np.float64), 4)
    decimals = pa.array(rounded.ravel()).cast(kind, safe=False)
    _, expected = components(model, rounded.astype(np.float32))
    lists = pa.FixedSizeListArray.from_arrays(decimals, LENGTH)
    columns = {f"input_{at}": pc.list_element(lists, at) for at in range(LENGTH)}
    for table in (pa.table({"input": lists}), pa.table(columns)):
        pq.write_table(table, tmp_path / "in.parquet")
        for suffix in ("parquet", "csv"):
            run(model, tmp_path / "in.parquet", tmp_path / f"out.{suffix}")
            assert np.array_equal(read(tmp_path / f"out.{suffix}")["prediction"].astype(np.float32), expected)
        assert pq.read_schema(tmp_path / "out.parquet").field(0).type == table.schema.field(0).type
    pq.write_table(pa.table({"input": decimals}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", LENGTH)
    assert np.array_equal(read(tmp_path / "out.parquet")["prediction"], expected.ravel())


@pytest.mark.parametrize("hop", [1, 3, LENGTH - 1, LENGTH])
@pytest.mark.parametrize("count", [10, 11, 19, 20, 21, 997])
def test_a_signal_is_put_together_as_a_plain_loop_does_it(models, tmp_path, monkeypatch, hop, count):
    output = "quadrature" if count in {11, 20} or (count, hop) == (997, 3) else "analytic"
    model = models[output]
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 900)
    samples = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    table = pa.table({"time": np.arange(count) / 8.0, "v": samples, "phase": pa.array(["a"] * count)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=77)
    starts = starts_of(count, hop)
    windows = np.array([samples[begin : begin + LENGTH] for begin in starts])
    sine, cosine = (averaged(component, starts, count) for component in components(model, windows, 32))

    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", hop, "--column", "v", "--batch-size", 32)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == ["time", "v", "given_phase", *OUTPUTS]
    assert found.select([0, 1, 2]).rename_columns(table.column_names).equals(table)
    assert np.array_equal(found["in_phase"].to_numpy(), sine)
    for name in ("quadrature", "prediction"):
        assert np.array_equal(found[name].to_numpy(), cosine)
    assert output == "analytic" or np.array_equal(sine, samples)
    assert_derived(*(found[name].to_pylist() for name in OUTPUTS if name != "prediction"))

    pa.csv.write_csv(table.rename_columns(["time", "input", "phase"]), tmp_path / "in.csv")
    run(model, tmp_path / "in.csv", tmp_path / "out.csv", "--hop", hop, "--batch-size", 32)
    assert np.array_equal(read(tmp_path / "out.csv")["prediction"].astype(np.float32), cosine)


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


def test_a_list_of_fixed_size_takes_its_columns_of_csv_though_no_row_has_one(model, windows, tmp_path):
    kind = pa.list_(pa.float32(), 2)
    for values in ([None] * 1000, [None] * 999 + [[1.0, 2.0]]):
        pq.write_table(pa.table({"input": fixed(windows), "extra": pa.array(values, kind)}), tmp_path / "in.parquet")
        run(model, tmp_path / "in.parquet", tmp_path / "out.csv")
        table = pa.csv.read_csv(tmp_path / "out.csv")
        last = values[-1] or [None, None]
        for position in range(2):
            column = table[f"extra_{position}"]
            assert (column.null_count, column[-1].as_py()) == (values.count(None), last[position])


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


class Terminal(io.StringIO):
    """A terminal that keeps its text."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("rank", "shown"), [(0, True), (1, False)])
def test_the_first_process_alone_shows_progress(model, folder, tmp_path, monkeypatch, rank, shown):
    monkeypatch.setattr(sys, "stderr", Terminal())
    pq.write_table(pa.table({"input": fixed(np.zeros((2000, LENGTH), np.float32))}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "one.parquet")
    assert "2.00k/2.00k" in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")
    run(model, folder, tmp_path / "two")
    assert ("file/s" in sys.stderr.getvalue()) == shown
    assert "rows/s" not in sys.stderr.getvalue()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("source", "output", "options", "message"),
    [
        (
            "windows",
            "estimates",
            ("--hop", "5"),
            "--hop reads one signal, but --output .*estimates is a folder; name a file",
        ),
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
    with pytest.raises(
        ParameterError, match="several processes need folders to share; give a folder as --input, and one as --out"
    ):
        run(model, folder.parent / source, tmp_path / output)
    assert not (tmp_path / output).exists()
