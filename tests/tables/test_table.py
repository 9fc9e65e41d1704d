"""Users' tables: cut into parts of one size, read with their types, written with every bit, counted by rows."""

import csv
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.prediction.table_writer import TableWriter
from quadrature.runtime.errors import DataError
from quadrature.tables import csv_rows
from quadrature.tables.table import format_of, open_table, sniff_format


def read(path, size=1000, typed=False):
    """Returns the slabs of a file."""
    return list(open_table(path, format_of(path), str(path), typed).slabs(size))


def write(path, table, parts=1):
    with path.open("wb") as file:
        writer = TableWriter(file, format_of(path), str(path))
        for part in range(parts):
            rows = -(-len(table) // parts)
            writer.write(table.slice(part * rows, rows))
        writer.close()


def test_slabs_have_one_size_across_row_groups_and_files(tmp_path):
    for part, rows in enumerate((7, 1, 22)):
        table = pa.table({"x": np.arange(rows) + 100 * part, "l": [[1.0, 2.0]] * rows})
        pq.write_table(table, tmp_path / f"part-{part}.parquet", row_group_size=4)
    table = open_table(tmp_path, "parquet", str(tmp_path), False)
    slabs = list(table.slabs(8))
    assert [(first, len(rows)) for first, rows in slabs] == [(0, 8), (8, 8), (16, 8), (24, 6)]
    values = np.concatenate([rows["x"].to_numpy() for _, rows in slabs])
    assert values.tolist() == [*range(7), 100, *range(200, 222)]
    assert table.rows == 30
    names = [table.place(row).removeprefix(f"{tmp_path}/") for row in (0, 6, 7, 8, 29)]
    assert names == [f"part-{part}.parquet, row {row}" for part, row in ((0, 1), (0, 7), (1, 1), (2, 1), (2, 22))]


def test_a_shard_of_other_columns_is_refused(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "part-0.parquet")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "part-1.parquet")
    with pytest.raises(
        DataError, match=r"part-1.parquet and .*part-0.parquet have different columns; give the files one at a time"
    ):
        open_table(tmp_path, "parquet", "folder", False)


def test_text_goes_through_csv_unchanged_and_nothing_is_quoted_for_nothing(tmp_path):
    text = 'n,t,e\n1.50,plain,\n007,"a,b",x\n1e3,"say ""a""\nb",é\n'
    (tmp_path / "in.csv").write_text(text)
    ((_, rows),) = read(tmp_path / "in.csv")
    write(tmp_path / "out.csv", rows)
    parsed = [
        list(csv.reader(io.StringIO((tmp_path / name).read_text(), newline=""))) for name in ("in.csv", "out.csv")
    ]
    assert parsed[0] == parsed[1]
    write(tmp_path / "plain.csv", rows.slice(0, 1))
    assert (tmp_path / "plain.csv").read_text() == "n,t,e\n1.50,plain,\n"


def test_typed_columns_are_what_all_their_values_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "_BLOCK", 64)  # the values that decide the type are many blocks later
    lines = [f"{row},{row},{row},{row}," for row in range(50)]
    lines[45:48] = ["7,1.5,,x,", "8,nan,2,8,", "9,3,3,9,"]
    (tmp_path / "in.csv").write_text("\n".join(["int,float,hole,text,blank", *lines]) + "\n")
    schema = open_table(tmp_path / "in.csv", "csv", "in.csv", True).schema
    assert schema.types == [pa.int64(), pa.float64(), pa.int64(), pa.string(), pa.int64()]
    rows = pa.concat_tables([rows for _, rows in read(tmp_path / "in.csv", 9, typed=True)])
    assert rows["int"].to_pylist() == [*range(45), 7, 8, 9, 48, 49]
    assert rows["hole"].to_pylist()[45] is None
    assert rows["text"].to_pylist()[44:46] == ["44", "x"]


def test_a_typed_column_loses_no_digit(tmp_path):
    columns = {
        "serial": ["000", "001"], "hex": ["0x00", "0x1f"], "long": ["1", "12345678901234567890"],
        "mixed": ["0.5", "9007199254740993"], "largest": ["1", "9223372036854775807"], "float": ["0", "-0.25"],
    }  # fmt: skip
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    schema = open_table(tmp_path / "in.csv", "csv", "in.csv", True).schema
    assert schema.types == [*[pa.string()] * 4, pa.int64(), pa.float64()]
    rows = pa.concat_tables([rows for _, rows in read(tmp_path / "in.csv", 9, typed=True)])
    assert {name: rows[name].to_pylist() for name in ("serial", "hex", "long", "mixed")} == {
        name: columns[name] for name in ("serial", "hex", "long", "mixed")
    }


