"""Gates: every outcome in a table, exact at the bound, against revisions and experiments of a real repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quadrature.commands.gate import Rule, judge, load_rules
from quadrature.experiments.revisions import metrics_of
from quadrature.runtime.errors import DataError, ParameterError
from tests.checkout import PROJECT, Checkout, git

ABSENT = "absent"  # no file


def rule(better="lower", against="main", absolute=0.0, relative=0.0, name="mse"):
    return Rule(
        metric=f"metrics/test.json:{name}",
        better=better,
        against=against,
        absolute_tolerance=absolute,
        relative_tolerance=relative,
    )


def metrics(text):
    return None if text == ABSENT else json.loads(text)


def of(value):
    return f'{{"mse": {value}}}'


@pytest.mark.parametrize(
    ("rule", "here", "there", "passed", "reason"),
    [
        # Inside, at and beyond the bound.
        (rule(against=0.02), "0.0199", None, True, ""),
        (rule(against=0.02), "0.02", None, True, ""),
        (rule(against=0.02), "0.020000000000000004", None, False, "4e-18 too high"),
        (rule("higher", against=0.02), "0.0201", None, True, ""),
        (rule("higher", against=0.02), "0.02", None, True, ""),
        (rule("higher", against=0.02), "0.0199", None, False, "0.0001 too low"),
        (rule(absolute=0.1), "0.79", "0.7", True, ""),
        (rule(absolute=0.1), "0.8", "0.7", True, ""),
        (rule(absolute=0.1), "0.81", "0.7", False, "0.01 too high"),
        (rule("higher", absolute=0.1), "0.61", "0.7", True, ""),
        (rule("higher", absolute=0.1), "0.6", "0.7", True, ""),
        (rule("higher", absolute=0.1), "0.59", "0.7", False, "0.01 too low"),
        (rule(relative=0.05), "2.0", "2.0", True, ""),
        (rule(relative=0.05), "2.1", "2.0", True, ""),
        (rule(relative=0.05), "2.11", "2.0", False, "0.01 too high"),
        (rule("higher", relative=0.05), "1.9", "2.0", True, ""),
        (rule("higher", relative=0.05), "1.89", "2.0", False, "0.01 too low"),
        # The larger of two tolerances holds.
        (rule(absolute=0.5, relative=0.05), "2.5", "2.0", True, ""),
        (rule(absolute=0.01, relative=0.05), "2.1", "2.0", True, ""),
        (rule(absolute=0.01, relative=0.05), "2.11", "2.0", False, "0.01 too high"),
        # A relative tolerance is of the magnitude: it never makes a rule stricter, and about zero it allows nothing.
        (rule(relative=0.05), "-1.9", "-2.0", True, ""),
        (rule(relative=0.05), "-1.89", "-2.0", False, "0.01 too high"),
        (rule("higher", relative=0.05), "-2.1", "-2.0", True, ""),
        (rule("higher", relative=0.05), "-2.11", "-2.0", False, "0.01 too low"),
        (rule(relative=0.5), "0.0", "0.0", True, ""),
        (rule(relative=0.5), "1e-300", "0.0", False, "1e-300 too high"),
        (rule("higher", relative=0.5), "-1e-300", "0", False, "1e-300 too low"),
        (rule(absolute=0.5), "0.5", "0", True, ""),
        # Whole numbers, of any size.
        (rule("higher", against=8192), "8192", None, True, ""),
        (rule("higher", against=8192), "8191", None, False, "1 too low"),
        (rule(against=9007199254740992), "9007199254740993", None, False, "1 too high"),
        (rule(), f"1{'0' * 400}", f"1{'0' * 400}", True, ""),
        (rule(), "1.7e308", "1", False, "1.7e+308 too high"),
        # What is here is no number: it fails, whatever the reference.
        (rule(), ABSENT, "1", False, "missing here"),
        (rule(), "{}", "1", False, "missing here"),
        (rule(), "null", "1", False, "null here"),
        (rule(), "NaN", "1", False, "not finite here"),
        (rule(), "-Infinity", "1", False, "not finite here"),
        (rule(), "1e999", "1", False, "not finite here"),
        (rule(), '"0.1"', "1", False, "not a number here"),
        (rule(), "true", "1", False, "not a number here"),
        (rule(), "[0.1]", "1", False, "not a number here"),
        (rule(against=1), "null", None, False, "null here"),
        (rule(), "null", "null", False, "null here"),
        (rule(), ABSENT, ABSENT, False, "missing here"),
        # What is there is no number.
        (rule(), "0.1", ABSENT, True, "new: missing at main"),
        (rule(), "0.1", "{}", True, "new: missing at main"),
        (rule(), "0.1", "null", True, "null at main"),
        (rule(), "0.1", "NaN", False, "not finite at main"),
        (rule(), "0.1", "Infinity", False, "not finite at main"),
        (rule(), "0.1", '"0.1"', False, "not a number at main"),
        (rule(), "0.1", "false", False, "not a number at main"),
    ],
)
def test_each_outcome_is_the_defined_one(rule, here, there, passed, reason):
    sides = [metrics(text if text in (None, ABSENT, "{}") else of(text)) if text else None for text in (here, there)]
    outcome = judge(rule, *sides)
    assert (outcome.passed, outcome.reason) == (passed, reason)


def test_a_dotted_name_leads_into_sections():
    nested = {"baselines": {"zero": 0.5}, "mse": 0.1}
    assert judge(rule(against=0.5, name="baselines.zero"), nested, None).passed
    for name in ("baselines.one", "mse.zero", "baselines.zero.more"):
        assert judge(rule(against=0.5, name=name), nested, None).reason == "missing here"
    assert judge(rule(against=0.5, name="baselines"), nested, None).reason == "not a number here"


def test_the_bound_is_that_of_the_decimals_as_written():
    """Against whole numbers: tenths as JSON writes them, where floats go wrong."""
    wrong_in_floats = 0
    for reference in range(-12, 13):
        for tolerance in range(4):
            for value in range(-16, 17):
                lower = judge(rule(absolute=tolerance / 10), {"mse": value / 10}, {"mse": reference / 10})
                higher = judge(rule("higher", absolute=tolerance / 10), {"mse": value / 10}, {"mse": reference / 10})
                assert lower.passed == (value <= reference + tolerance)
                assert higher.passed == (value >= reference - tolerance)
                wrong_in_floats += lower.passed != (value / 10 <= reference / 10 + tolerance / 10)
    assert wrong_in_floats > 0


GOOD = "rules:\n  - metric: metrics/test.json:mse\n    better: lower\n    against: main\n    relative_tolerance: 0.05\n"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("better", "beter", "rule 1: beter in gates.yaml is not a parameter; did you mean better?"),
        (": lower", ": lowr", "rule 1: better in gates.yaml is the text 'lowr'; did you mean lower?"),
        ("relative_tolerance", "tolerance", "rule 1: tolerance in gates.yaml is not a parameter; did you mean "),
        (": main", ": true", "rule 1: against in gates.yaml is true; it should be a finite number, or a revision: "),
        (": main", ": .nan", "rule 1: against in gates.yaml is nan; it should be a finite number, or a revision: "),
        (
            ": main",
            ": ''",
            "rule 1: against in gates.yaml is the text ''; it should be a finite number, or a revision: ",
        ),
        (": main", ":", "rule 1: against in gates.yaml is null; it should be a finite number, or a revision: "),
        ("    against: main\n", "", "rule 1: against is missing from gates.yaml"),
        ("0.05", "-0.05", "rule 1: relative_tolerance in gates.yaml is -0.05; it should be greater than or equal to 0"),
        ("0.05", ".inf", "rule 1: relative_tolerance in gates.yaml is inf; it should be a finite number"),
        ("0.05", "5 %", "rule 1: relative_tolerance in gates.yaml is the text '5 %'; it should be a valid number"),
        (":mse", "", "rule 1: metric in gates.yaml is the text 'metrics/test.json'; it should be FILE:NAME, as "),
        ("rules:", "rulez:", "rulez in gates.yaml is not a parameter; did you mean rules?"),
        (GOOD, "rules: []", "rules in gates.yaml is []; "),
        (GOOD, "rules: [7]", "rules.0 in gates.yaml is 7; it should be a valid dictionary"),
        (GOOD, "rules: [", "gates.yaml is not valid YAML: "),
        (GOOD, "", "rules is missing from gates.yaml"),
        ("against: main", "against: main\n    against: HEAD", "rules.0.against stands twice in gates.yaml; remove one"),
        (GOOD, GOOD * 2, "rules stands twice in gates.yaml; remove one"),
    ],
)
def test_a_mistake_in_the_rules_is_told_in_a_line(tmp_path, before, after, message):
    path = tmp_path / "gates.yaml"
    path.write_text(GOOD.replace(before, after))
    with pytest.raises(ParameterError) as caught:
        load_rules(path)
    lines = str(caught.value).replace(str(path), "gates.yaml").splitlines()
    assert lines[0].startswith(message)
    assert len(lines) == 1


def test_a_bound_is_read_as_dvc_reads_a_number_and_a_quoted_commit_as_a_revision(tmp_path):
    path = tmp_path / "gates.yaml"
    for text, against in (("1e-3", 0.001), ("7", 7), ('"1234567"', "1234567"), ("v1.0", "v1.0")):
        path.write_text(GOOD.replace(": main", f": {text}"))
        assert [each.against for each in load_rules(path)] == [against]


METRICS = {"mse": 0.00291, "excess": 0.0134, "windows": 8192, "baselines": {"zero": 0.5}}
RULES = """
rules:
  - {metric: "metrics/test.json:excess", better: lower, against: 0.02}
  - {metric: "metrics/test.json:windows", better: higher, against: 8192}
  - {metric: "metrics/test.json:mse", better: lower, against: main, relative_tolerance: 0.05}
