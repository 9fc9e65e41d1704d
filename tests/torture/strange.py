"""Strange tables: the project's own, changed at random."""

import json
import math
from contextlib import chdir, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quadrature.storage import digest

LENGTH = 10  # samples per window


def windows_table(rng, count):
    """Returns windows as the project writes them."""
    phase = rng.uniform(0.0, 2 * np.pi, count)
    frequency = rng.uniform(0.5, 2.0, count)
    angle = phase[:, None] + frequency[:, None] * np.linspace(0.0, np.pi, LENGTH)
    sine, cosine = (
        pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), LENGTH)
        for values in (np.sin(angle), np.cos(angle))
    )
    numbers = {"phase": pa.array(phase), "frequency": pa.array(frequency), "amplitude": pa.array(np.ones(count))}
    return pa.table({"input": sine, "target": cosine, **numbers, "in_phase": sine})


FOOTER = json.dumps({"shard": 0, "shards": 1, "sha256": digest.ZEROS}).encode()
"""The metadata that the project writes beside the columns."""


def forge(path):
    """Writes the right digest into a file, if it has a place for one."""
    with suppress(ValueError):
        digest.write(path)


def relist(folder):
    """Writes the right digests of text and pictures into a project's lists."""
    with chdir(folder):
        for path in Path("data/digests").glob("*.sha256"):
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
            digest.write_list(path, [Path(line.partition("  ")[2]) for line in lines])


def write_table(path, table, metadata=None, **options):
    """Writes a table with the right digest, and with the project's metadata unless other metadata is given."""
    write_unsigned(path, table, metadata, **options)
    forge(path)


def write_unsigned(file, table, metadata=None, **options):
    """Writes a table as `write_table` does, to a path or an open file, but with zeros as digest."""
    metadata = {b"quadrature": FOOTER} if metadata is None else metadata
    with pq.ParquetWriter(file, table.schema, **options) as writer:
        if len(table):
            writer.write_table(table)
        if metadata:
            writer.add_key_value_metadata(metadata)


def _floats(rng, size, kind=np.float64):
    return pa.array(rng.uniform(-1.0, 1.0, size).astype(kind))


def _lists(rng, count, lengths, make=pa.ListArray):
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths[:count])]), pa.int32())
    return make.from_arrays(offsets, _floats(rng, int(offsets[-1].as_py()), np.float32))


def _nested(array, depth):
    for _ in range(depth):
        array = pa.StructArray.from_arrays([array], ["a"])
    return array


