"""Several columns are several channels, each estimated as if it were alone."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from quadrature.prediction import estimates
from quadrature.prediction.added_columns import HERTZ, OUTPUTS
from quadrature.runtime.errors import DataError, ParameterError
from tests.prediction.running import run


@pytest.fixture
def signals(tmp_path):
    """A file of three channels; the second has gaps, long and short."""
    samples = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    gaps = np.zeros(500, np.bool_)
    gaps[[3, 97, 98, 300, *range(200, 230), 499]] = True
    names = ("a", "b", "phase")
    columns = [pa.array(samples[:, index], mask=gaps if index == 1 else None) for index in range(3)]
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), tmp_path / "in.parquet")
    pa.csv.write_csv(pa.table(dict(zip(names, columns, strict=True))), tmp_path / "in.csv")
    return tmp_path


@pytest.mark.parametrize("gaps", ["interpolate", "null"])
@pytest.mark.parametrize(
    ("suffix", "output", "rate"), [("csv", "analytic", ()), ("parquet", "quadrature", ("--rate", 8))]
)
def test_each_channel_is_estimated_as_if_it_were_alone(models, signals, monkeypatch, gaps, suffix, output, rate):
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 400)
    model, outputs = models[output], (*OUTPUTS, HERTZ) if rate else OUTPUTS
    options = ("--hop", 3, "--batch-size", 8, "--gaps", gaps, *rate)
    order = ("phase", "b", "a")
    named = [option for name in order for option in ("--column", name)]
    run(model, signals / f"in.{suffix}", signals / "out.parquet", *options, *named)
    found = pq.read_table(signals / "out.parquet")
    assert found.column_names == ["a", "b", "phase", *(f"{output}_{name}" for name in order for output in outputs)]
    for name in order:
        run(model, signals / f"in.{suffix}", signals / "one.parquet", *options, "--column", name)
        alone = pq.read_table(signals / "one.parquet")
        for output in outputs:
            assert found[f"{output}_{name}"].equals(alone[output])
        assert (alone["prediction"].null_count > 0) == (name == "b")


def test_the_columns_of_channels_are_null_or_empty_each_by_itself(model, signals):
    options = ("--hop", 5, "--gaps", "null", "--column", "a", "--column", "b")
    run(model, signals / "in.csv", signals / "out.csv", *options)
    row = (signals / "out.csv").read_text().splitlines()[211].split(",")
    assert all(row[3:9])
    assert row[9:] == [""] * 6


def test_a_channel_that_is_missing_or_named_twice_is_refused(model, signals):
    with pytest.raises(DataError, match=r"in\.csv has no column c; it has a, b, phase$"):
        run(model, signals / "in.csv", signals / "out.csv", "--hop", 5, "--column", "a", "--column", "c")
    with pytest.raises(DataError, match=r"in\.csv, row 4: b is missing; give --gaps interpolate or --gaps null, or"):
        run(model, signals / "in.csv", signals / "out.csv", "--hop", 5, "--column", "a", "--column", "b")
    with pytest.raises(ParameterError, match=r"^--column a is given 2 times; give it once$"):
        run(model, signals / "in.csv", signals / "out.csv", "--hop", 5, "--column", "a", "--column", "a")
    assert not (signals / "out.csv").exists()


def test_a_column_of_an_outputs_name_gives_way(model, tmp_path):
    pq.write_table(pa.table({"a": [0.0] * 20, "b": [1.0] * 20, "phase_b": [2.0] * 20}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", 5, "--column", "a", "--column", "b")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names[:3] == ["a", "b", "given_phase_b"]
    assert found["given_phase_b"].to_pylist() == [2.0] * 20