def test_lines_inside_quotes_do_not_end_a_row_wherever_a_block_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "_BLOCK", 64)
    texts = [f"{row}\n" * (row % 5) + "," for row in range(50)]
    pd.DataFrame({"t": texts, "row": range(50)}).to_csv(tmp_path / "in.csv", index=False)
    rows = pa.concat_tables([rows for _, rows in read(tmp_path / "in.csv")])
    assert rows["t"].to_pylist() == texts
    assert rows["row"].to_pylist() == [str(row) for row in range(50)]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_numbers_are_written_with_every_bit(tmp_path, suffix):
    rng = np.random.default_rng(0)
    bits32 = rng.integers(0, 2**32, 3000, np.uint32).view(np.float32)
    bits64 = rng.integers(0, 2**64, 3000, np.uint64, endpoint=False).view(np.float64)
    keep = np.isfinite(bits32) & np.isfinite(bits64)
    table = pa.table({"f": bits32[keep], "d": bits64[keep], "i": np.arange(keep.sum()) - 2**62})
    write(tmp_path / f"t.{suffix}", table, parts=3)
    rows = pa.concat_tables([rows for _, rows in read(tmp_path / f"t.{suffix}", typed=True)])
    for name in table.column_names:
        found = rows[name].to_numpy().astype(table[name].to_numpy().dtype)
        assert np.array_equal(found, table[name].to_numpy())


def test_parquet_keeps_types_and_pandas_knows_its_own_again(tmp_path):
    frame = pd.DataFrame({
        "label": pd.Categorical(["b", "a", "b"]), "count": pd.array([1, None, 3], "Int64"), "text": ["x", None, "z"],
        "when": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]), "flag": [True, False, True],
        "x": [1.0, 2.0, 3.0],
    })  # fmt: skip
    frame.to_parquet(tmp_path / "in.parquet")
    write(tmp_path / "out.parquet", pa.concat_tables([rows for _, rows in read(tmp_path / "in.parquet", 2)]), parts=2)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), frame)


def test_rows_are_counted_from_one_under_the_header(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "_BLOCK", 64)
    for bad in (1, 2, 40):
        lines = ["1,2"] * 50
        lines[bad - 1] = "1,2,3"
        (tmp_path / "in.csv").write_text("\n".join(["a,b", *lines]))
        with pytest.raises(DataError, match=rf"in\.csv, row {bad} has 3 fields, but the header has 2$"):
            read(tmp_path / "in.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty or begins with an empty line; its first line should name its columns"),
        (b"\na,b\n", "is empty or begins with an empty line; its first line should name its columns"),
        (b"a,b", "holds no rows, so there is nothing to estimate"),
        (b"a,b\n", "holds no rows, so there is nothing to estimate"),
        (b"a,b,a\n1,2,3\n", "has two columns named a; rename one"),
        (b"\xff\xfe\x00\x01", None),
        (b"a\n\xff\xfe\n", None),
        (b"PAR1" + bytes(range(256)), None),
    ],
)
def test_what_is_no_csv_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} ")
    assert "\n" not in str(caught.value)
    assert message is None or str(caught.value) == f"{path} {message}"


def test_a_blank_line_is_a_row_whose_values_are_missing(tmp_path):
    (tmp_path / "in.csv").write_text("x\n1\n\n3\n")
    ((_, rows),) = read(tmp_path / "in.csv")
    assert rows["x"].to_pylist() == ["1", None, "3"]


def test_what_csv_cannot_hold_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"out.csv cannot hold all columns \(Unsupported Type:struct.*\); write parquet"
    ):
        write(tmp_path / "out.csv", pa.table({"s": [{"a": 1}]}))


def test_formats_are_known_by_suffix_and_by_content(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.PARQUET")
    (tmp_path / "b.csv").write_text("x\n1\n")
    for path, kind in ((tmp_path / "a.PARQUET", "parquet"), (tmp_path / "b.csv", "csv")):
        assert format_of(path) == sniff_format(path) == kind
    with pytest.raises(DataError, match=r"^x\.txt ends in neither \.parquet nor \.csv; rename it$"):
        format_of(tmp_path.__class__("x.txt"))
