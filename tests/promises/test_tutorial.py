"""docs/tutorial.md and its notebook: the commands run in their order in one checkout, and leave it as it was."""

import importlib
import sys

import pytest

from tests.checkout import PROJECT, git
from tests.forked_python.server import forking

PAGE = PROJECT / "docs/tutorial.md"


@pytest.fixture(scope="module")
def studies():
    """The module that makes and runs the notebook. Its import takes seconds: jsonschema compiles a grammar."""
    return importlib.import_module("benchmarks.studies.notebook")


# jupyter_client: a kernel on this machine's own addresses needs no encryption
@pytest.mark.filterwarnings("ignore:Kernel is running over TCP without encryption")
def test_the_notebooks_commands_run_in_their_order_and_leave_the_checkout_as_it_was(studies, again, tmp_path):
    checkout = forking(again)
    (checkout.path / ".venv").symlink_to(sys.prefix)
    checkout.commit()
    before = checkout.digests()
    notebook = studies.make_notebook(PAGE.read_text().replace("train.epochs=8", "train.epochs=1"))
    settings = {"IPYTHONDIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)}
    studies.run_notebook(notebook, checkout.path / "docs", {**checkout.env, **settings})
    assert checkout.digests() == before
    assert "Runs side by side" in (checkout.path / "comparison/tutorial.html").read_text()
    assert {"narrow", "lstm"} <= set(checkout.run("dvc", "exp", "list", "--name-only").stdout.split())
    assert git("status", "--porcelain", cwd=checkout.path) == ""
    assert checkout.repro() == []


@pytest.mark.slow
def test_the_notebook_has_the_pages_text_and_commands_and_what_they_print(studies):
    notebook = studies.nbformat.read(studies.NOTEBOOK, as_version=4)
    studies.nbformat.validate(notebook)
    expected = studies.make_notebook(PAGE.read_text())
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in expected.cells
    ], "run `python -m benchmarks.studies.notebook`"
    printed = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert all(printed[1:])
    assert any("difference" in output.text for output in printed[2])  # the comparison


def test_the_page_names_every_stage_in_order():
    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert rows == ["check", "generate", "targets", "train", "evaluate", "plot", "report"]
