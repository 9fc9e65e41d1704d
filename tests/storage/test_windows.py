"""The parquet files: what is written is read, the same arrays give the same bytes, anything else is refused."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.runtime.errors import DataError
from quadrature.storage import digest
from quadrature.storage.arrow import stack
from quadrature.storage.windows import (
    COMPONENTS,
    WINDOW_COLUMNS,
    Split,
    read_split,
    read_windows,
    shard_number,
    shard_path,
    writing,
)
from tests.checkout import PROJECT
from tests.torture.strange import write_table


def make_columns(count=20, length=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "input": rng.standard_normal((count, length)).astype(np.float32),
        "target": rng.standard_normal((count, length)).astype(np.float32),
        "phase": rng.uniform(size=count),
        "frequency": rng.uniform(size=count),
        "amplitude": rng.uniform(size=count),
        "in_phase": rng.standard_normal((count, length)).astype(np.float32),
    }


def write_split(folder, shards=3, left_out=(), **changes):
    for shard in range(shards):
        columns = {**make_columns(seed=shard), **changes}
        with writing(shard_path(folder, shard), shard, shards) as file:
            file.write({name: values for name, values in columns.items() if name not in left_out})
    return folder


def read(folder, columns=WINDOW_COLUMNS):
    return list(read_split(folder, columns))


def test_what_is_written_is_read(tmp_path):
    write_split(tmp_path)
    assert Split(tmp_path).columns == (*WINDOW_COLUMNS, "in_phase")
    for shard, columns in enumerate(read(tmp_path, (*WINDOW_COLUMNS, "in_phase"))):
        expected = make_columns(seed=shard)
        assert list(columns) == [*WINDOW_COLUMNS, "in_phase"]
        for name in columns:
            assert columns[name].dtype == expected[name].dtype
            assert (columns[name] == expected[name]).all()


def test_windows_of_ones_own_may_lack_the_in_phase_component_until_it_is_read(tmp_path):
    write_split(tmp_path, left_out=["in_phase"])
    assert Split(tmp_path).columns == WINDOW_COLUMNS
    assert (read(tmp_path)[1]["target"] == make_columns(seed=1)["target"]).all()
    with pytest.raises(DataError, match=r"part-00000.parquet has the columns .*, amplitude, not .*, in_phase; "):
        read(tmp_path, COMPONENTS)


def test_components_are_stacked_in_the_order_of_their_names():
    columns = make_columns()
    signal = stack(columns, COMPONENTS)
    assert signal.shape == (20, 2, 4)
    assert (signal[:, 0] == columns["in_phase"]).all()
    assert (signal[:, 1] == columns["target"]).all()


def test_one_window_is_a_shard_and_none_is_not(tmp_path):
    path = shard_path(tmp_path, 0)
    with writing(path, 0, 1) as file:
        file.write(make_columns(1))
    assert len(read(tmp_path)[0]["phase"]) == 1
    write_table(path, pq.read_table(path).slice(0, 0))
    with pytest.raises(DataError, match=r"part-00000.parquet holds no windows; "):
        read(tmp_path)


def test_row_groups_are_the_batches_and_come_back_as_one(tmp_path):
    path = tmp_path / "predictions.parquet"
    with writing(path) as file:
        file.write(make_columns(seed=0))
        file.write(make_columns(seed=1))
    assert pq.ParquetFile(path).metadata.num_row_groups == 2
    joined = np.concatenate([make_columns(seed=0)["input"], make_columns(seed=1)["input"]])
    assert (read_windows(path, ["input"])["input"] == joined).all()


def test_the_schema_is_the_contracts(tmp_path):
    file = pq.ParquetFile(shard_path(write_split(tmp_path), 0))
    schema = file.schema_arrow
    element = pa.field("element", pa.float32(), nullable=False)
    for name, expected in {
        "input": pa.list_(element, 4),
        "target": pa.list_(element, 4),
        "phase": pa.float64(),
        "in_phase": pa.list_(element, 4),
    }.items():
        assert schema.field(name).type == expected
        assert not schema.field(name).nullable
    assert schema.metadata is None  # none of pandas'
    assert set(file.metadata.metadata) == {b"ARROW:schema", b"quadrature"}


def test_the_same_windows_give_the_same_bytes(tmp_path):
    first, second = (shard_path(write_split(tmp_path / name), 1).read_bytes() for name in "ab")
    assert first == second


def test_a_failed_write_leaves_what_was_there_and_no_temporary_file(tmp_path):
    path = shard_path(write_split(tmp_path), 0)
    before = path.read_bytes()

    def write_half():
        with writing(path) as file:
            file.write(make_columns())
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert path.read_bytes() == before
    assert sorted(found.name for found in tmp_path.iterdir()) == [f"part-0000{shard}.parquet" for shard in range(3)]


def rewrite(path, change):
    """Rewrites a file as another tool would, keeping the footer's metadata."""
    metadata = {b"quadrature": pq.read_metadata(path).metadata[b"quadrature"]}
    pq.write_table(change(pq.read_table(path)).replace_schema_metadata(metadata), path)