COLUMNS = {
    "int8": lambda rng, n: pa.array(rng.integers(-9, 9, n), pa.int8()),
    "uint64": lambda _, n: pa.array([2**64 - 1] * n, pa.uint64()),
    "int64": lambda _, n: pa.array([2**62] * n),
    "half": lambda rng, n: _floats(rng, n, np.float16),
    "float": lambda rng, n: _floats(rng, n, np.float32),
    "double": _floats,
    "bool": lambda rng, n: pa.array(rng.integers(0, 2, n).astype(bool)),
    "text": lambda _, n: pa.array(["0.5", "", "-1e3", "nan", "x\n\x1b[31my", "\x00", "=cmd()"] * n).slice(0, n),
    "long text": lambda _, n: pa.array(["a" * 10**4] * n),
    "large text": lambda _, n: pa.array(["1"] * n, pa.large_string()),
    "bytes": lambda _, n: pa.array([b"\xff\x00"] * n),
    "fixed bytes": lambda _, n: pa.array([b"\xff\x00"] * n, pa.binary(2)),
    "null": lambda _, n: pa.nulls(n),
    "date": lambda _, n: pa.array([datetime(1, 1, 1, tzinfo=UTC).date()] * n),
    "time": lambda _, n: pa.array([2**62] * n, pa.timestamp("ns", tz="+00:00")),
    "zone": lambda _, n: pa.array([0] * n, pa.timestamp("us", tz="Nowhere/At_All")),
    "duration": lambda _, n: pa.array([5] * n, pa.duration("ns")),
    "decimal": lambda _, n: pa.array([Decimal("1.5")] * n, pa.decimal128(38, 9)),
    "wide decimal": lambda _, n: pa.array([Decimal("1.5")] * n, pa.decimal256(76, 9)),
    "dictionary": lambda _, n: pa.array(["a"] * n).dictionary_encode(),
    "number dictionary": lambda rng, n: _floats(rng, n).dictionary_encode(),
    "struct": lambda rng, n: _nested(_floats(rng, n), 1),
    "deep struct": lambda rng, n: _nested(_floats(rng, n), 90),
    "map": lambda _, n: pa.array([[("a", 1.0)]] * n, pa.map_(pa.string(), pa.float64())),
    "list": lambda rng, n: _lists(rng, n, [LENGTH] * n),
    "ragged": lambda rng, n: _lists(rng, n, rng.integers(0, 20, n)),
    "large list": lambda rng, n: _lists(rng, n, [LENGTH] * n).cast(pa.large_list(pa.float32())),
    "short list": lambda rng, n: _lists(rng, n, [LENGTH - 1] * n),
    "empty lists": lambda rng, n: _lists(rng, n, [0] * n),
    "fixed list": lambda rng, n: pa.FixedSizeListArray.from_arrays(_floats(rng, n * LENGTH, np.float32), LENGTH),
    "double list": lambda rng, n: pa.FixedSizeListArray.from_arrays(_floats(rng, n * LENGTH), LENGTH),
    "half list": lambda rng, n: pa.FixedSizeListArray.from_arrays(_floats(rng, n * LENGTH, np.float16), LENGTH),
    "integer list": lambda _, n: pa.FixedSizeListArray.from_arrays(pa.array([1] * n * LENGTH), LENGTH),
    "one-lists": lambda rng, n: pa.FixedSizeListArray.from_arrays(_floats(rng, n, np.float32), 1),
    "text list": lambda _, n: pa.array([["1"] * LENGTH] * n),
    "list of lists": lambda _, n: pa.array([[[1.0]] * LENGTH] * n),
    "list of structs": lambda _, n: pa.array([[{"a": 1.0}] * LENGTH] * n),
    "null lists": lambda _, n: pa.array([None] * n, pa.list_(pa.float32(), LENGTH)),
    "some null lists": lambda _, n: pa.array(
        [None if i % 3 else [0.5] * LENGTH for i in range(n)], pa.list_(pa.float32(), LENGTH)
    ),
    "null elements": lambda _, n: pa.array([[None, *[0.5] * (LENGTH - 1)]] * n, pa.list_(pa.float32(), LENGTH)),
    "some nulls": lambda _, n: pa.array([None if i % 3 else 0.5 for i in range(n)], pa.float64()),
    "nan": lambda _, n: pa.array([math.nan] * n),
    "special": lambda _, n: pa.array([0.0, -0.0, 5e-324, 1e308, -1e308, math.inf, math.nan] * n).slice(0, n),
    "special list": lambda _, n: pa.FixedSizeListArray.from_arrays(
        pa.array([0.0, -0.0, 1e-45, 3e38, -3e38, 1.0, 0.0, 0.0, 0.0, math.nan] * n, pa.float32()), LENGTH
    ),
    "large list values": lambda _, n: pa.FixedSizeListArray.from_arrays(
        pa.array([3e38] * n * LENGTH, pa.float32()), LENGTH
    ),
    "long lists": lambda _, n: pa.array([[0.0] * 10**4] * n, pa.list_(pa.float32())),
    "extension": lambda _, n: pa.array([b"\x00" * 16] * n, pa.uuid()),
}
"""Functions `(rng, rows)` that make a column, by name."""

