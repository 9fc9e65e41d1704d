"""Windows of one's own: cut from tables and recordings, measured, divided in time order, refused in a line."""

import itertools
import re
import shutil
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.runtime.errors import DataError, ParameterError
from quadrature.runtime.params import load_params
from quadrature.signals.params import SPLITS
from quadrature.signals.waves import draw_shard
from quadrature.storage.windows import read_split
from quadrature.tables.source import Source, measure
from stages.generate import Params
from tests.checkout import OWN_PARAMETERS, Checkout

SIZES = {"train": 70, "validation": 20, "test": 11}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with parameters for small splits of several shards, and an empty data/source."""
    shutil.copy(OWN_PARAMETERS, tmp_path / "params.yaml")
    (tmp_path / "data/source").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    folder = Checkout(tmp_path)
    folder.set(**{"generate.windows": SIZES, "generate.shard_windows": 25})
    return folder


@pytest.fixture
def generate(folder):
    """Returns a function that changes parameters and returns those of the stage."""

    def change(name="own.parquet", **changes):
        folder.set(**{f"generate.{key}": value for key, value in {"source": f"data/source/{name}", **changes}.items()})
        return load_params(Params).generate

    return change


def recording(rows, seed=0):
    """Returns a recording, a sample a row: noisy input, target, and the wave without noise."""
    random, angle = np.random.default_rng(seed), 0.3 * np.arange(rows)
    wave = {"target": np.cos(angle), "in_phase": np.sin(angle)}
    columns = {"input": np.sin(angle) + 0.1 * random.standard_normal(rows), **wave}
    return {name: values.astype(np.float32) for name, values in columns.items()}


def save(name, columns):
    path = f"data/source/{name}"
    if path.endswith(".parquet"):
        lists = {key: list(values) if values.ndim > 1 else values for key, values in columns.items()}
        pq.write_table(pa.table(lists), path)
        return
    flat = {
        f"{key}_{index}" if values.ndim > 1 else key: column
        for key, values in columns.items()
        for index, column in enumerate(np.atleast_2d(values.T))
    }
    pd.DataFrame(flat).to_csv(path, index=False)


def shards(source, split, size=25):
    return [source.shard(split, number) for number in range(-(-SIZES[split] // size))]


def joined(parts, name):
    return np.concatenate([part[name] for part in parts])


@pytest.mark.parametrize("name", ["own.parquet", "own.csv", "own.csv.gz"])
def test_a_row_is_a_window_and_the_splits_follow_each_other(generate, name):
    windows = {key: values[:1010].reshape(101, 10) for key, values in recording(1010).items()}
    save(name, windows)
    source = Source(generate(name))
    assert source.rows == 101
    first = 0
    for split in SPLITS:
        parts = shards(source, split)
        for key, values in windows.items():
            assert np.array_equal(joined(parts, key), values[first : first + SIZES[split]])
            assert joined(parts, key).dtype == np.float32
        first += SIZES[split]


@pytest.mark.parametrize("hop", [1, 3, 10, 14])
def test_a_recording_is_cut_by_hop_and_no_sample_of_one_split_is_near_another(generate, hop):
    length, apart = 10, 2 * -(-10 // hop) - 1
    rows = (sum(SIZES.values()) + 2 * apart - 1) * hop + length
    columns = recording(rows) | {"input": np.arange(rows, dtype=np.float32)}
    save("own.parquet", columns)
    source, ends = Source(generate(hop=hop)), []
    for split in SPLITS:
        parts = shards(source, split)
        starts = joined(parts, "input")[:, 0]
        assert np.array_equal(np.diff(starts), np.full(SIZES[split] - 1, hop))
        assert np.array_equal(joined(parts, "input"), starts[:, None] + np.arange(length))
        assert np.array_equal(joined(parts, "target"), columns["target"][joined(parts, "input").astype(int)])
        ends.append((starts[0], starts[-1] + length))
    assert ends[0][0] == 0
    assert ends[2][1] == rows  # every row was needed
    for (_, end), (start, _) in itertools.pairwise(ends):
        assert length <= start - end < length + 2 * hop
    save("own.parquet", {name: values[:-1] for name, values in columns.items()})
    params = generate(hop=hop)
    with pytest.raises(ParameterError, match=r"; set it to fewer, such as \{train"):
        Source(params)


def test_the_rows_between_windows_are_not_held(generate):
    """Of a hop of 1,000 rows, ten are of a window."""
    rows = 105 * 1000
    save("own.parquet", {name: np.arange(rows, dtype=np.float32) for name in ("input", "target")})
    source = Source(generate(hop=1000, shard_windows=100))
    tracemalloc.start()
    windows = source.shard("train", 0)["input"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(windows, 1000.0 * np.arange(SIZES["train"])[:, None] + np.arange(10))
    assert peak < 2.5 * 2 * 4 * 2**16  # the rows of a part, of two columns of float32, and their copy


def test_the_sizes_that_a_refusal_names_are_accepted(generate):
    save("own.csv", recording(411))
    with pytest.raises(ParameterError) as refused:
        Source(generate("own.csv", hop=5))
    assert str(refused.value) == (
        "generate.windows in params.yaml asks for 101 windows, but data/source/own.csv has 411 rows, which make 75; "
        "set it to fewer, such as {train: 61, validation: 7, test: 7}"
    )
    sizes = {name: int(size) for name, size in re.findall(r"(\w+): (\d+)", str(refused.value))}
    source = Source(generate("own.csv", hop=5, windows=sizes))
    assert len(source.shard("test", 0)["input"]) == 7


def test_a_shard_that_an_interrupted_run_finished_is_passed_over(generate):
    save("own.csv", recording(2000))
    params = generate("own.csv", hop=3)
    expected = shards(Source(params), "validation")
    source = Source(params)
    source.shard("train", 1)
    assert np.array_equal(source.shard("validation", 0)["input"], expected[0]["input"])


@pytest.mark.parametrize("task", [{}, {"span": None, "rate": 1000.0, "frequency": {"low": 45.0, "high": 55.0}}])
def test_measured_waves_are_those_that_were_drawn(folder, task):
    """Windows without noise, whose phase, frequency and amplitude are known."""
    folder.set(
        **{f"generate.{name}": value for name, value in {"amplitude": {"low": 2.0, "high": 9.0}, **task}.items()}
    )
    params = load_params(Params).generate
    drawn = draw_shard(params, "train", 0)
    wave = measure(drawn["target"], drawn["in_phase"], params.unit_angle)
    assert np.allclose(wave["frequency"], drawn["frequency"], rtol=1e-5)
    assert np.allclose(wave["amplitude"], drawn["amplitude"], rtol=1e-5)
    apart = np.abs(wave["phase"] - drawn["phase"])
    assert np.minimum(apart, 2.0 * np.pi - apart).max() < 1e-5
    assert wave["phase"].min() >= 0.0
    assert wave["phase"].max() < 2.0 * np.pi


def test_without_the_wave_the_input_takes_its_place(generate):
    columns = recording(2000)
    save("own.parquet", {name: columns[name] for name in ("input", "target")})
    shard = Source(generate(hop=2)).shard("train", 0)
    assert "in_phase" not in shard
    expected = 0.3 * 9 / np.pi  # 0.3 radians a sample, in spans of pi
    assert np.allclose(shard["frequency"], expected, atol=0.2)
    assert np.allclose(shard["amplitude"], 1.0, atol=0.15)


def bad(columns, **changed):
    return {name: values for name, values in (columns | changed).items() if values is not None}


def with_nan(columns):
    values = columns["target"].copy()
    values[130] = np.nan
    return values


@pytest.mark.parametrize(
    ("content", "hop", "words"),
    [
        (lambda c: bad(c, target=None), 5, "has no column target; it has input, in_phase"),
        (lambda c: bad(c, target=with_nan(c)), 5, "row 131: target is nan; put a finite number there"),
        (lambda c: c, None, "input holds float, not lists of 10 numbers; if it is a signal, a sample a row, set "),
        (lambda c: {"input": c["input"][:99].reshape(9, 11)}, None, "neither a column target nor columns target_0"),
        (
            lambda c: {name: c[name][:99].reshape(9, 11) for name in c}, None,
            "row 1: input holds 11 samples; generate.length in params.yaml is 10",
        ),
        (
            lambda c: {name: c[name][:990].reshape(99, 10) for name in c}, 5,
            "not numbers; generate.hop is for a recording of one number a row, set it to null",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_to_set(generate, content, hop, words):
    save("own.parquet", content(recording(2000)))
    params = generate(hop=hop, windows={"train": 5, "validation": 2, "test": 2}, shard_windows=100)
    with pytest.raises(DataError) as refused:
        list(map(Source(params).shard, SPLITS, (0, 0, 0)))
    assert words in str(refused.value)
    assert str(refused.value).startswith("data/source/own.parquet")
    assert "--" not in str(refused.value)


@pytest.mark.parametrize(
    ("first", "row"),
    [
        ("input;target", "1;2"),
        ("# volts", "1,2"),
        ("1,2", "3,4"),
        ("input,target", '"1,5",2'),
        ("input,target", "\xb5,2"),
    ],
)
def test_a_csv_file_is_told_to_be_plain_as_there_are_no_options(generate, folder, first, row):
    lines = [first, *[row] * 50]
    (folder.path / "data/source/own.csv").write_text("\n".join(lines), encoding="latin-1")
    params = generate("own.csv", hop=1, length=2, windows=dict.fromkeys(SPLITS, 1))
    with pytest.raises(DataError, match="save it as CSV with commas, decimal points and a line of column names"):
        Source(params).shard("train", 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"source": "own.csv"},
            "generate.source in params.yaml is the text 'own.csv'; it should begin with data/source/",
        ),
        ({"source": "data/source/../own.csv"}, "it should begin with data/source/, a folder that DVC watches"),
        ({"source": ""}, "it should begin with data/source/"),
        ({"source": None, "hop": 3}, "generate.hop in params.yaml is 3; it is for a recording, and source is null"),
        ({"hop": 0}, "generate.hop in params.yaml is 0; it should be greater than or equal to 1"),
    ],
)
def test_a_source_that_dvc_does_not_watch_is_refused(generate, changes, words):
    with pytest.raises(ParameterError) as refused:
        generate(**changes)
    assert words in str(refused.value)


@pytest.mark.slow
def test_the_stage_makes_the_same_bytes_in_any_number_of_processes(folder, generate):
    save("own.csv", recording(2000))
    generate("own.csv", hop=3)
    folder.stage("generate", "--windows", "one")
    for rank in (1, 0):
        folder.stage("generate", "--windows", "two", RANK=str(rank), WORLD_SIZE="2")
    for split, size in SIZES.items():
        files = [sorted((folder.path / name / split).iterdir()) for name in ("one", "two")]
        assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
        (count,) = {sum(len(part["input"]) for part in read_split(folder.path / "one" / split, ["input"]))}
        assert count == size


@pytest.mark.slow
def test_the_stage_refuses_in_a_line_and_leaves_nothing(folder, generate):
    generate("own.csv", hop=3)
    ended = folder.stage("generate", check=False)
    assert (ended.returncode, ended.stderr) == (65, "data/source/own.csv is missing\n")
    save("own.csv", recording(100))
    ended = folder.stage("generate", check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert not (folder.path / "data/windows").exists()
