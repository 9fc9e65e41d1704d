"""The real pipeline, run by the real dvc, with shrunken parameters."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

from quadrature.runtime.errors import ParameterError
from quadrature.runtime.params import SECTIONS, load_params
from quadrature.storage.windows import ESTIMATE_COLUMNS, IN_PHASE_COLUMNS, WINDOW_COLUMNS, read_windows
from stages.generate import Params as GenerateStage
from tests.checkout import PROJECT
from tests.forked_python.server import forking

STAGES = ["generate", "targets", "train", "evaluate", "plot", "report"]


def test_the_pipeline_makes_every_file_of_the_contract(finished):
    made = {path for path in finished.digests() if not path.startswith(("metrics/plots/", "data/source/"))}
    shards = {"train": 4, "validation": 1, "test": 1}
    assert made == {
        *(f"data/windows/{split}/part-{shard:05}.parquet" for split in shards for shard in range(shards[split])),
        *(f"data/targets/train/part-{shard:05}.parquet" for shard in range(shards["train"])),
        "data/checked.txt",
        *(f"data/narrow/{name}.svg" for name in ("error_by_signal", "predictions", "task", "worst_windows")),
        "data/snapshots.parquet",
        *(f"data/digests/{stage}.sha256" for stage in ("train", "evaluate", "plot")),
        "models/model.safetensors",
        "metrics/train.json",
        "metrics/history.csv",
        "metrics/test.json",
        "data/predictions.parquet",
        "metrics/error_by_frequency.csv",
        "metrics/error_by_phase.csv",
        "metrics/error_by_position.csv",
        "metrics/playground.html",
        "metrics/report.html",
        "dvc.lock",
    }
    assert finished.repro() == []
    assert finished.run("git", "status", "--porcelain").stdout == ""


def test_metrics_have_the_contracts_names_and_agree_with_the_predictions(finished):
    train, test = (json.loads((finished.path / f"metrics/{name}.json").read_text()) for name in ("train", "test"))
    assert list(train) == ["epochs", "steps", "parameters", "train_mse", "train_target", "validation_mse"]
    assert (train["epochs"], train["steps"]) == (2, 2 * 16)
    assert train["parameters"] == 3 * 8 * (1 + 8 + 2) + 20 * (8 + 1)  # a GRU's three gates, a linear layer
    assert list(test) == [
        "mse",
        "mse_standard_error",
        "rmse",
        "max_abs_error",
        "floor_mse",
        "floor_standard_error",
        "floor_windows",
        "excess",
        "excess_standard_error",
        "floor_z_score",
        "floor_numerical_error",
        "floor_missing",
        "baselines",
        "baselines_standard_error",
        *("in_phase_mse", "amplitude_rmse", "phase_rmse_degrees"),
        *("floor_in_phase_mse", "floor_amplitude_rmse", "floor_phase_rmse_degrees"),
        *("baselines_in_phase_mse", "baselines_amplitude_rmse", "baselines_phase_rmse_degrees"),
        "windows",
        "seen_in_training",
    ]
    assert list(test["baselines"]) == ["zero", "hilbert", "least_squares"]

    columns = (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS, *IN_PHASE_COLUMNS)
    rows = read_windows(finished.path / "data/predictions.parquet", columns)
    assert pq.read_schema(finished.path / "data/predictions.parquet").names == list(columns)
    truth = (*WINDOW_COLUMNS, "in_phase")
    windows = read_windows(finished.path / "data/windows/test/part-00000.parquet", truth)
    assert all((rows[name] == windows[name]).all() for name in truth)
    error = rows["prediction"].astype(float) - rows["target"]
    assert test["mse"] == pytest.approx(np.mean(error**2), rel=1e-12)
    assert test["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-12)
    scatter = np.square(error).mean(axis=1).std(ddof=1) / np.sqrt(300)
    assert test["mse_standard_error"] == pytest.approx(scatter, rel=1e-9)
    assert test["max_abs_error"] == np.abs(error).max()
    assert (test["windows"], test["floor_windows"], test["seen_in_training"]) == (300, 300, 0.0)
    mse = {name: np.square(rows[name].astype(float) - rows["target"]).mean() for name in ESTIMATE_COLUMNS}
    assert test["floor_mse"] == pytest.approx(mse["posterior_mean"], rel=1e-6)
    assert 0.0 < test["floor_standard_error"] < 0.2 * test["floor_mse"]
    assert all(0.0 < error < 0.2 * test["baselines"][name] for name, error in test["baselines_standard_error"].items())
    distance = np.square(rows["prediction"].astype(float) - rows["posterior_mean"]).mean()
    assert test["excess"] == pytest.approx(distance / test["floor_mse"], rel=1e-4)
    assert abs(test["floor_z_score"]) < 5.0
    assert 0.0 < test["excess_standard_error"] < test["excess"]
    assert 0.0 < test["floor_numerical_error"] <= 0.005
    assert test["baselines"]["hilbert"] == pytest.approx(mse["hilbert"], rel=1e-6)
    assert test["baselines"]["least_squares"] == pytest.approx(mse["least_squares"], rel=1e-6)
    assert test["baselines"]["zero"] == pytest.approx(np.square(rows["target"].astype(float)).mean(), rel=1e-12)
    assert test["floor_mse"] < test["baselines"]["least_squares"] < test["baselines"]["hilbert"]

    header, *history = (finished.path / "metrics/history.csv").read_text().splitlines()
    assert header == "epoch,step,learning_rate,train_mse,validation_mse,train_target"
    assert [float(row.split(",")[0]) for row in history] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    *_, train_mse, validation_mse, target = history[-1].split(",")
    assert [train_mse, validation_mse] == [repr(train["train_mse"]), repr(train["validation_mse"])]
    assert target == train["train_target"] == "posterior_mean"


@pytest.mark.slow
def test_clean_clones_in_unlike_surroundings_give_the_same_bytes(finished, make_checkout, tmp_path):
    checkout = make_checkout("à directory with spaces")
    (tmp_path / "home").mkdir()
    surroundings = {
        "TZ": "Pacific/Kiritimati",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "12345",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HOME": str(tmp_path / "home"),
    }
    checkout.run("sh", "-c", "umask 077 && exec dvc repro", **surroundings)
    assert checkout.digests() == finished.digests()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("train.threads", 2, ["report"]),  # it lists the parameter; no other output changes
        ("plot.bins", 5, ["plot", "report"]),
        pytest.param("train.seed", 7, STAGES[2:], marks=pytest.mark.nightly),
        pytest.param("generate.seed", 7, STAGES, marks=pytest.mark.nightly),
    ],
)
def test_a_change_runs_the_stages_that_read_it_and_going_back_runs_none(again, name, value, expected):
    golden = again.digests()
    forking(again).set(**{name: value})
    assert again.repro() == expected
    assert again.digests() != golden
    again.run("git", "checkout", "--quiet", "params.yaml")
    assert again.repro() == []
    assert again.digests() == golden


MISTAKES = {
    "device": "gpu",
    "generate.length": 1,
    "targets.kind": "cleen",
    "model.cell": "gro",
    "train.epochs": 0,
    "train.processes": 3,
    "train.batch_size": 10**6,
    "evaluate.batch_size": 0,
    "plot.bins": 0,
}


@pytest.mark.slow
def test_a_mistake_in_any_section_is_told_before_an_output_is_lost(again):
    """DVC removes the outputs of a stage before the stage can say no."""
    golden = again.digests()
    del golden["data/checked.txt"]
    assert {name.partition(".")[0] for name in MISTAKES} == {*SECTIONS}
    forking(again)
    for name, value in MISTAKES.items():
        again.set(**{name: value})
        done = again.run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert len(re.findall("^[a-z_.]+ in params.yaml is ", done.stderr, re.MULTILINE)) == 1, done.stderr
        assert {path: digest for path, digest in again.digests().items() if path != "data/checked.txt"} == golden
        again.run("git", "checkout", "--quiet", "params.yaml")
    assert again.repro() == []


@pytest.mark.slow
def test_an_accelerator_that_is_not_there_is_told_by_the_check(again):
    found = torch.accelerator.current_accelerator(check_available=True)
    absent = "mps" if found is None or found.type != "mps" else "cuda"
    again.set(device=absent)
    ended = again.stage("check", check=False)
    assert (ended.returncode, ended.stderr.startswith(f"device in params.yaml is {absent}, but torch finds ")) == (
        2,
        True,
    )


GOOD = ("1e-3", "1E-3", ".5", "2", "1e0")
DOUBTFUL = ("012", "1_000", "0x10")
BAD = ("on", "true", ".inf", "nan", "0.1.2", "null")
"""Values given for a number on the command line."""


def noise_std_or_refusal():
    """Returns the value that the stage reads in params.yaml, or the message of its refusal."""
    try:
        return load_params(GenerateStage, Path("params.yaml")).generate.noise_std
    except ParameterError as error:
        return str(error)


def test_dvc_and_the_stages_agree_on_every_value_given_on_the_command_line(make_checkout, monkeypatch):
    """DVC's own code writes each value to params.yaml as for `dvc exp run`, and reads it as for dvc.lock."""
    checkout = make_checkout()
    monkeypatch.chdir(checkout.path)
    passed = set()
    with Repo() as repo:
        stage = repo.stage.load_one(name="generate")
        (dependency,) = [each for each in stage.deps if isinstance(each, ParamsDependency)]
        for text in (*GOOD, *DOUBTFUL, *BAD):
            apply_overrides("params.yaml", [f"generate.noise_std={text}"])
            ours = noise_std_or_refusal()
            if isinstance(ours, str):
                assert "generate.noise_std in params.yaml is " in ours
            else:
                passed.add(text)
                assert ours == dependency.read_params()["generate"]["noise_std"]
    assert passed >= {*GOOD}
    assert not passed & {*BAD}


