"""The documents: every command runs, every file and link they name is there, the figures are the committed ones."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.checkout import PROJECT, git
from tests.forked_python.server import forking
from tests.forks import STAGES, outputs

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(str(path.relative_to(PROJECT)) for path in PROJECT.glob("docs/*.md")),
]
RUN_BY_CI = {"make repro", "make test", "make check", "make article", "make verify"}


def commands(document):
    """Returns the commands of a document's bash blocks."""
    return commands_in((PROJECT / document).read_text())


def commands_in(text):
    """Returns the lines of a text's bash blocks, continuation lines joined, comments dropped."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True, posix=False)) for line in lines if line.strip()]


def test_the_commands_that_ci_runs_are_in_its_script():
    script = (PROJECT / ".ci/run").read_text().splitlines()
    assert {line.removeprefix("timed ") for line in script} >= RUN_BY_CI


def run_commands(checkout, commands, replacements=()):
    """Runs commands one after another as a person would, with the environment at hand in place of a new one.

    A gate may fail, as the metrics are a small run's; it must say so.
    """
    for command in commands:
        script = re.sub("^make ", "make --old-file environment ", command)
        for old, new in dict(replacements).items():
            script = script.replace(old, new)
        result = checkout.run("bash", "-c", f"source .venv/bin/activate && {script}", check=command != "make gate")
        assert result.returncode == 0 or "gates failed; docs/ci.md says how" in result.stderr, result.stderr


@pytest.mark.parametrize("rounds", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_the_readmes_other_commands_run_one_after_another(again, rounds):
    """And once more after a commit, with an experiment of the same name."""
    checkout = forking(again)
    (checkout.path / ".venv").symlink_to(sys.prefix)
    checkout.commit()
    mentioned = [command for command in commands("README.md") if command not in RUN_BY_CI]
    assert len(mentioned) >= 10
    for number in range(rounds):
        if number:
            checkout.commit()
        run_commands(checkout, mentioned)
    for page in ("comparison/runs.html", "comparison/index.html", "plots/index.html"):
        assert "<html" in (checkout.path / page).read_text()
    assert checkout.yaml("params.yaml")["train"]["learning_rate"] == 0.005  # the experiment was applied
    untracked = git("status", "--porcelain", "--untracked-files=all", cwd=checkout.path)
    assert not [line for line in untracked.splitlines() if line.startswith("??")], untracked


def anchors(text):
    """Returns what the headings of a document are linked by."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_and_links_that_a_document_names_are_there(document):
    path = PROJECT / document
    text = path.read_text()
    made = {path for stage in STAGES for path in outputs(stage)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith("https://"):
            name, _, anchor = target.partition("#")
            file = path.parent / name if name else path
            assert file.exists(), target
            assert not anchor or anchor in anchors(file.read_text()), target
    for path in re.findall(r"`((?:metrics|stages|tests|quadrature)/[\w./-]+)`", text):
        assert (PROJECT / path).exists() or path in made, path


def test_the_tree_in_contributing_is_the_tree():
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    tree = text.partition("## Where things live")[2].partition("```\n")[2].partition("```")[0]
    listed, folders = [], [""]
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = [name.rstrip(",") for name in line.split()[: 2 if "," in line.split()[0] else 1]]
        listed += [folders[depth] + name for name in names]
        folders[depth + 1 :] = [listed[-1]]
    files = [Path(name) for name in git("ls-files", cwd=PROJECT).splitlines()]
    wanted = {str(path) for path in files if path.parts[0] in ("stages", "docs") and path.suffix in (".py", ".md")}
    wanted |= {f"{path.parts[0]}/" for path in files if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    wanted |= {f"{path.parent}/" for path in files if str(path.parent).startswith(("quadrature/", "benchmarks/"))}
    missing = {name for name in wanted - {*listed} if "__init__" not in name and name.count("/") < 3}
    assert not {name for name in missing if not name.startswith(("docs/article/",))}
    assert not [name for name in listed if not (PROJECT / name).exists() and name not in ("data/", "models/")]
    assert len(listed) == len(set(listed))


@pytest.mark.committed_results
def test_the_headline_figures_are_the_committed_metrics():
    test = json.loads((PROJECT / "metrics/test.json").read_text())
    figures = re.findall(r"^\| .* \| (0\.\d+) \|$", (PROJECT / "README.md").read_text(), re.MULTILINE)
    assert figures == [
        f"{test['mse']:.5f}",
        f"{test['floor_mse']:.5f}",
        f"{test['baselines']['least_squares']:.4f}",
        f"{test['baselines']['hilbert']:.3f}",
        f"{test['baselines']['zero']:.3f}",
    ]
