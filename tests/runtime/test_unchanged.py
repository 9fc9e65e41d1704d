"""A stage whose parameters, code or inputs change while DVC runs it is refused, and its outputs are deleted."""

import os
import shutil
from pathlib import Path

import pytest
from dvc.utils.serialize import dump_yaml, modify_yaml

from quadrature.runtime.errors import ParameterError
from quadrature.runtime.unchanged import ChangedInputsError, watch_inputs
from tests.checkout import PROJECT

STAGE = {
    "cmd": "python -m stages.some",
    "deps": ["code", "code.py", "data", {"table.csv": {"frozen": True}}, "not/there"],
    "params": ["device", "train.rate", "model", {"others.yaml": ["name"]}],
    "outs": ["models/some", {"out.csv": {"cache": False}}],
    "metrics": [{"metrics.json": {"cache": False}}],
}


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A stage of DVC's in the working directory, with its inputs and outputs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "some")
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    dump_yaml("dvc.yaml", {"stages": {"some": STAGE}})
    parameters = {"device": "cpu", "train": {"rate": 0.1, "epochs": 3}, "model": {"sizes": [1, 2], "cell": "gru"}}
    dump_yaml("params.yaml", parameters)
    for name in ("code/one.py", "code/sub/two.py", "code.py", "table.csv", "models/some/a", "out.csv", "metrics.json"):
        write(name, "first")
    write("data/large.parquet", "x" * (2**20 + 1))
    shutil.copy(PROJECT / ".dvcignore", tmp_path)
    return STAGE


def write(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def set_parameter(*names, value):
    with modify_yaml("params.yaml") as tree:
        for name in names[:-1]:
            tree = tree[name]
        tree[names[-1]] = value


CHANGES = {
    "code": (lambda: write("code.py", "second"), "code.py"),
    "code in a folder": (lambda: write("code/sub/two.py", "second"), "code/sub/two.py"),
    "new code": (lambda: write("code/three.py", ""), "code/three.py"),
    "code removed": (lambda: Path("code/one.py").unlink(), "code/one.py"),
    "an input": (lambda: write("table.csv", "second"), "table.csv"),
    "a large input": (lambda: write("data/large.parquet", "y" * (2**20 + 1)), "data/large.parquet"),
    "a parameter": (lambda: set_parameter("train", "rate", value=0.2), "train.rate"),
    "a parameter's type": (lambda: set_parameter("device", value=None), "device"),
    "a section": (lambda: set_parameter("model", "sizes", value=[1, 3]), "model.sizes"),
    "two": (lambda: (write("code.py", "second"), write("table.csv", "second")), "code.py, table.csv"),
    "an input appears": (lambda: write("not/there", ""), "not/there"),
}


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_named_and_the_outputs_are_deleted(change):
    inputs = watch_inputs()
    act, names = CHANGES[change]
    act()
    with pytest.raises(ChangedInputsError, match=f"^{names} changed while this stage ran; .*: run it again$") as caught:
        inputs.check()
    assert caught.value.exit_code == 75
    assert not any(map(os.path.exists, ("models/some", "out.csv", "metrics.json")))


@pytest.mark.usefixtures("stage")
def test_many_changes_are_counted():
    inputs = watch_inputs()
    for number in range(5):
        write(f"code/new{number}.py", "")
    with pytest.raises(ChangedInputsError, match=r"^code/new0.py, code/new1.py, code/new2.py and 2 more changed"):
        inputs.check()


@pytest.mark.usefixtures("stage")
def test_what_the_stage_does_not_declare_may_change():
    inputs = watch_inputs()
    set_parameter("train", "epochs", value=4)
    write("other.py", "")
    for name in ("__pycache__/one.cpython-311.pyc", ".one.py.swp", ".#one.py", "one.py~"):  # Python's and editors'
        write(f"code/{name}", "")
    write("out.csv", "second")
    write("code.py", "first")  # the same content
    inputs.check()
    assert Path("out.csv").read_text() == "second"


@pytest.mark.usefixtures("stage")
def test_without_dvc_or_for_another_pipelines_stage_nothing_is_watched(monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "sub/dvc.yaml:some")
    assert watch_inputs() is None
    monkeypatch.delenv("DVC_STAGE")
    monkeypatch.setenv("RANK", "0")
    assert watch_inputs() is None


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("variable", ["RANK", "WORLD_SIZE"])
def test_one_process_of_several_is_refused_under_dvc(monkeypatch, variable):
    monkeypatch.setenv(variable, "2")
    with pytest.raises(ParameterError, match=f"^{variable} is set, so this process would do only a part"):
        watch_inputs()


@pytest.mark.usefixtures("stage")
@pytest.mark.parametrize("text", ["", "stages: [", "a: &x [*x]", "\x00"])
def test_a_file_that_cannot_be_read_is_left_to_the_reader_who_needs_it(text):
    Path("params.yaml").write_text(text)
    watch_inputs().check()
    Path("dvc.yaml").write_text(text)
    assert watch_inputs() is None
