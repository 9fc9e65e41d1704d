"""A CSV file that its options do not fit is refused in one line, which names the option that its content suggests."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.runtime.errors import DataError, ParameterError
from tests.prediction.running import run
from tests.prediction.test_dialects import COMMA, LINES, PLAIN, SAMPLES, zst

READABLE = "is not a readable CSV file"
REFUSED = {
    "a header that is a sample": (
        "\n".join(SAMPLES), (),
        f"has no column volts; it has {SAMPLES[0]}; if its first line is a row, give --no-header",
    ),
    "a header in spite of --no-header": (
        PLAIN, ("--no-header", "--column", "input_1"),
        ", row 1: input_1 is 'volts', which is not a number; "
        "if the first line names the columns, leave --no-header out",
    ),
    "another delimiter": (
        PLAIN.replace(",", ";"), (),
        "has no column volts; it has time;volts; if ';' separates its columns, give --delimiter ';'",
    ),
    "another delimiter, no header": (
        "\n".join(LINES[1:]).replace(",", ";"), ("--no-header", "--column", "input_1"),
        "has no column input_1; it has input; if ';' separates its columns, give --delimiter ';'",
    ),
    "comments, no header": (
        "# a\n" + "\n".join(LINES[1:]), ("--no-header", "--column", "input_1"),
        ", row 2 has 2 fields, but the first row has 1; if lines that begin with # are comments, give --comment '#'",
    ),
    "utf-8 as utf-16": (
        PLAIN, ("--encoding", "utf-16"), f"{READABLE} (it is not utf-16; give --encoding, such as utf-8)"
    ),
    "a tab": (
        PLAIN.replace(",", "\t"), (),
        r"has no column volts; it has time\tvolts; if tab separates its columns, give --delimiter tab",
    ),
    "a delimiter that is not there": (
        PLAIN, ("--delimiter", ";"),
        "has no column volts; it has time,volts; if ',' separates its columns, give --delimiter ','",
    ),
    "a decimal comma between commas": (
        COMMA, (),
        ", row 1 has 3 fields, but the header has 1; if ';' separates its columns, give --delimiter ';'",
    ),
    "a decimal comma": (
        COMMA, ("--delimiter", ";"),
        f", row 1: volts is '{SAMPLES[0].replace('.', ',')}', which is not a number; "
        "if , is its decimal mark, give --decimal ,",
    ),
    "a decimal point": (
        PLAIN.replace(",", ";"), ("--delimiter", ";", "--decimal", ","),
        f", row 1: volts is '{SAMPLES[0]}', which is not a number; leave --decimal out",
    ),
    "comments at the begin": (
        f"# scope\n{PLAIN}", (),
        ", row 1 has 2 fields, but the header has 1; if lines that begin with # are comments, give --comment '#'",
    ),
    "a comment in the middle": (
        "\n".join([*LINES[:9], "# a, b, c", *LINES[9:]]), (),
        ", row 9 has 3 fields, but the header has 2; if lines that begin with # are comments, give --comment '#'",
    ),
    "a comment of as many fields": (
        "\n".join([*LINES[:9], "1,# b", *LINES[9:]]), (),
        ", row 9: volts is '# b', which is not a number; if lines that begin with # are comments, give --comment '#'",
    ),
    "latin-1": (
        PLAIN.replace("time", "°C").encode("latin-1"), (),
        f"{READABLE} (line 1 holds the byte 0xb0, which is not utf-8; give --encoding, such as latin-1)",
    ),
    "latin-1, late": (
        (PLAIN + "1,°\n").encode("latin-1"), (),
        f"{READABLE} (line 47 holds the byte 0xb0, which is not utf-8; give --encoding, such as latin-1)",
    ),
    "utf-8 as ascii": (
        PLAIN.replace("time", "°C"), ("--encoding", "ascii"),
        f"{READABLE} (line 1 holds the byte 0xc2, which is not ascii; give --encoding, such as utf-8)",
    ),
    "utf-16": (PLAIN.encode("utf-16"), (), f"{READABLE} (it begins as UTF-16 does; give --encoding utf-16)"),
    "gzip": (
        gzip.compress(PLAIN.encode()), (),
        f"{READABLE} (it begins as a gzip file; let its name end in .csv.gz, or unpack it)",
    ),
    "zstd": (
        zst(PLAIN.encode()), (),
        f"{READABLE} (it begins as a Zstandard file; let its name end in .csv.zst, or unpack it)",
    ),
    "a spreadsheet": (
        b"PK\x03\x04" + bytes(99), (),
        f"{READABLE} (it begins as a spreadsheet or a zip file; export it as CSV, or unpack it)",
    ),
    "a recording": (
        b"RIFF\0\0\0\0WAVEfmt ", (), f"{READABLE} (it begins as a WAV file; let its name end in .wav)"
    ),
    "NA": (
        "volts\n1\nNA\n", (),
        ", row 2: volts is 'NA', which is not a number; if it stands for a missing sample, give --gaps",
    ),
    "a name with blanks, twice": ("volts, volts \n1,2\n", (), "has two columns named volts; rename one"),
    "nothing": ("", ("--no-header",), "is empty or begins with an empty line; its first line should hold samples"),
    "comments only": (
        "# a\n# b", ("--comment", "#"),
        "is empty or begins with an empty line; its first line should name its columns",
    ),
    "a header only": ("volts", (), "holds no rows, so there is nothing to estimate"),
    "a blank line between": (
        "volts,b\n1,2\n\n3,4\n", (),
        ", row 2: volts is missing; give --gaps interpolate or --gaps null, or put a number there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_the_option_to_give(model, tmp_path, name):
    content, options, message = REFUSED[name]
    (tmp_path / "in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    column = () if "--column" in options else ("--column", "volts")
    with pytest.raises(DataError) as caught:
        run(model, tmp_path / "in.csv", tmp_path / "out.parquet", "--hop", 3, *column, *options)
    assert str(caught.value) == f"{tmp_path}/in.csv{'' if message.startswith(',') else ' '}{message}"
    assert not (tmp_path / "out.parquet").exists()


def test_windows_without_a_header_are_hinted_at(model, tmp_path):
    (tmp_path / "in.csv").write_text("\n".join([",".join(SAMPLES[:10])] * 9))
    with pytest.raises(DataError, match=r"in one or the other; if its first line is a row, give --no-header$"):
        run(model, tmp_path / "in.csv", tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--decimal", ","), "--decimal , is the delimiter too; give --delimiter, such as ';' or tab"),
        (("--delimiter", "::"), "--delimiter is '::'; give one ASCII character other than a quote, or tab"),
        (("--delimiter", "°"), "--delimiter is '°'; give one ASCII character other than a quote, or tab"),
        (("--delimiter", ""), "--delimiter is ''; give one ASCII character other than a quote, or tab"),
        (("--comment", " "), "--comment is ' '; give the begin of a comment, such as '#', without delimiter or quote"),
        (
            ("--comment", ";", "--delimiter", ";"),
            "--comment is ';'; give the begin of a comment, such as '#', without delimiter or quote",
        ),
        (
            ("--encoding", "latin-99"),
            "--encoding latin-99 is not known to Python; give one such as latin-1, cp1252 or utf-16",
        ),
        (
            ("--encoding", "rot13"),
            "--encoding rot13 is not known to Python; give one such as latin-1, cp1252 or utf-16",
        ),
    ],
)
def test_impossible_options_are_refused(model, tmp_path, options, message):
    (tmp_path / "in.csv").write_text(PLAIN)
    with pytest.raises(ParameterError) as caught:
        run(model, tmp_path / "in.csv", tmp_path / "out.csv", *options)
    assert str(caught.value) == message


def test_options_of_csv_are_refused_for_parquet(model, tmp_path):
    pq.write_table(pa.table({"input": [0.0] * 20}), tmp_path / "in.parquet")
    with pytest.raises(ParameterError, match=r"in\.parquet is no CSV file; leave out the options of CSV, such as --d"):
        run(model, tmp_path / "in.parquet", tmp_path / "out.csv", "--hop", 3, "--delimiter", ";")
