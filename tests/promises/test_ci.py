"""Continuous integration: its commands also run locally, its rights are minimal, its summary and page are right."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from dvc.utils.serialize import load_yaml, parse_yaml

import quadrature.commands.gate
from quadrature.__main__ import COMMANDS
from tests.checkout import PROJECT, git
from tests.promises.test_readme import commands

WORKFLOW = PROJECT / ".github/workflows/ci.yml"
JOBS = load_yaml(str(WORKFLOW))["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
NIGHTLY = load_yaml(str(PROJECT / ".github/workflows/nightly.yml"))
NIGHTLY_STEPS = [step for job in NIGHTLY["jobs"].values() for step in job["steps"]]
PAGE = (PROJECT / "docs/ci.md").read_text()
BASE = '"$BASE"'


def is_at_hand(command):
    """Whether this is a target of the Makefile, a script in .ci/ or a command of the project."""
    match command.split():
        case ["make", target]:
            return re.search(rf"^{target}:.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE) is not None
        case ["bash" | ".venv/bin/python", script, *_] if script.startswith(".ci/"):
            return (PROJECT / script).is_file()
        case [".venv/bin/python", "-m", "quadrature", name, *_]:
            return name in COMMANDS
    return False


def runs(steps):
    return [line for step in steps for line in step.get("run", "").splitlines()]


def test_each_step_runs_a_command_that_runs_here_too():
    lines = runs(STEPS)
    assert len(lines) >= 9
    assert [line for line in [*lines, *runs(NIGHTLY_STEPS)] if not is_at_hand(line)] == []


def test_the_hosted_checks_and_the_local_ones_are_the_same():
    lines = re.findall(r"^timed (.*)$", (PROJECT / ".ci/run").read_text(), re.MULTILINE)
    assert all(map(is_at_hand, lines))
    others = {"make environment", "make tools"}  # dependencies of the other targets
    ours = {line.replace("HEAD", BASE) for line in lines} - others
    assert ours == set(runs(STEPS))


def test_the_local_checks_end_with_what_took_how_long_where_one_fails_too(checkout, tmp_path):
    (tmp_path / "make").write_text('#!/bin/sh\necho "$1" >&2; [ "$1" != check ]\n')
    (tmp_path / "make").chmod(0o755)
    (checkout.path / "dvc.lock").touch()
    (checkout.path / "metrics").mkdir()
    (checkout.path / "metrics/test.json").touch()
    checkout.commit()
    result = checkout.run("bash", ".ci/run", check=False, PATH=f"{tmp_path}:{checkout.env['PATH']}")
    assert result.returncode != 0
    assert result.stderr.splitlines()[-3:] == ["environment", "tools", "check"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()[-5:]]
    assert rows[0] == ["step", "seconds"]
    assert [name for name, _ in rows[2:]] == ["bash .ci/packages", "make environment", "make tools"]
    assert all(seconds.isdecimal() for _, seconds in rows[2:])


def test_each_night_all_tests_run_in_full_with_no_more_rights():
    assert runs(NIGHTLY_STEPS) == ["bash .ci/packages", "make test-all"]
    assert NIGHTLY["permissions"] == {"contents": "read"}
    assert "schedule" in NIGHTLY["on"]
    text = (PROJECT / ".github/workflows/nightly.yml").read_text()
    assert {*re.findall(r"uses: (.*)", text)} <= {*re.findall(r"uses: (.*)", WORKFLOW.read_text())}


def test_no_expression_is_pasted_into_a_shell():
    assert [line for line in runs(STEPS) if "${{" in line] == []


def test_every_action_is_pinned_to_a_commit_with_its_version_beside():
    uses = re.findall(r"^ +(?:- )?uses: (.*)$", WORKFLOW.read_text(), re.MULTILINE)
    assert len(uses) == sum("uses" in step for step in STEPS) >= 6
    for action in uses:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert len({action.split("@")[0] for action in uses}) == len(set(uses))  # one version each


def test_a_job_can_read_and_nothing_else_and_ends():
    workflow = load_yaml(str(WORKFLOW))
    assert workflow["permissions"] == {"contents": "read"}
    for job in JOBS.values():
        assert "permissions" not in job
        assert 0 < job["timeout-minutes"] <= 60
    checkouts = [step for step in STEPS if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(JOBS)
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert "secrets" not in WORKFLOW.read_text()


def test_a_superseded_run_of_a_pull_request_ends_and_no_other_does():
    workflow = load_yaml(str(WORKFLOW))
    assert workflow["on"] == {"push": {"branches": ["main"]}, "pull_request": None}
    assert workflow["concurrency"] == {
        "group": "ci-${{ github.event.pull_request.number || github.run_id }}",
        "cancel-in-progress": True,
    }


def test_the_oldest_and_the_newest_python_run_on_both_systems():
    matrix = JOBS["checks"]["strategy"]["matrix"]
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos"}
    oldest = re.search(r'requires-python = ">=([\d.]+)"', (PROJECT / "pyproject.toml").read_text())[1]
    versions = sorted(tuple(map(int, version.split("."))) for version in matrix["python"])
    first, last = versions[0], versions[-1]
    assert versions == [(3, minor) for minor in range(first[1], last[1] + 1)]  # without gaps
    assert ".".join(map(str, first)) == oldest


def test_the_pipeline_fetches_what_it_compares_with():
    checkout, *_ = JOBS["pipeline"]["steps"]
    assert checkout["with"]["fetch-depth"] == 0
    assert "github.base_ref" in JOBS["pipeline"]["env"]["BASE"]
    assert [line for line in runs(JOBS["pipeline"]["steps"]) if BASE in line] == [
        f"bash .ci/summary {BASE}",
        f".venv/bin/python -m quadrature gate --against={BASE}",
    ]


def test_the_table_of_failures_names_the_steps():
    jobs = {**JOBS, **NIGHTLY["jobs"]}
    steps = [(name, step["name"]) for name, job in jobs.items() for step in job["steps"] if "name" in step]
    assert re.findall(rf"^\| ({'|'.join(jobs)}) \| ([^|]+) \|", PAGE, re.MULTILINE) == steps


def test_the_page_has_the_outcomes_of_the_code():
    table = "\n".join(line for line in quadrature.commands.gate.__doc__.splitlines() if line.startswith("|"))
    assert f"<!-- outcomes -->\n\n{table}\n\n<!-- end of outcomes -->" in PAGE


def snippets(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_pages_rule_is_one(tmp_path):
    rules, _ = snippets("yaml")
    path = tmp_path / "gates.yaml"
    path.write_text(rules)
    (rule,) = quadrature.commands.gate.load_rules(path)
    assert (rule.name, rule.against) == ("baselines.least_squares", "main")


def test_gitlab_runs_the_same_commands():
    _, snippet = snippets("yaml")
    tree = parse_yaml(snippet, "docs/ci.md")
    script = {job: [line for line in tree[job]["script"] if not line.startswith("export ")] for job in JOBS}
    assert script == {job: runs(JOBS[job]["steps"]) for job in JOBS}


def test_packages_installs_nothing_where_all_is_there_and_stops_nothing_where_it_cannot(tmp_path):
    bash = shutil.which("bash")
    command = [bash, str(PROJECT / ".ci/packages")]
    result = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"not installed: chromium.*; the tests that use them will be skipped\n", result.stderr)
    for name in ("chromium", "sshd", "faketime", "locale-gen"):
        (tmp_path / name).touch(mode=0o755)
    result = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")


RULES = """
rules:
  - {metric: "metrics/test.json:windows", better: higher, against: 300}
  - {metric: "metrics/test.json:seen_in_training", better: lower, against: 0}
  - {metric: "metrics/test.json:mse", better: lower, against: main, relative_tolerance: 0.05}
