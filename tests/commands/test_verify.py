"""Verify: a clone without data is fresh, each kind of staleness is named, and `dvc status` agrees."""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.utils.serialize import dump_yaml, load_yaml, modify_yaml

from quadrature.commands.verify import find_stale
from quadrature.runtime.errors import DataError
from tests.checkout import git


@pytest.fixture(scope="module")
def pristine(finished, tmp_path_factory):
    """A clone of a checkout whose results are committed: no data, no model, no cache."""
    clone = tmp_path_factory.mktemp("clones") / "pristine"
    git("clone", "--quiet", str(finished.path), str(clone), cwd=finished.path)
    assert not (clone / "data/windows").exists()
    assert not (clone / ".dvc/cache").exists()
    return clone


@pytest.fixture
def clone(pristine, tmp_path, monkeypatch):
    """A copy of the clone, as working directory."""
    copy = tmp_path / "clone"
    shutil.copytree(pristine, copy)
    monkeypatch.chdir(copy)
    return copy


def append(path, text):
    Path(path).write_text(Path(path).read_text() + text)


def in_pipeline(change):
    tree = load_yaml("dvc.yaml")
    change(tree["stages"])
    dump_yaml("dvc.yaml", tree)


def in_lock(change):
    with modify_yaml("dvc.lock") as tree:
        change(tree["stages"])


def set_parameter(section, name, value):
    with modify_yaml("params.yaml") as tree:
        if value is None:
            del tree[section][name]
        else:
            tree[section][name] = value


def recorded(stages, stage, path):
    return next(entry for entry in stages[stage]["deps"] if entry["path"] == path)


def add_dependency(stages):
    Path("quadrature/more.py").write_text("")
    stages["plot"]["deps"].append("quadrature/more.py")


MODEL = "models/model.safetensors"
STALE = {
    "edited code": (
        lambda: append("quadrature/training/soap.py", "\n"),
        ["train"],
        "quadrature/training/soap.py has changed",
    ),
    "code of several stages": (
        lambda: append("quadrature/network/stepwise.py", "\n"),
        ["train", "evaluate"],
        "quadrature/network/stepwise.py has changed",
    ),
    "added code": (
        lambda: Path("quadrature/plotting/more.py").write_text(""),
        ["plot"],
        "quadrature/plotting/more.py is not among the recorded files",
    ),
    "removed code in a folder": (
        lambda: Path("quadrature/training/adam.py").unlink(),
        ["train"],
        "quadrature/training/adam.py is missing",
    ),
    "code recorded in no commit": (
        lambda: in_lock(lambda stages: recorded(stages, "train", "quadrature/training").update(md5="0" * 32 + ".dir")),
        ["train"],
        "quadrature/training has changed",
    ),
    "removed code": (
        lambda: Path("stages/plot.py").unlink(),
        ["plot"],
        "stages/plot.py is missing",
    ),
    "changed parameter": (
        lambda: set_parameter("train", "learning_rate", 0.005),
        ["check", "train", "report"],
        "train.learning_rate is 0.005 and was 0.03",
    ),
    "parameter of one key": (
        lambda: set_parameter("generate", "span", 3.0),
        ["check", "generate", "targets", "evaluate", "plot", "report"],
        "generate.span is 3.0 and was 3.141592653589793",
    ),
    "parameter gone": (
        lambda: set_parameter("plot", "bins", None),
        ["check", "plot", "report"],
        "plot.bins is absent and was 16",
    ),
    "parameter added": (
        lambda: set_parameter("plot", "colour", "blue"),
        ["check", "plot", "report"],
        "plot.colour is 'blue' and was absent",
    ),
    "parameter declared": (
        lambda: in_pipeline(lambda stages: stages["plot"]["params"].append("train.seed")),
        ["plot"],
        "train.seed is 0 and was absent",
    ),
    "changed command": (
        lambda: in_pipeline(lambda stages: stages["train"].update(cmd="python -O -m stages.train")),
        ["train"],
        "its command has changed",
    ),
    "added dependency": (
        lambda: in_pipeline(add_dependency),
        ["plot"],
        "quadrature/more.py is not among the recorded inputs",
    ),
    "added output": (
        lambda: in_pipeline(lambda stages: stages["plot"]["outs"].append("data/more.csv")),
        ["plot"],
        "data/more.csv is not among the recorded outputs",
    ),
    "stage without a record": (
        lambda: in_lock(lambda stages: stages.pop("train")),
        ["train"],
        "dvc.lock has no record of it",
    ),
    "input without a record": (
        lambda: in_lock(lambda stages: stages["evaluate"]["deps"].remove(recorded(stages, "evaluate", MODEL))),
        ["evaluate"],
        "models/model.safetensors is not among the recorded inputs",
    ),
    "input of another run": (
        lambda: in_lock(lambda stages: recorded(stages, "evaluate", MODEL).update(md5="0" * 32)),
        ["evaluate"],
        "models/model.safetensors is not recorded as the file that train made",
    ),
    "edited metrics": (
        lambda: append("metrics/train.json", "\n"),
        ["train", "report"],
        "metrics/train.json has changed",
    ),
    "removed picture": (
        lambda: Path("metrics/plots/predictions.svg").unlink(),
        ["plot", "report"],
        "metrics/plots/predictions.svg is missing",
    ),
    "removed metrics": (
        lambda: Path("metrics/train.json").unlink(),
        ["train", "report"],
        "metrics/train.json is missing",
    ),
}
"""By kind: a change, the stages that it makes stale, and the reason."""