def forge(path, change):
    """Does the same, and gives the file a digest that is right."""
    rewrite(path, change)
    digest.write(path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


DAMAGE = {
    "truncated": truncate,
    "zero bytes": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("phase,frequency\n0,1\n"),
    "a flipped bit": lambda path: flip(path, 800),
    "a flipped bit of what nobody reads": lambda path: flip(path, 8 * path.read_bytes().index(b"parquet-cpp")),
    "removed": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "no rows": lambda path: forge(path, lambda table: table.slice(0, 0)),
    "rewritten whole": lambda path: rewrite(
        path, lambda table: table.set_column(2, "phase", table.column("frequency"))
    ),
    "rows reordered": lambda path: rewrite(path, lambda table: table.take(list(range(19, -1, -1)))),
    "rows cut": lambda path: rewrite(path, lambda table: table.slice(0, 10)),
    "columns reordered": lambda path: forge(path, lambda table: table.select(WINDOW_COLUMNS[::-1])),
    "a column twice": lambda path: forge(path, lambda table: table.append_column("target", table["target"])),
    "a column removed": lambda path: forge(path, lambda table: table.drop_columns("phase")),
    "a column of text": lambda path: forge(path, lambda table: table.set_column(0, "input", pa.array(["x"] * 20))),
    "a null": lambda path: forge(path, lambda table: table.set_column(2, "phase", pa.array([None] + [0.0] * 19))),
    "another project's": lambda path: pq.write_table(pa.table({"x": [1.0]}), path),
    "another shard": lambda path: shutil.copy(shard_path(path.parent, 1), path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    write_split(tmp_path)
    path = shard_path(tmp_path, 0)
    DAMAGE[damage](path)
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    assert "part-0000" in str(caught.value)
    assert caught.value.exit_code == 65


def test_a_missing_last_shard_and_an_empty_folder_are_refused(tmp_path):
    write_split(tmp_path)
    shard_path(tmp_path, 2).unlink()
    with pytest.raises(DataError, match=r"part-00002.parquet is missing; run `dvc repro`"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"part-00000.parquet is missing; run `dvc repro`"):
        read(tmp_path / "nothing")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_by_row(tmp_path, value):
    spoilt = make_columns()["input"]
    spoilt[7, 2] = value
    write_split(tmp_path, input=spoilt)
    with pytest.raises(DataError, match=r"part-00000.parquet, row 7: input is not finite"):
        read(tmp_path)


def test_a_column_that_the_file_lacks_is_refused(tmp_path):
    write_split(tmp_path, shards=1)
    with pytest.raises(DataError, match="has the columns input, target, phase, frequency, amplitude"):
        read_windows(shard_path(tmp_path, 0), ["prediction"])


def test_windows_of_two_lengths_in_one_split_are_refused(tmp_path):
    write_split(tmp_path)
    with writing(shard_path(tmp_path, 2), 2, 3) as file:
        file.write(make_columns(length=5))
    with pytest.raises(DataError, match=r"part-00002.parquet holds windows of 5 samples, not 4"):
        read(tmp_path)


def test_a_split_tells_its_sizes_and_the_length_of_its_windows_from_the_footers_at_its_ends(tmp_path):
    write_split(tmp_path)
    with writing(shard_path(tmp_path, 2), 2, 3) as file:
        file.write(make_columns(count=7, seed=2))
    shard_path(tmp_path, 1).unlink()  # not looked at before it is read
    split = Split(tmp_path)
    assert (split.sizes, split.window_length) == ((20, 20, 7), 4)
    assert (split.read(2, ["phase"])["phase"] == make_columns(count=7, seed=2)["phase"]).all()
    with pytest.raises(DataError, match=r"part-00001.parquet is missing"):
        split.read(1, ["phase"])


def test_a_split_with_another_shard_at_its_end_or_other_windows_is_refused_when_it_is_opened(tmp_path):
    write_split(tmp_path)
    with pytest.raises(DataError, match=r"part-00000.parquet holds windows of 4 samples, not 5"):
        Split(tmp_path, 5)
    shutil.copy(shard_path(tmp_path, 1), shard_path(tmp_path, 2))
    with pytest.raises(DataError, match="written as shard 1 of 3, but its name says 2 of 3"):
        Split(tmp_path)
    shutil.copy(shard_path(tmp_path, 1), shard_path(tmp_path, 0))
    with pytest.raises(DataError, match="written as shard 1 of 3, but its name says 0 of 3"):
        Split(tmp_path)


def test_a_shard_with_more_or_fewer_windows_than_the_first_is_refused(tmp_path):
    write_split(tmp_path)
    with writing(shard_path(tmp_path, 1), 1, 3) as file:
        file.write(make_columns(count=19))
    with pytest.raises(DataError, match=r"part-00001.parquet holds 19 windows, not 20"):
        read(tmp_path)


def test_a_pipe_in_the_place_of_a_shard_is_refused(tmp_path):
    os.mkfifo(shard_path(tmp_path, 0))
    with pytest.raises(DataError, match="is not a regular file but a device or a pipe"):
        read(tmp_path)


def test_a_files_name_says_which_shard_it_is_finished_or_not(tmp_path):
    assert shard_number(shard_path(tmp_path, 12)) == 12
    assert shard_number(tmp_path / ".part-00012.parquet.tmp") == 12
    assert shard_number("s3://bucket/train/part-123456.parquet") == 123456
    for name in ("part-00012.parquet.old", "apart-00012.parquet", "part-.parquet", "notes.txt"):
        assert shard_number(tmp_path / name) is None


@pytest.mark.slow
def test_writing_and_reading_import_no_pandas(tmp_path):
    """pyarrow.array and to_numpy would: 0.25 seconds and 40 MB in every stage."""
    program = (
        "import sys; from tests.storage.test_windows import *\n"
        "if 'pandas' in sys.modules: sys.exit('before')\n"
        f"read(write_split(Path({str(tmp_path)!r})))\n"
        "if 'pandas' in sys.modules: sys.exit('after')"
    )
    program = program.replace("from tests", "from pathlib import Path; from tests")
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
