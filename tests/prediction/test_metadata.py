"""Estimates in parquet keep the metadata of the input, so that pandas reads the same rows and types beside them."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.prediction.added_columns import OUTPUTS
from quadrature.storage.windows import writing
from tests.prediction.running import LENGTH, fixed, run

ROWS = 50
LABELS = np.random.default_rng(0).permutation(ROWS) + 1000
SIGNAL = np.sin(np.arange(ROWS))

INDICES = {
    "numbers": pd.Index(LABELS),
    "a name of the output": pd.Index(LABELS, name="phase"),
    "a range": pd.RangeIndex(5, 5 + 2 * ROWS, 2, name="row"),
    "two levels": pd.MultiIndex.from_arrays([LABELS, ["a"] * ROWS], names=["label", None]),
    "times": pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="Europe/Paris"),
}
COLUMNS = {
    "texts": (pd.Index(["x"], name="channel"), ["x", *OUTPUTS]),
    "numbers": (pd.Index([0]), ["0", *OUTPUTS]),
    "dates": (pd.DatetimeIndex(["2024-01-01"]), ["2024-01-01 00:00:00", *OUTPUTS]),
    "two levels": (
        pd.MultiIndex.from_tuples([("x", 1)], names=["a", "b"]),
        [("x", "1"), *((name, "") for name in OUTPUTS)],
    ),
}


def estimate(model, folder, frame, column):
    """Returns a frame as pandas reads it again, and as it reads it with estimates."""
    frame.to_parquet(folder / "in.parquet")
    run(model, folder / "in.parquet", folder / "out.parquet", "--hop", 3, "--column", column)
    return pd.read_parquet(folder / "in.parquet"), pd.read_parquet(folder / "out.parquet")


@pytest.mark.parametrize("kind", INDICES)
def test_the_index_stays_the_index(model, tmp_path, kind):
    given, found = estimate(model, tmp_path, pd.DataFrame({"x": SIGNAL}, INDICES[kind]), "x")
    assert type(found.index) is type(given.index)
    assert [*found.columns] == ["x", *OUTPUTS]
    names = ["given_phase" if name == "phase" else name for name in given.index.names]
    pd.testing.assert_series_equal(found["x"], given["x"].rename_axis(names))


@pytest.mark.parametrize("kind", COLUMNS)
def test_names_of_columns_become_texts_as_those_of_the_estimates_are(model, tmp_path, kind):
    columns, names = COLUMNS[kind]
    given, found = estimate(model, tmp_path, pd.DataFrame(SIGNAL[:, None], columns=columns), str(names[0]))
    assert [*found.columns] == names
    assert found.columns.names == given.columns.names


def test_types_that_only_pandas_knows_come_back(model, tmp_path):
    frame = pd.DataFrame({
        "x": SIGNAL, "count": pd.array([None, *range(1, ROWS)], "Int32"), "flag": pd.array([None] * ROWS, "boolean"),
        "prediction": pd.array([None, *range(1, ROWS)], "Int16"),
        "month": pd.period_range("2024", periods=ROWS, freq="M"), "small": np.int8(3), "numbers": [[1, 2]] * ROWS,
        "level": pd.Categorical(["b"] * ROWS, ["a", "b", "c"], ordered=True), "text": pd.array(["a"] * ROWS, "string"),
        "time": pd.date_range("2024", periods=ROWS, tz="Asia/Tokyo"),
    })  # fmt: skip
    frame.attrs = {"unit": "V"}
    given, found = estimate(model, tmp_path, frame, "x")
    expected = given.rename(columns={"prediction": "given_prediction"})
    pd.testing.assert_frame_equal(found[expected.columns], expected)
    assert found.attrs == frame.attrs
    assert (found[[*OUTPUTS]].dtypes == np.float32).all()


def test_metadata_of_columns_and_of_others_programs_stays_and_the_digest_of_the_input_goes(model, tmp_path):
    window = pa.list_(pa.field("element", pa.float32(), metadata={"unit": "mV"}), LENGTH)
    with writing(tmp_path / "ours.parquet") as writer:
        writer.write({"input": np.ones((ROWS, LENGTH), np.float32)})
    ours = pq.read_metadata(tmp_path / "ours.parquet").metadata[b"quadrature"]
    schema = pa.schema([
        pa.field("key", pa.dictionary(pa.int8(), pa.string(), ordered=True), metadata={"role": "label"}),
        pa.field("input", window, nullable=False, metadata={"unit": "V"}),
        pa.field("id", pa.uuid(), metadata={"role": "id"}),
        pa.field("own", pa.int64(), metadata={"ARROW:extension:name": "own", "ARROW:extension:metadata": "1"}),
        pa.field("phase", pa.timestamp("us", "Asia/Tokyo"), metadata={"role": "time"}),
    ], metadata={"device": "scope 3", "pandas": "[" * 10**5, "quadrature": ours})  # fmt: skip
    columns = [
        pa.array(["a"] * ROWS).dictionary_encode().cast(schema.field("key").type),
        fixed(np.ones((ROWS, LENGTH), np.float32)).cast(window), pa.array([b"\0" * 16] * ROWS, pa.uuid()),
        pa.array(range(ROWS)), pa.array([0] * ROWS, schema.field("phase").type),
    ]  # fmt: skip
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    given, found = pq.read_table(tmp_path / "in.parquet"), pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == ["key", "input", "id", "own", "given_phase", *OUTPUTS]
    for name in schema.names:
        kept = "given_phase" if name == "phase" else name
        assert found.schema.field(kept).with_name(name).equals(given.schema.field(name), check_metadata=True)
        assert found[kept].equals(given[name])
    assert found.schema.metadata == {key: given.schema.metadata[key] for key in (b"device", b"pandas")}
    with pq.ParquetWriter(tmp_path / "in.parquet", given.schema) as file:
        file.write_table(given)
        file.add_key_value_metadata({"added later": "1"})
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert pq.read_metadata(tmp_path / "out.parquet").metadata[b"added later"] == b"1"


@pytest.mark.parametrize("numbered", [False, True])
def test_estimates_of_windows_are_described_to_pandas_before_the_index(model, tmp_path, numbered):
    windows = np.ones((ROWS, LENGTH), np.float32)
    frame = pd.DataFrame(windows, LABELS, [f"input_{at}" for at in range(LENGTH)])
    if not numbered:
        frame = pd.DataFrame({"input": [*windows]}, LABELS)
    frame.to_parquet(tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pq.read_schema(tmp_path / "out.parquet")
    described = json.loads(found.metadata[b"pandas"])["columns"]
    assert sorted(each["field_name"] for each in described) == sorted(found.names)
    assert described[-1]["field_name"] == "__index_level_0__"
    kinds = {(each["pandas_type"], each["numpy_type"]) for each in described[:-1]}
    assert kinds == {("float32", "float32") if numbered else ("list[float32]", "object")}
    assert pd.read_parquet(tmp_path / "out.parquet").index.equals(frame.index)
