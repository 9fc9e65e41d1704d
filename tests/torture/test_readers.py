"""Strange tables and models, given to `predict` and to the evaluate stage: read properly, or refused."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from quadrature.network.model_file import save_model
from tests.checkout import OWN_PARAMETERS
from tests.torture.strange import LENGTH, damage, strange_table, windows_table, write_table
from tests.torture.strange_models import make_network, strange_model

pytestmark = pytest.mark.slow

PROMISE = "a strange {} is read properly or refused by name, exit code 65, within 10 s and 1 GB"


@pytest.fixture
def place(tmp_path):
    """A folder with a model, three splits of windows and their parameters."""
    rng = np.random.default_rng(0)
    tree = yaml.safe_load(OWN_PARAMETERS.read_text())
    tree["device"] = "cpu"
    tree["train"]["threads"] = 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    for split in ("train", "test"):
        (tmp_path / "data/windows" / split).mkdir(parents=True)
        write_table(tmp_path / "data/windows" / split / "part-00000.parquet", windows_table(rng, 40))
    save_model(make_network(), tmp_path / "models/model.safetensors")
    return tmp_path


def judge(ended, name, output):
    """Asserts the promise for a command and its strange file; returns whether the command took the file.

    A refusal names the file, or the output if its format cannot hold the file's columns.
    """
    said = [line for line in ended.error.split("\n")[:-1] if not line.startswith(("device cpu", "floor: "))]
    assert ended.code in (0, 65), ended
    assert "Traceback" not in ended.error, ended
    assert output.exists() == (ended.code == 0), ended
    if ended.code:
        assert len(said) == 1, ended
        assert name in said[0] or said[0].startswith(f"{output.name} cannot hold"), ended
        assert said[0].isprintable(), ended
    return ended.code == 0


def carried(given, found, added):
    """Asserts that a command's output begins with the given columns and adds finite estimates."""
    for theirs, ours in zip(given.columns, found.columns, strict=False):
        assert plain(theirs) == plain(ours)
    for name in found.column_names[given.num_columns :]:
        if name.startswith(added):
            column = found.column(name).combine_chunks()
            values = column.flatten() if hasattr(column, "flatten") else column
            assert np.isfinite(values.to_numpy()).all()
    assert any(name.startswith(added) for name in found.column_names[given.num_columns :])


def plain(column):
    """Returns a column as text: NaN equals NaN, and unknown time zones do not matter."""
    return repr((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())


def check(tally, kind, failures, ended, judged):
    try:
        with tally.trying(PROMISE.format(kind)):
            judged()
    except AssertionError as error:
        failures.append(f"{error}\n{ended}")


def cases(request, count):
    return range(max(10, round(count * request.config.getoption("torture"))))


def test_a_strange_table_is_read_properly_or_refused_by_predict(place, cage, tally, request):
    failures = []
    source = place / "strange.parquet"
    for number in cases(request, 400):
        rng = np.random.default_rng([1, number])
        strange_table(source, rng)
        damaged = number % 4 == 0
        if damaged:
            damage(source, rng)
        output = place / ("output.parquet" if number % 2 else "output.csv")
        output.unlink(missing_ok=True)
        signal = ("--hop", "3", "--column", str(rng.choice(["input", "phase"]))) if number % 5 == 0 else ()
        files = ("--model", "models/model.safetensors", "--input", source.name, "--output", output.name)
        ended = cage.run("quadrature", "predict", *files, *signal, cwd=place)

        def judged(ended=ended, output=output, damaged=damaged):
            if judge(ended, source.name, output) and output.suffix == ".parquet" and not damaged:
                carried(pq.ParquetFile(source).read(), pq.read_table(output), ("prediction", "amplitude", "phase"))

        check(tally, "table", failures, ended, judged)
    assert not failures, "\n".join(failures)


def test_a_strange_table_is_read_properly_or_refused_by_evaluate(place, cage, tally, request):
    failures = []
    source = place / "data/windows/test/part-00000.parquet"
    output = place / "data/predictions.parquet"
    for number in cases(request, 300):
        rng = np.random.default_rng([2, number])
        strange_table(source, rng)
        if number % 4 == 0:
            damage(source, rng)
        output.unlink(missing_ok=True)
        ended = cage.run("stages.evaluate", cwd=place)

        def judged(ended=ended):
            if judge(ended, "data/windows/test", output):
                carried(pq.ParquetFile(source).read().select(range(5)), pq.read_table(output), ("prediction",))

        check(tally, "table", failures, ended, judged)
    assert not failures, "\n".join(failures)


def test_a_strange_model_is_read_properly_or_refused(place, cage, tally, request):
    failures = []
    rng = np.random.default_rng(3)
    write_table(place / "input.parquet", windows_table(rng, 40))
    source = place / "models/model.safetensors"
    for number in cases(request, 300):
        rng = np.random.default_rng([3, number])
        strange_model(source, rng)
        if number % 4 == 0:
            damage(source, rng)
        output = place / ("data/predictions.parquet" if number % 3 == 0 else "output.parquet")
        output.unlink(missing_ok=True)
        if number % 3:
            files = ("--model", "models/model.safetensors", "--input", "input.parquet", "--output", output.name)
            ended = cage.run("quadrature", "predict", *files, cwd=place)
        else:
            ended = cage.run("stages.evaluate", cwd=place)

        def judged(ended=ended, output=output):
            named = "model.safetensors" if "model.safetensors" in ended.error else "parquet"
            if judge(ended, named, output):
                carried(pq.read_table(output).select(["input"]), pq.read_table(output), ("prediction",))

        check(tally, "model", failures, ended, judged)
    assert not failures, "\n".join(failures)


def test_what_the_cage_lets_through_is_seen(place, cage):
    """The test's own cage distinguishes a traceback, a signal, too much time and too much memory."""
    assert cage.run("tests.torture.misdeeds", "raise", cwd=place).code == 1
    assert cage.run("tests.torture.misdeeds", "crash", cwd=place).code == -11
    assert cage.run("tests.torture.misdeeds", "hang", cwd=place, seconds=0.2).code is None
    if sys.platform == "linux":  # other systems do not keep to the limit
        assert "MemoryError" in cage.run("tests.torture.misdeeds", "eat", cwd=place, more=10**8).error


def test_a_table_of_many_columns_takes_no_time_that_grows_with_their_square(place, cage, tally):
    names = [*(f"input_{position}" for position in range(LENGTH)), *(f"x{number}" for number in range(20_000))]
    for header in (names, names[LENGTH:]):
        (place / "wide.csv").write_text(f"{','.join(header)}\n{','.join('1' for _ in header)}\n")
        files = ("--model", "models/model.safetensors", "--input", "wide.csv", "--output", "output.parquet")
        with tally.trying(PROMISE.format("table")):
            assert cage.run("quadrature", "predict", *files, cwd=place).code == (0 if header is names else 65)
