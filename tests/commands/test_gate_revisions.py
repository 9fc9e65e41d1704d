"""The gate command and the revisions it reads, in a real repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quadrature.experiments.revisions import metrics_of
from quadrature.runtime.errors import DataError, ParameterError
from tests.checkout import PROJECT, Checkout, git

pytestmark = pytest.mark.slow

METRICS = {"mse": 0.00291, "excess": 0.0134, "windows": 8192, "baselines": {"zero": 0.5}}
RULES = """
rules:
  - {metric: "metrics/test.json:excess", better: lower, against: 0.02}
  - {metric: "metrics/test.json:windows", better: higher, against: 8192}
  - {metric: "metrics/test.json:mse", better: lower, against: main, relative_tolerance: 0.05}
"""


def put_results(checkout, **changes):
    """Writes metrics into a checkout, and rules that they pass."""
    (checkout.path / "metrics").mkdir(exist_ok=True)
    (checkout.path / "metrics/test.json").write_text(json.dumps(METRICS | changes))
    (checkout.path / "gates.yaml").write_text(RULES)


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A checkout with metrics and rules committed on main, and those of a better run on a branch; nothing is run."""
    checkout = Checkout.make(tmp_path_factory.mktemp("committed") / "checkout")
    put_results(checkout)
    checkout.commit()
    git("switch", "--quiet", "--create", "better", cwd=checkout.path)
    put_results(checkout, mse=0.0028, extra=None)
    checkout.commit()
    git("tag", "v2", cwd=checkout.path)
    return checkout


def gate(checkout, *arguments):
    result = checkout.run("python", "-m", "quadrature", "gate", "--markdown", *arguments, check=False)
    assert "Traceback" not in result.stderr
    lines = result.stdout.replace("\\", "").splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return result, {row[1].rpartition(":")[2]: row for row in rows}


@pytest.mark.committed_results
def test_the_projects_own_metrics_pass_its_own_gates(committed, tmp_path):
    """A rule against main compares them with themselves."""
    project = committed.copy(tmp_path / "project")
    git("switch", "--quiet", "main", cwd=project.path)
    for name in ("metrics/test.json", "gates.yaml"):
        shutil.copy(PROJECT / name, project.path / name)
    project.commit()
    result, rows = gate(project)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(rows) >= 6
    assert {row[0] for row in rows.values()} == {"pass"}
    assert rows["mse"][3].endswith(" at main")
    assert rows["excess"][4] == "at most 0.005"


def test_metrics_that_keep_to_the_rules_pass(committed):
    git("switch", "--quiet", "main", cwd=committed.path)
    result, rows = gate(committed)
    assert (result.returncode, result.stderr) == (0, "")
    assert [row[0] for row in rows.values()] == ["pass"] * 3
    assert rows["mse"][3] == "0.00291 at main"
    assert rows["excess"][4] == "at most 0.02"

    printed = committed.run("python", "-m", "quadrature", "gate").stdout.splitlines()
    assert printed[0].split() == ["outcome", "metric", "value", "reference", "allowed", "reason"]
    assert [line.split()[:2] for line in printed[2:]] == [["pass", row[1]] for row in rows.values()]


def test_a_run_is_held_against_the_revision_on_the_command_line_in_place_of_those_in_the_rules(committed):
    git("switch", "--quiet", "main", cwd=committed.path)
    path = committed.path / "metrics/test.json"
    original = path.read_text()
    path.write_text(json.dumps(METRICS | {"mse": 0.00300}))  # 3 % worse than main, 7 % worse than better
    try:
        assert gate(committed)[0].returncode == 0
        result, rows = gate(committed, "--against", "better")
    finally:
        path.write_text(original)
    assert result.returncode == 1
    assert result.stderr.startswith("1 of 3 gates failed")
    assert rows["mse"][::2] == ["FAIL", "0.003", "at most 0.00294"]
    assert rows["mse"][3::2] == ["0.0028 at better", "6e-05 too high"]
    assert (rows["excess"][0], rows["excess"][3]) == ("pass", "0.02")


def test_a_revision_that_is_not_there_is_exit_code_2(committed):
    result, rows = gate(committed, "--against=no-such")
    assert result.returncode == 2
    assert not rows
    (line,) = result.stderr.splitlines()
    assert line.startswith("there is no revision 'no-such' here")


