"""Stages refuse bad files and parameters: exit code, one line, and no output left behind."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from quadrature.storage.windows import WINDOW_COLUMNS, read_split, writing
from tests.checkout import OWN_PARAMETERS, Checkout


def rewrite(path, change):
    """Writes a changed file as the project would, with the right digest."""
    shards = len(list(path.parent.glob("*.parquet")))
    shard = int(path.stem.rpartition("-")[2])
    columns = {name: values.copy() for name, values in list(read_split(path.parent, WINDOW_COLUMNS))[shard].items()}
    with writing(path, shard, shards) as file:
        file.write(change(columns))


def with_nan(columns):
    columns["input"][3, 1] = np.nan
    return columns


def reorder_rows(path):
    table = pq.read_table(path)
    metadata = {b"quadrature": pq.read_metadata(path).metadata[b"quadrature"]}
    pq.write_table(table.take(list(range(len(table) - 1, -1, -1))).replace_schema_metadata(metadata), path)


SPOIL = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "foreign": lambda path: pq.write_table(pq.read_table(path).replace_schema_metadata(None), path),
    "empty": lambda path: path.write_bytes(b""),
    "reordered rows": reorder_rows,
    "reordered columns": lambda path: rewrite(path, lambda columns: dict(reversed(columns.items()))),
    "not a number": lambda path: rewrite(path, with_nan),
    "another length": lambda path: rewrite(
        path, lambda columns: {name: values[:, :4] if values.ndim == 2 else values for name, values in columns.items()}
    ),
    "missing": lambda path: path.unlink(),
}


def snapshot(folder):
    """Returns the content of every file by path, except Python's caches."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


VALIDATION, LAST_TRAIN = "data/windows/validation/part-00000.parquet", "data/windows/train/part-00003.parquet"
TARGETS = "data/targets/train/part-00001.parquet"
MODEL, TEST, TRAIN = (
    "models/model.safetensors",
    "data/windows/test/part-00000.parquet",
    "data/windows/train/part-00002.parquet",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "file", "harm"),
    [
        *(("evaluate", TEST, harm) for harm in SPOIL),
        *(("evaluate", MODEL, harm) for harm in ("truncated", "empty", "missing")),
        *(("train", TRAIN, harm) for harm in ("truncated", "foreign", "missing")),
        ("train", VALIDATION, "another length"),
        ("train", TARGETS, "truncated"),
        ("targets", TRAIN, "truncated"),
        ("evaluate", LAST_TRAIN, "another length"),
        *(("plot", "data/predictions.parquet", harm) for harm in ("truncated", "reordered rows", "missing")),
        *(("plot", "metrics/history.csv", harm) for harm in ("truncated", "empty", "missing")),
        *(("report", "metrics/test.json", harm) for harm in ("truncated", "empty", "missing")),
        *(("report", "metrics/plots/predictions.svg", harm) for harm in ("truncated", "empty", "missing")),
        ("report", "metrics/plots/training.gif", "empty"),
        ("report", MODEL, "truncated"),
    ],
)
def test_a_spoilt_file_ends_a_stage_with_one_line_and_65_and_no_output(finished, tmp_path, stage, file, harm):
    tree = Checkout(tmp_path / "tree")
    shutil.copytree(finished.path, tree.path, ignore=shutil.ignore_patterns(".git", ".dvc"))
    outputs = {
        "targets": [TARGETS],
        "train": ["models/model.safetensors", "metrics/train.json", "metrics/history.csv"],
        "evaluate": ["metrics/test.json", "data/predictions.parquet"],
        "report": ["metrics/report.html"],
        "plot": [f"metrics/plots/{path.name}" for path in (finished.path / "metrics/plots").iterdir()],
    }[stage]
    for output in outputs:
        (tree.path / output).unlink()
    SPOIL[harm](tree.path / file)
    files = snapshot(tree.path)

    result = tree.stage(stage, check=False)
    assert result.returncode == 65, result.stderr
    *log, message = result.stderr.splitlines()
    assert [line for line in log if not line.startswith("targets of 2,000 windows")] in ([], ["device cpu, threads 1"])
    assert message.startswith(file.rpartition("/")[0])
    assert snapshot(tree.path) == files


@pytest.fixture
def bare(tmp_path):
    """A folder with only the project's own params.yaml."""
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copy(OWN_PARAMETERS, folder / "params.yaml")
    return Checkout(folder)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["check", "generate", "targets", "train", "evaluate", "plot", "report"])
def test_a_stage_refuses_bad_parameters_with_2_before_any_work(bare, stage):
    """There is no other file to read, and none is written."""
    for name in ("generate.span", "evaluate.batch_size", "train.threads", "plot.bins"):
        bare.set(**{name: "minus one"})
    result = bare.stage(stage, check=False)
    assert result.returncode == 2
    assert "in params.yaml is the text 'minus one'; it should be a valid " in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in bare.path.iterdir()] == ["params.yaml"]


@pytest.mark.slow
def test_a_batch_larger_than_the_split_is_refused_before_the_data_is_looked_at(bare):
    bare.set(**{"generate.windows.train": 10})
    result = bare.stage("train", check=False)
    assert (result.returncode, result.stderr) == (
        2,
        "train.batch_size in params.yaml is 256; it should not be above generate.windows.train, 10\n",
    )


@pytest.mark.slow
def test_training_that_diverges_at_its_last_step_ends_with_70_and_no_output(checkout):
    """A step computes its loss before it moves the weights, so only the validation after the last step shows it."""
    checkout.set(**{
        "generate.windows.train": 300, "train.batch_size": 300, "train.epochs": 1, "model.cell": "rnn",
        "model.hidden_size": 64, "model.nonlinearity": "relu",
        "train.optimizer": "adam", "train.learning_rate": 10.0, "train.schedule": "constant",
        "train.gradient_clip": None,
    })  # fmt: skip
    checkout.stage("generate")
    checkout.stage("targets")
    for output in checkout.path.glob("metrics/*.*"):
        output.unlink()
    result = checkout.stage("train", check=False)
    assert result.returncode == 70
    assert result.stderr.splitlines()[-1].startswith("the validation loss is not finite at step 1;")
    assert not (checkout.path / "models").exists()
    assert not list(checkout.path.glob("metrics/*.*"))