@pytest.mark.slow
@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(("1e-3", "on"), id="some"),
        pytest.param((*GOOD, *DOUBTFUL, *BAD), marks=pytest.mark.nightly, id="all"),
    ],
)
def test_a_stage_that_dvc_starts_takes_or_refuses_a_value_given_on_the_command_line(checkout, texts):
    passed = {}
    for text in texts:
        result = forking(checkout).run("dvc", "exp", "run", "generate", "-S", f"generate.noise_std={text}", check=False)
        if result.returncode == 0:
            theirs = checkout.yaml("dvc.lock")["stages"]["generate"]["params"]["params.yaml"]["generate"]["noise_std"]
            passed[text] = load_params(GenerateStage, checkout.path / "params.yaml").generate.noise_std
            assert passed[text] == theirs
        else:
            assert "generate.noise_std in params.yaml is " in result.stderr, result.stderr
            assert "Traceback" not in result.stderr
    assert passed.keys() >= {*GOOD} & {*texts}
    assert not passed.keys() & {*BAD}


@pytest.mark.committed_results
def test_the_default_reaches_its_mark():
    """dvc.lock shows that the committed metrics belong to the committed code; CI makes them again."""
    test = json.loads((PROJECT / "metrics/test.json").read_text())
    assert test["windows"] == 8192
    assert test["excess"] <= 0.005
    assert test["excess_standard_error"] <= 0.001
    assert test["floor_windows"] == 8192
    assert test["seen_in_training"] == 0.0


