"""CSV as instruments write it: every spelling gives the estimates of the plain file, or a line of advice."""

import csv
import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.prediction.added_columns import OUTPUTS
from quadrature.runtime.errors import DataError
from quadrature.tables import csv_rows, csv_text
from quadrature.tables.csv_text import open_text
from quadrature.tables.dialect import Dialect
from tests.prediction.running import read, run

SAMPLES = [f"{value:.6f}" for value in np.random.default_rng(0).standard_normal(45)]
PLAIN = "\n".join(["time,volts", *(f"{at / 8},{value}" for at, value in enumerate(SAMPLES))]) + "\n"
COMMA = PLAIN.replace(",", ";").replace(".", ",")
LINES = PLAIN.splitlines()


def zst(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


SPELLINGS = {
    "no final newline": ("in.csv", PLAIN[:-1].encode(), ()),
    "CRLF": ("in.csv", PLAIN.replace("\n", "\r\n").encode(), ()),
    "CR": ("in.csv", PLAIN.replace("\n", "\r").encode(), ()),
    "byte order mark": ("in.csv", b"\xef\xbb\xbf" + PLAIN.encode(), ()),
    "blank lines at the end": ("in.csv", (PLAIN + "\n \t\r\n\n").encode(), ()),
    "blanks": ("in.csv", PLAIN.replace(",", " ,\t").replace("\n", "  \n").encode(), ()),
    "quotes": ("in.csv", PLAIN.replace(",", '","').replace("\n", '"\n"')[:-1].join(['"', ""]).encode(), ()),
    "gzip": ("in.csv.gz", gzip.compress(PLAIN.encode()), ()),
    "gzip, twice": ("in.CSV.GZ", gzip.compress(PLAIN[:99].encode()) + gzip.compress(PLAIN[99:].encode()), ()),
    "zstd": ("in.csv.zst", zst(PLAIN.encode()), ()),
    "tab": ("in.csv", PLAIN.replace(",", "\t").encode(), ("--delimiter", "tab")),
    "tab as in Python": ("in.csv", PLAIN.replace(",", "\t").encode(), ("--delimiter", r"\t")),
    "decimal comma": ("in.csv", COMMA.encode(), ("--delimiter", ";", "--decimal", ",")),
    "utf-16": ("in.csv", PLAIN.encode("utf-16"), ("--encoding", "utf-16")),
    "utf-16-le with its mark": ("in.csv", ("\ufeff" + PLAIN).encode("utf-16-le"), ("--encoding", "utf-16-le")),
    "latin-1": ("in.csv", PLAIN.replace("time", "°C").encode("latin-1"), ("--encoding", "latin-1")),
    "comments": (
        "in.csv",
        "\n".join(['# of a "scope', "#", *LINES[:20], "  # note, of two fields", *LINES[20:], "#"]).encode(),
        ("--comment", "#"),
    ),
    "comments of two characters": ("in.csv", f"// a\n{PLAIN}// b".encode(), ("--comment", "//")),
    "all at once": (
        "in.csv.gz",
        gzip.compress(("% °\r\n" + COMMA.replace("\n", " \r\n") + "\r\n").encode("cp1252")),
        ("--delimiter", ";", "--decimal", ",", "--encoding", "cp1252", "--comment", "%"),
    ),
}


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory):
    """The estimates of the plain file."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "in.csv").write_text(PLAIN)
    run(model, folder / "in.csv", folder / "out.parquet", "--hop", 3, "--column", "volts")
    return pq.read_table(folder / "out.parquet")


@pytest.mark.parametrize("output", ["out.parquet", "out.csv"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_file_gives_the_same_estimates(model, tmp_path, expected, spelling, output):
    name, content, options = SPELLINGS[spelling]
    (tmp_path / name).write_bytes(content)
    run(model, tmp_path / name, tmp_path / output, "--hop", 3, "--column", "volts", *options)
    found = read(tmp_path / output)
    assert [name for name in found if name != "°C"] == [name for name in expected.column_names if name in found]
    assert np.array_equal(found["prediction"].astype(np.float32), expected["prediction"].to_numpy())
    assert found["volts"].tolist() == expected["volts"].to_pylist()


def test_a_file_without_a_header_keeps_its_first_row(model, tmp_path, expected):
    (tmp_path / "one.csv").write_text("\n".join(SAMPLES))
    run(model, tmp_path / "one.csv", tmp_path / "one.parquet", "--hop", 3, "--no-header")
    (tmp_path / "two.csv").write_text("\n".join(LINES[1:]))
    options = ("--hop", 3, "--no-header", "--column", "input_1")
    run(model, tmp_path / "two.csv", tmp_path / "two.parquet", *options)
    for name, columns in (("one", ["input"]), ("two", ["input_0", "input_1"])):
        found = pq.read_table(tmp_path / f"{name}.parquet")
        assert found.column_names == [*columns, *OUTPUTS]
        assert found["prediction"].equals(expected["prediction"])


def test_windows_without_a_header_are_windows(model, windows, tmp_path):
    rows = [",".join(map(str, window)) for window in windows[:20].tolist()]
    (tmp_path / "in.csv").write_text("\n".join(rows))
    run(model, tmp_path / "in.csv", tmp_path / "out.parquet", "--no-header")
    assert np.array_equal(read(tmp_path / "out.parquet")["input"].astype(np.float32), windows[:20])


def test_a_decimal_comma_becomes_a_point_and_text_stays(model, tmp_path):
    rows = [f'{value};"a;b";1,50;n,m' for value in SAMPLES]
    (tmp_path / "in.csv").write_text("\n".join(["input;label;number;text", *rows]).replace(".", ","))
    options = ("--hop", 3, "--delimiter", ";", "--decimal", ",")
    run(model, tmp_path / "in.csv", tmp_path / "out.csv", *options)
    first = next(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [first[name] for name in ("label", "number", "text")] == ["a;b", "1.5", "n,m"]
    assert float(first["input"]) == float(SAMPLES[0])


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_an_output_is_compressed_by_its_name_and_the_same_each_time(model, tmp_path, suffix):
    (tmp_path / "in.csv").write_text(PLAIN)
    options = ("--hop", 3, "--column", "volts")
    run(model, tmp_path / "in.csv", tmp_path / "out.csv", *options)
    contents = []
    for name in ("a", "b"):
        run(model, tmp_path / "in.csv", tmp_path / f"{name}.csv.{suffix}", *options)
        contents.append((tmp_path / f"{name}.csv.{suffix}").read_bytes())
    assert contents[0] == contents[1]
    with pa.input_stream(tmp_path / f"a.csv.{suffix}", compression={"gz": "gzip", "zst": "zstd"}[suffix]) as stream:
        assert stream.read() == (tmp_path / "out.csv").read_bytes()


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_compressed_file_that_is_cut_is_refused(model, tmp_path, suffix, part):
    content = gzip.compress(PLAIN.encode()) if suffix == "gz" else zst(PLAIN.encode())
    path = tmp_path / f"in.csv.{suffix}"
    path.write_bytes(content[: max(1, int(part * len(content)))])
    with pytest.raises(DataError, match=rf"in\.csv\.{suffix} is not a readable CSV file \(Truncated compressed stream"):
        run(model, path, tmp_path / "out.csv", "--hop", 3, "--column", "volts")
    assert not (tmp_path / "out.csv").exists()


def test_a_line_that_unpacks_without_end_is_refused_at_its_limit(model, tmp_path):
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(bytes(2**25)))
    with pytest.raises(DataError, match="its first line is longer than 1,048,576 characters"):
        run(model, tmp_path / "in.csv.gz", tmp_path / "out.csv", "--hop", 3)


@pytest.mark.parametrize("part", [1, 2, 3, 7, 1000])
def test_text_is_the_same_however_it_comes_in_parts(tmp_path, monkeypatch, part):
    monkeypatch.setattr(csv_text, "_PART", part + 100)
    lines = ["a,b", "  # no", "1,2 ", "", '"x', "# kept", '#",2', "#", "3,°", "4,5\t"]
    content = "\ufeff" + "\r\n".join(lines) + "\r\n\r\n \n"
    (tmp_path / "in.csv").write_bytes(content.encode("utf-16"))
    whole = csv_text._read(tmp_path / "in.csv")
    content = b"".join(whole)
    monkeypatch.setattr(csv_text, "_read", lambda _: (content[at : at + part] for at in range(0, len(content), part)))
    stream, found = open_text(tmp_path / "in.csv", Dialect(encoding="utf-16", comment="#")), b""
    while piece := stream.read(part):
        assert len(piece) <= part
        found += piece
    expected = ["a,b", "1,2 ", "", '"x', "# kept", '#",2', "3,°", "4,5\t"]
    assert found.decode().splitlines() == expected


def test_a_quote_inside_a_field_hides_no_comment(tmp_path):
    """Inches, for example: a quote opens a field only where the field begins."""
    lines = [
        "part,input",
        '5" pipe,1',
        "#no,99",
        'a,"b ""c"" # kept',
        '#kept"',
        "# no",
        'a"",2',
        '"x"y",3',
        "#no",
        '6" pipe,4',
        "#no",
    ]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    found = open_text(tmp_path / "in.csv", Dialect(comment="#")).read(10**6).decode().splitlines()
    assert found == [line for line in lines if "no" not in line]


def test_a_row_is_counted_without_comments_and_header(tmp_path, monkeypatch, model):
    monkeypatch.setattr(csv_rows, "_BLOCK", 64)
    rows = ["1.5"] * 50
    rows[41] = "x"
    (tmp_path / "in.csv").write_text("\n".join(["# a", "input", *rows[:20], "# b", *rows[20:]]))
    with pytest.raises(DataError, match=r"in\.csv, row 42: input is 'x', which is not a number$"):
        run(model, tmp_path / "in.csv", tmp_path / "out.csv", "--hop", 3, "--comment", "#")


@pytest.mark.parametrize("end", ["", "\n", "\n\n \n"])
def test_a_last_row_without_a_sample_is_no_blank_line(model, tmp_path, end):
    rows = ["volts\tb", *(f"{value}\t1" for value in SAMPLES), "\t"]
    (tmp_path / "in.csv").write_text("\n".join(rows) + end)
    run(
        model,
        tmp_path / "in.csv",
        tmp_path / "out.parquet",
        "--hop",
        3,
        "--delimiter",
        "tab",
        "--column",
        "volts",
        "--gaps",
        "null",
    )
    assert pq.read_table(tmp_path / "out.parquet")["volts"].to_pylist()[-2:] == [float(SAMPLES[-1]), None]