"""
"""Rules that a small run can meet."""


@pytest.fixture(scope="module")
def changed(finished, tmp_path_factory):
    """Two commits: results, and changed results. Nothing is run."""
    checkout = finished.copy(tmp_path_factory.mktemp("changed") / "checkout")
    (checkout.path / ".venv").symlink_to(sys.prefix)
    (checkout.path / ".git/info/exclude").write_text(".venv\n")  # .gitignore names a folder, this is a link
    (checkout.path / "gates.yaml").write_text(RULES)
    checkout.commit()
    checkout.set(**{"train.learning_rate": 0.005})
    path = checkout.path / "metrics/test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mse": 0.75}))
    checkout.commit()
    return checkout


def rows(text):
    """Returns the cells of Markdown tables by row, without headers and rules."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [
        row for row in lines if row[0].strip(":-") and row[0] not in ("outcome", "Path") and not row[0].startswith("-")
    ]


def test_the_summary_shows_gates_metrics_and_parameters_beside_the_base(changed, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n")
    assert changed.run("bash", ".ci/summary", "HEAD^", GITHUB_STEP_SUMMARY=str(page)).stdout == ""
    assert page.read_text().startswith("before\n## Results beside `HEAD^`\n")
    cells = rows(page.read_text())
    (gate,) = [row for row in cells if row[0] == "FAIL"]
    assert gate[1:3] == ["metrics/test.json:mse", "0.75"]
    assert sum(row[0] == "pass" for row in cells) == 2
    assert [row[1] for row in cells if row[0].startswith("metrics/")] == ["mse"]
    assert [row[:4] for row in cells if row[0] == "params.yaml"] == [
        ["params.yaml", "train.learning_rate", "0.03", "0.005"]
    ]

    assert changed.run("bash", ".ci/summary", "HEAD", GITHUB_STEP_SUMMARY="").stdout.count("None changed.") == 2
    result = changed.run("bash", ".ci/summary", "origin/gone", check=False)
    assert result.returncode != 0
    assert "there is no revision 'origin/gone' here" in result.stderr


def test_the_pages_commands_run(changed):
    found = commands("docs/ci.md")
    assert len(found) == 3
    git("switch", "--quiet", "--detach", "HEAD^", cwd=changed.path)
    for command in found:
        changed.run("bash", "-c", command)
    git("switch", "--quiet", "main", cwd=changed.path)