def peak_memory(checkout, windows, *options):
    """Generates a number of training windows; returns the process's peak resident memory in MB.

    Reads the program's own record in /proc: getrusage would include the memory of this process at the fork.
    """
    checkout.set(**{"generate.windows.train": windows})
    program = (
        "import os, runpy, sys\n"
        "os._exit = sys.exit\n"
        "try: runpy.run_module('stages.generate', run_name='__main__')\n"
        "finally: print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    return int(checkout.run("python", "-c", program, *options).stdout.split()[1]) / 1e3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
@pytest.mark.parametrize(
    "shard_windows", [8192, pytest.param(65536, marks=pytest.mark.nightly, id="the project's own shards")]
)
def test_generates_memory_does_not_grow_with_the_count(make_checkout, shard_windows):
    """With one thread, as the peaks of several threads coincide in some runs only.

    At least 16 shards, as the peak of fewer is sometimes 6 % lower. Twice, as equal runs differ by 3 %.
    """
    checkout = make_checkout(parameters={"generate.shard_windows": shard_windows})
    few = max(peak_memory(checkout, 16 * shard_windows, "--threads", "1") for _ in range(2))
    assert peak_memory(checkout, 64 * shard_windows, "--threads", "1") < 1.05 * few
    assert peak_memory(checkout, 64 * shard_windows) < 500


@pytest.mark.slow
def test_dvc_runs_the_stages_with_its_own_environment_without_activation(checkout):
    """`.venv/bin/dvc repro` works in a shell with another `python`, or with none."""
    bare = {"PATH": "/usr/bin:/bin", "VIRTUAL_ENV": ""}
    dvc = str(Path(sys.executable).parent / "dvc")
    checkout.run(dvc, "repro", "generate", **bare)
    assert (checkout.path / "data/windows/train/part-00003.parquet").exists()
