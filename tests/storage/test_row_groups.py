"""Reading a file of windows a row group at a time: the values of the whole file, and its checks before any value."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from quadrature.runtime.errors import DataError
from quadrature.storage.windows import WINDOW_COLUMNS, read_row_groups, read_windows, writing
from tests.storage.test_windows import write_table

SIZES = (3, 1, 4)


@pytest.fixture
def path(tmp_path):
    """A file of three row groups."""
    rng = np.random.default_rng(0)
    with writing(tmp_path / "windows.parquet") as file:
        for size in SIZES:
            lists = {name: rng.standard_normal((size, 5)).astype(np.float32) for name in ("input", "target")}
            file.write(lists | {name: rng.uniform(size=size) for name in ("phase", "frequency", "amplitude")})
    return tmp_path / "windows.parquet"


def test_the_row_groups_are_the_file(path):
    groups = list(read_row_groups(path, WINDOW_COLUMNS))
    assert [len(group["input"]) for group in groups] == [*SIZES]
    whole = read_windows(path, WINDOW_COLUMNS)
    for name in WINDOW_COLUMNS:
        assert (np.concatenate([group[name] for group in groups]) == whole[name]).all()


def test_one_row_group_is_read_at_a_time(path, monkeypatch):
    read = []
    monkeypatch.setattr("quadrature.storage.windows.to_array", lambda place, name, _column: read.append((place, name)))
    groups = read_row_groups(path, ["input"])
    for number in range(3):
        next(groups)
        assert read[number:] == [(f"{path}, row group {number}", "input")]


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_changed_byte_anywhere_is_refused_before_the_first_row_group(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"windows\.parquet"):
        next(read_row_groups(path, WINDOW_COLUMNS))


def test_another_files_columns_are_refused(path):
    with pytest.raises(
        DataError, match=r"has the columns input, target, phase, frequency, amplitude, not .*prediction"
    ):
        next(read_row_groups(path, (*WINDOW_COLUMNS, "prediction")))


def test_a_shard_of_several_and_a_file_without_windows_are_refused(tmp_path):
    columns = {name: np.ones((1, 5), np.float32) for name in ("input", "target")}
    columns |= {name: np.ones(1) for name in ("phase", "frequency", "amplitude")}
    with writing(tmp_path / "shard.parquet", 1, 3) as file:
        file.write(columns)
    with pytest.raises(DataError, match="shard 1 of 3"):
        next(read_row_groups(tmp_path / "shard.parquet", WINDOW_COLUMNS))
    with writing(tmp_path / "empty.parquet") as file:
        file.write(columns)
    write_table(tmp_path / "empty.parquet", pq.read_table(tmp_path / "empty.parquet").slice(0, 0))
    with pytest.raises(DataError, match="holds no windows"):
        next(read_row_groups(tmp_path / "empty.parquet", WINDOW_COLUMNS))


def test_a_value_that_is_not_finite_is_refused_with_its_row_group(tmp_path):
    columns = {name: np.ones((2, 5), np.float32) for name in ("input", "target")}
    columns |= {name: np.ones(2) for name in ("phase", "frequency", "amplitude")}
    with writing(tmp_path / "windows.parquet") as file:
        file.write(columns)
        file.write(columns | {"phase": np.array([1.0, np.inf])})
    groups = read_row_groups(tmp_path / "windows.parquet", WINDOW_COLUMNS)
    next(groups)
    with pytest.raises(DataError, match=r"windows\.parquet, row group 1, row 1: phase is not finite"):
        next(groups)
