"""The documents: every command runs, every file and link they name is there, the figures are the committed ones."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from tests.checkout import PROJECT, git

DOCUMENTS = ["README.md", "CONTRIBUTING.md", "docs/accuracy.md", "docs/article.md", "docs/cells.md"]
RUN_BY_CI = {"make repro", "make test", "make check", "make article"}


def commands(document):
    """Returns the lines of a document's bash blocks, continuation lines joined, comments dropped."""
    text = (PROJECT / document).read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(shlex.split(line, comments=True, posix=False)) for line in lines if line.strip()]


def test_the_commands_that_ci_runs_are_in_its_script():
    script = (PROJECT / ".ci/run").read_text().splitlines()
    assert set(script) >= RUN_BY_CI


@pytest.mark.slow
def test_the_readmes_other_commands_run_one_after_another(checkout):
    (checkout.path / ".venv").symlink_to(sys.prefix)
    checkout.repro()
    checkout.commit()
    script = "\n".join(command for command in commands("README.md") if command not in RUN_BY_CI)
    assert script.count("\n") >= 8
    checkout.run("bash", "-euo", "pipefail", "-c", script)
    for page in ("comparison/index.html", "plots/index.html"):
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
    made = {out["path"] for stage in load_yaml(str(PROJECT / "dvc.lock"))["stages"].values() for out in stage["outs"]}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith("https://"):
            name, _, anchor = target.partition("#")
            file = path.parent / name if name else path
            assert file.exists(), target
            assert not anchor or anchor in anchors(file.read_text()), target
    for path in re.findall(r"`((?:metrics|stages|tests|quadrature)/[\w./-]+)`", text):
        assert (PROJECT / path).exists() or path in made, path


def test_the_tree_in_the_readme_is_the_tree():
    text = (PROJECT / "README.md").read_text()
    tree = text.partition("## Where things live")[2].partition("```\n")[2].partition("```")[0]
    listed, folder = [], ""
    for line in tree.splitlines():
        name = line.split()[0].rstrip(",")
        if name.endswith("/"):
            folder = name
        listed.append(folder + name if line.startswith("  ") else name)
    files = [Path(name) for name in git("ls-files", cwd=PROJECT).splitlines()]
    for package in ("stages", "quadrature"):
        modules = [str(path) for path in files if path.parent == Path(package) and path.name != "__init__.py"]
        assert sorted(name for name in listed if name.startswith(f"{package}/") and name != f"{package}/") == sorted(
            modules
        )
    folders = {f"{path.parts[0]}/" for path in files if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    assert folders <= set(listed) - {name for name in listed if name.count("/") == 1 and not name.endswith("/")}


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