"""


def put_results(checkout, **changes):
    """Writes metrics and rules that they pass into a checkout, whatever the tree's user has."""
    (checkout.path / "metrics").mkdir(exist_ok=True)
    (checkout.path / "metrics/test.json").write_text(json.dumps(METRICS | changes))
    (checkout.path / "gates.yaml").write_text(RULES)


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """Metrics and rules committed on main, then those of a better run on a branch; nothing is run."""
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
    """Against themselves where a rule is against main."""
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
    assert rows["excess"][4] == "at most 0.02"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_where_git_has_no_commit_or_dvc_no_project_that_is_told_in_one_line(tmp_path):
    """In a process of its own each, as DVC remembers what it has opened."""
    shutil.copy(PROJECT / "gates.yaml", tmp_path)
    git("init", "--quiet", cwd=tmp_path)
    for command, code, told in (
        (("gate", "--against", "main"), 2, "there is no revision 'main' here (Empty git repo)"),
        (("compare",), 65, "DVC cannot list the experiments here: "),
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
        (b"\xff{}", "is not text"),
        (b"[1]", "should hold metrics by name"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(committed, monkeypatch, text, problem):
    monkeypatch.chdir(committed.path)
    torn = Path("torn.json")
    torn.write_bytes(text)
    git("add", "torn.json", cwd=committed.path)
    git("commit", "--quiet", "--message", "torn", cwd=committed.path)
    commit = git("rev-parse", "HEAD", cwd=committed.path).strip()  # DVC remembers in a process what HEAD was
    for revision, where in ((None, "torn.json"), (commit, f"torn.json at {commit}")):
        with pytest.raises(DataError, match=f"^{where} {problem}"):
            metrics_of(torn, revision)
    git("reset", "--quiet", "--hard", "HEAD^", cwd=committed.path)


def test_metrics_are_read_as_they_are_from_the_tree_and_as_of_any_kind_of_revision(committed, monkeypatch):
    monkeypatch.chdir(committed.path)
    git("switch", "--quiet", "main", cwd=committed.path)
    # What `dvc exp run` leaves behind: a commit on no branch, with a reference of this form.
    commit, baseline = git("rev-parse", "better", "main", cwd=committed.path).split()
    git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/slower", commit, cwd=committed.path)
    path = Path("metrics/test.json")
    assert metrics_of(path) == METRICS
    for revision in ("better", "v2", commit, commit[:7], "slower"):
        metrics = metrics_of(path, revision)
        assert (metrics["mse"], metrics["extra"]) == (0.0028, None), revision
    assert metrics_of(Path("metrics/none.json"), "slower") is None
    assert metrics_of(Path("metrics/none.json")) is None
