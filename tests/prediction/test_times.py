"""A signal's times are evenly spaced, or the row that breaks the rule is named."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.prediction import estimates
from quadrature.prediction.times import TOLERANCE
from quadrature.runtime.errors import DataError, ParameterError
from tests.prediction.running import run

COUNT = 200
START = datetime.datetime(2026, 1, 31, 23, 59, 59)


def stamps(at):
    return START + datetime.timedelta(milliseconds=125 * at)


CSV = {
    "numbers": lambda at: f"{at / 8}",
    "numbers with few digits": lambda at: f"{at / 7:.2f}",
    "numbers with an offset": lambda at: f"{1.7e9 + at / 8:.6f}",
    "decimal comma": lambda at: f'"{at / 8}"'.replace(".", ","),
    "timestamps": lambda at: stamps(at).isoformat(sep=" ", timespec="milliseconds"),
    "timestamps in a zone": lambda at: stamps(at).isoformat(timespec="microseconds") + "Z",
    "times of the day": lambda at: (stamps(at) - datetime.timedelta(hours=2)).time().isoformat("microseconds"),
}  # fmt: skip


def write(path, times):
    rows = [f"{time},{np.sin(0.35 * at)}" for at, time in enumerate(times)]
    path.write_text("\n".join(["time,input", *rows]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", CSV)
def test_even_times_pass_and_a_row_that_is_left_out_is_named(model, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 90)
    options = ("--hop", 1, "--time", "time", "--batch-size", 3)
    if kind == "decimal comma":
        options = (*options, "--decimal", ",", "--delimiter", ";")
    times = [CSV[kind](at) for at in range(COUNT)]
    for missing in (None, 1, 7, 8, 9, 10, 11, 100, COUNT - 2):
        kept = [time for at, time in enumerate(times) if at != missing]
        write(tmp_path / "in.csv", kept)
        if kind == "decimal comma":
            text = (tmp_path / "in.csv").read_text().replace('",', '";').replace("time,", "time;")
            (tmp_path / "in.csv").write_text(text.replace(".", ","))
        if missing is None:
            run(model, tmp_path / "in.csv", tmp_path / "out.csv", *options)
            continue
        with pytest.raises(
            DataError, match=rf"in\.csv, row {missing + 1}: time is 0\.2[0-9]+( s)? after the row before"
        ):
            run(model, tmp_path / "in.csv", tmp_path / "out.csv", *options)


@pytest.mark.parametrize(
    "kind", [pa.float64(), pa.decimal128(12, 3), pa.timestamp("ms"), pa.timestamp("ns", "UTC"), pa.duration("us"),
             pa.time32("ms"), pa.time64("ns"), pa.int32()], ids=str
)  # fmt: skip
def test_every_kind_of_time_in_parquet_is_checked(model, tmp_path, kind):
    steps = np.arange(COUNT) * 125
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        times = pa.array(steps / 1000).cast(kind, safe=False)
    else:
        milliseconds = pa.array(steps.astype("timedelta64[ms]"))
        is_time = pa.types.is_time(kind)
        times = pa.array(steps, pa.int32()).cast(pa.time32("ms")).cast(kind) if is_time else None
        if pa.types.is_timestamp(kind):
            times = pa.array(steps).cast(pa.timestamp("ms")).cast(pa.timestamp(kind.unit)).cast(kind)
        times = times or (milliseconds.cast(kind) if pa.types.is_duration(kind) else pa.array(steps).cast(kind))
    table = pa.table({"time": times, "input": np.zeros(COUNT)})
    pq.write_table(table, tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", 5, "--time", "time")
    pq.write_table(pa.concat_tables([table.slice(0, 30), table.slice(31)]), tmp_path / "in.parquet")
    with pytest.raises(
        DataError, match=r"row 31: time is 0?[.]?250?( s)? after the row before, where 0?[.]?125( s)? w"
    ):
        run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", 5, "--time", "time")


ADVICE = "was expected; put rows that are missing back, with an empty sample, and give --gaps"


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([*range(50), 49, *range(51, 90)], f", row 51: time is 0 after the row before, where 1 {ADVICE}"),
        ([*range(50), 20, *range(51, 90)], f", row 51: time is -29 after the row before, where 1 {ADVICE}"),
        ([0, 5, *range(6, 90)], f", row 2: time is 5 after the row before, where 1 {ADVICE}"),
        ([*range(90, 0, -1)], ": time does not increase; sort the rows, or name a column of times"),
        ([7] * 90, ": time does not increase; sort the rows, or name a column of times"),
        (
            ["x", *range(1, 90)],
            ", row 1: time is 'x', which is neither a number nor a time such as 2026-01-31 12:00:00.125",
        ),
        (
            ["'0,5'", *range(1, 90)],
            ", row 1 has 3 fields, but the header has 2",
        ),
        (["12:00", "12:01", "nan", "12:03"], ", row 3: time is 'nan', which is not a time like those before"),
        (["", *["12:00"] * 40], ", row 1: time is missing; put its time there"),
        ([*range(50), "", *range(51, 90)], ", row 51: time is missing; put its time there"),
        ([*range(50), "nan", *range(51, 90)], ", row 51: time is missing; put its time there"),
        ([*range(50), "x", *range(51, 90)], ", row 51: time is 'x', which is not a time like those before"),
        ([*range(50), *["12:00"] * 40], ", row 51: time is '12:00', which is not a time like those before"),
        (
            [*range(50), 50 + 1.01 * TOLERANCE, *range(51, 90)],
            f", row 51: time is 1.101 after the row before, where 1 {ADVICE}",
        ),
    ],
)  # fmt: skip
def test_times_that_are_not_even_are_refused(model, tmp_path, times, message):
    write(tmp_path / "in.csv", times)
    for output in ("out.csv", "out.parquet"):
        with pytest.raises(DataError) as caught:
            run(model, tmp_path / "in.csv", tmp_path / output, "--hop", 5, "--time", "time", "--gaps", "null")
        assert str(caught.value) == f"{tmp_path}/in.csv{message}"


@pytest.mark.parametrize("kind", [pa.uint8(), pa.uint32(), pa.uint64()], ids=str)
def test_unsigned_times_that_fall_are_refused(model, tmp_path, kind):
    table = pa.table({"time": pa.array(range(90, 0, -1), kind), "input": np.zeros(90)})
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(DataError, match="time does not increase; sort the rows"):
        run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", 5, "--time", "time")


def test_a_step_within_the_tolerance_passes(model, tmp_path):
    write(tmp_path / "in.csv", [*range(50), *(at + 0.99 * TOLERANCE for at in range(50, 90))])
    run(model, tmp_path / "in.csv", tmp_path / "out.csv", "--hop", 5, "--time", "time")


def test_times_of_two_kinds_are_refused_also_where_slabs_meet(model, tmp_path, monkeypatch):
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 50)
    write(tmp_path / "in.csv", [*range(50), *(CSV["timestamps"](at) for at in range(50))])
    with pytest.raises(
        DataError, match=r"row 51: time is '2026-01-31 23:59:59\.000', which is not a time like those b"
    ):
        run(model, tmp_path / "in.csv", tmp_path / "out.csv", "--hop", 5, "--time", "time", "--batch-size", 1)


def test_a_column_that_is_no_time_is_refused(model, tmp_path):
    table = pa.table({"input": [0.0] * 30, "word": ["a"] * 30})
    pq.write_table(table, tmp_path / "in.parquet")
    for name, message in (
        ("word", ": word holds string, not times; name a column of numbers or timestamps"),
        ("no", " has no column no; it has input, word"),
    ):
        with pytest.raises(DataError) as caught:
            run(model, tmp_path / "in.parquet", tmp_path / "out.csv", "--hop", 5, "--time", name)
        assert str(caught.value) == f"{tmp_path}/in.parquet{message}"
    with pytest.raises(ParameterError, match="--time names the times of a signal; give --hop with it"):
        run(model, tmp_path / "in.parquet", tmp_path / "out.csv", "--time", "input")