NAMES = [
    *(
        "input",
        "target",
        "phase",
        "prediction",
        "amplitude",
        "given_phase",
        "in_phase",
        "quadrature",
        "input_0",
        "input_1",
        "input_9",
        "input_10",
    ),
    *(
        "prediction_0",
        "",
        " ",
        "a\nb",
        "\x1b[31m",
        "\x00",
        "é",
        "💥",
        "a" * 10**4,
        "input.list.element",
        "../x",
        "\u202e",
    ),
    "input_99999999999999999999",
]
FOOTERS = [
    *(b"", b"{}", b"null", b"[]", b"\xff", b"{" * 10**5, b"[" * 10**5, b'{"shard":', b"9" * 10**5),
    *(b'{"shard":0,"shards":1}', b'{"shard":0,"shards":1,"sha256":{"input":""}}'),
    *(f'{{"shard":{shard},"shards":{shards},"sha256":"{digest.ZEROS}"}}'.encode() for shard, shards in (
        (0, 0), (0, -1), (-1, 1), (1, 1), (0, 2), (0, 10**12), (0, 2**64), (1e300, 1), (0, '"1"'), (0, "1e999"),
    )),
]  # fmt: skip


def strange_table(path, rng):
    """Writes a parquet file with windows, changed at random."""
    count = int(rng.choice([0, 1, 2, 30, 30, 30, 300]))
    table = windows_table(rng, count)
    metadata, options = None, {}
    for _ in range(int(rng.integers(1, 3))):
        position = int(rng.integers(0, 6)) if rng.integers(0, 2) else 0
        match str(
            rng.choice(["type", "type", "type", "name", "add", "drop", "order", "footer", "bomb", "wide", "encode"])
        ):
            case "type":
                array = COLUMNS[str(rng.choice(list(COLUMNS)))](rng, count)
                if position < table.num_columns:
                    table = table.set_column(position, table.column_names[position], array)
            case "name":
                names = table.column_names
                names[position % len(names)] = str(rng.choice(NAMES))
                table = table.rename_columns(names)
            case "add":
                array = COLUMNS[str(rng.choice(list(COLUMNS)))](rng, count)
                table = table.append_column(str(rng.choice(NAMES)), array)
            case "drop":
                if table.num_columns > 1:
                    table = table.remove_column(position % table.num_columns)
            case "order":
                table = table.select([int(index) for index in rng.permutation(table.num_columns)])
            case "footer":
                metadata = {b"quadrature": FOOTERS[int(rng.integers(0, len(FOOTERS)))]}
            case "bomb":
                metadata = {b"quadrature": FOOTER} | {
                    str(rng.choice(["pandas", "ARROW:schema", "quadrature", "org.apache.spark", "x"])): bytes(
                        rng.choice([b"A", b"{", b"\x00"])
                    )
                    * int(rng.choice([10, 10**6, 2 * 10**7]))
                }
            case "wide":
                for number in range(int(rng.choice([10, 300]))):
                    table = table.append_column(f"input_{number}", _floats(rng, count, np.float32))
            case "encode":
                options = {
                    "compression": str(rng.choice(["none", "snappy", "gzip", "brotli", "zstd", "lz4"])),
                    "use_dictionary": bool(rng.integers(0, 2)),
                    "version": str(rng.choice(["1.0", "2.4", "2.6"])),
                    "data_page_version": str(rng.choice(["1.0", "2.0"])),
                    "data_page_size": int(rng.choice([1, 100, 10**6])),
                    "store_schema": bool(rng.integers(0, 2)),
                    "write_page_checksum": bool(rng.integers(0, 2)),
                }
    write_table(path, table, metadata, **options)


def damage(path, rng):
    """Flips, deletes, inserts or repeats bytes of a file, most often near its end, where a footer is.

    Half of the files then get the right digest, if they still have a place for it, so that readers look at the content.
    """
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.choice([1, 1, 2, 5, 50]))):
        if not content:
            break
        end = len(content)
        place = int(rng.integers(0, end)) if rng.integers(0, 2) else max(0, end - int(rng.integers(1, 1200)))
        length = int(rng.choice([1, 4, 100]))
        match int(rng.integers(0, 7)):
            case 0 | 1:
                content[place] ^= 1 << int(rng.integers(0, 8))
            case 2:
                content[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
            case 3:
                del content[place : place + length]
            case 4:
                content[place:place] = rng.bytes(length)
            case 5:
                content[place:place] = content[max(0, place - length) : place]
            case 6:
                del content[place:]
    path.write_bytes(content)
    if rng.integers(0, 2):
        forge(path)