@pytest.mark.parametrize("revision", ["no-such", "", "-x"])
def test_a_revision_that_is_not_there_is_named(committed, monkeypatch, revision):
    monkeypatch.chdir(committed.path)
    with pytest.raises(ParameterError, match=f"^there is no revision '{revision}' here"):
        metrics_of(Path("metrics/test.json"), revision)


def test_where_git_has_no_commit_or_dvc_no_project_that_is_told_in_one_line(tmp_path):
    shutil.copy(PROJECT / "gates.yaml", tmp_path)
    git("init", "--quiet", cwd=tmp_path)
    for command, code, told in (
        (("gate", "--against", "main"), 2, "there is no revision 'main' here (git and DVC know no such name)"),
        (("compare",), 65, "workspace has no params.yaml; run `dvc repro` there"),
    ):
        words = [sys.executable, "-m", "quadrature", *command]
        env = {**os.environ, "PYTHONPATH": str(PROJECT)}
        ended = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr.count("\n")) == (code, 1), ended.stderr
        assert ended.stderr.startswith(told)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"mse": 0.1', "is not valid JSON"),
        (b"\xff{}", "is not UTF-8 text"),
        (b"[1]", "is not a JSON object"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(committed, monkeypatch, text, problem):
    monkeypatch.chdir(committed.path)
    torn = Path("torn.json")
    torn.write_bytes(text)
    git("add", "torn.json", cwd=committed.path)
    git("commit", "--quiet", "--message", "torn", cwd=committed.path)
    commit = git("rev-parse", "HEAD", cwd=committed.path).strip()  # HEAD keeps its meaning within a process
    for revision, where in ((None, "torn.json"), (commit, f"torn.json at {commit}")):
        with pytest.raises(DataError, match=f"^{where} {problem}"):
            metrics_of(torn, revision)
    git("reset", "--quiet", "--hard", "HEAD^", cwd=committed.path)


def test_metrics_are_read_as_they_are_from_the_tree_and_as_of_any_kind_of_revision(committed, monkeypatch):
    monkeypatch.chdir(committed.path)
    git("switch", "--quiet", "main", cwd=committed.path)
    # `dvc exp run` leaves a commit on no branch, with a reference of this form.
    commit, baseline = git("rev-parse", "better", "main", cwd=committed.path).split()
    git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/slower", commit, cwd=committed.path)
    path = Path("metrics/test.json")
    assert metrics_of(path) == METRICS
    for revision in ("better", "v2", commit, commit[:7], "slower"):
        metrics = metrics_of(path, revision)
        assert (metrics["mse"], metrics["extra"]) == (0.0028, None), revision
    assert metrics_of(Path("metrics/none.json"), "slower") is None
    assert metrics_of(Path("metrics/none.json")) is None


@pytest.fixture
def below(committed, tmp_path):
    """The checkout as a folder of a repository whose root has another project's files of the same names."""
    root = tmp_path / "root"
    shutil.copytree(committed.path, root / "sub/project", ignore=shutil.ignore_patterns(".git"))
    (root / "metrics").mkdir()
    (root / "metrics/test.json").write_text(json.dumps(METRICS | {"mse": 1e-9}))
    git("init", "--quiet", "--initial-branch=main", cwd=root)
    git("config", "user.name", "A", cwd=root)
    git("config", "user.email", "a@example.org", cwd=root)
    git("add", "--all", cwd=root)
    git("commit", "--quiet", "--message", "all", cwd=root)
    return Checkout(root / "sub/project")


def test_in_a_project_below_the_repositorys_root_its_own_metrics_are_compared(below):
    own = json.loads((below.path / "metrics/test.json").read_text())["mse"]
    put_results(below, mse=0.004)
    result, rows = gate(below)
    assert result.returncode == 1
    assert rows["mse"][3] == f"{own:.7g} at main"


def test_the_repositorys_other_files_are_none_of_the_projects(below, monkeypatch):
    monkeypatch.chdir(below.path)
    assert metrics_of(Path("metrics/test.json"), "main") == json.loads(Path("metrics/test.json").read_text())
    assert metrics_of(Path("metrics/test.json"), "main") != json.loads(Path("../../metrics/test.json").read_text())
    assert metrics_of(Path("metrics/none.json"), "main") is None