def test_a_clone_without_data_is_fresh_and_nothing_is_written(clone):
    def contents():
        files = [path for path in clone.rglob("*") if path.is_file() and path.parent != clone / ".dvc/tmp"]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = contents()
    command = [sys.executable, "-B", "-m", "quadrature", "verify"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("dvc.lock is fresh: ")
    assert contents() == before


def test_the_command_names_stage_and_reason_and_exits_1(clone):
    append("quadrature/training/soap.py", "\n")
    set_parameter("plot", "bins", 5)
    command = [sys.executable, "-m", "quadrature", "verify"]
    result = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "check: plot.bins is 5 and was 16",
        "train: quadrature/training/soap.py has changed",
        "plot: plot.bins is 5 and was 16",
        "report: plot.bins is 5 and was 16",
        "dvc.lock is stale: run `make repro`, then commit dvc.lock and metrics/",
    ]


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("kind", STALE)
def test_each_kind_of_staleness_is_named(kind):
    change, stages, reason = STALE[kind]
    change()
    assert {stage: found for stage, found in find_stale().items() if found} == {stage: [reason] for stage in stages}


@pytest.mark.usefixtures("clone")
def test_without_dvc_lock_every_stage_is_named():
    Path("dvc.lock").unlink()
    stages = find_stale()
    assert list(stages) == list(load_yaml("dvc.yaml")["stages"])
    assert set(map(tuple, stages.values())) == {("dvc.lock has no record of it",)}


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("text", ["schema: '2.0'\nstages:\n  train: [", "schema: '2.0'\nstages:\n  train: 7\n"])
def test_a_torn_dvc_lock_is_refused_in_a_line(text):
    Path("dvc.lock").write_text(text)
    with pytest.raises(DataError, match=r"^DVC stops: .*dvc\.lock.*git restore dvc\.lock") as caught:
        find_stale()
    assert caught.value.exit_code == 65
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("cuts", [7, pytest.param(60, marks=pytest.mark.nightly)])
def test_a_dvc_lock_cut_anywhere_is_never_taken_for_fresh(cuts):
    """A kill can leave any first part of it; some of these are not YAML, others are, with fewer entries."""
    whole = Path("dvc.lock").read_text()
    last = whole.rindex("md5: ")  # DVC ignores the size that follows
    for end in range(0, last, last // cuts):
        Path("dvc.lock").write_text(whole[:end])
        with contextlib.suppress(DataError):
            assert any(find_stale().values()), end


SOME = (
    "edited code",
    "parameter gone",
    "changed command",
    "input of another run",
    "removed picture",
)
"""One kind for each type of file that makes a stage stale."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds", [pytest.param(SOME, id="some"), pytest.param([*STALE], id="all", marks=pytest.mark.nightly)]
)
def test_dvc_status_agrees_where_the_data_is_there(again, monkeypatch, kinds):
    copy = again.path
    monkeypatch.chdir(copy)
    for kind in kinds:
        change, stages, _ = STALE[kind]
        change()
        with Repo() as repo:
            assert set(repo.status()) == set(stages), kind
        assert {stage for stage, found in find_stale().items() if found} == set(stages), kind
        git("reset", "--quiet", "--hard", cwd=copy)
        git("clean", "--quiet", "--force", "quadrature", cwd=copy)
    with Repo() as repo:
        assert repo.status() == {}
    assert not any(find_stale().values())


def test_the_changed_file_is_named_in_a_project_below_the_repositorys_root(pristine, tmp_path, monkeypatch):
    shutil.copytree(pristine, tmp_path / "project", ignore=shutil.ignore_patterns(".git"))
    git("init", "--quiet", cwd=tmp_path)
    git("add", "--all", cwd=tmp_path)
    git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message", "all", cwd=tmp_path)
    monkeypatch.chdir(tmp_path / "project")
    append("quadrature/training/soap.py", "\n")
    assert {stage: found for stage, found in find_stale().items() if found} == {
        "train": ["quadrature/training/soap.py has changed"]
    }
