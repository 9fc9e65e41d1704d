"""docs/tutorial.md and its notebook: the commands run in their order in one checkout, and leave it as it was."""

import sys

import nbformat
import pytest

from benchmarks.studies.notebook import NOTEBOOK, PAGE, make_notebook, run_notebook
from tests.checkout import git
from tests.forked_python.server import forking


# jupyter_client: a kernel on this machine's own addresses needs no encryption
@pytest.mark.filterwarnings("ignore:Kernel is running over TCP without encryption")
def test_the_notebooks_commands_run_in_their_order_and_leave_the_checkout_as_it_was(again, tmp_path):
    checkout = forking(again)
    (checkout.path / ".venv").symlink_to(sys.prefix)
    checkout.commit()
    before = checkout.digests()
    notebook = make_notebook(PAGE.read_text().replace("train.epochs=8", "train.epochs=1"))
    settings = {"IPYTHONDIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path)}
    run_notebook(notebook, checkout.path / "docs", {**checkout.env, **settings})
    assert checkout.digests() == before
    assert "Runs side by side" in (checkout.path / "comparison/tutorial.html").read_text()
    assert {"narrow", "lstm"} <= set(checkout.run("dvc", "exp", "list", "--name-only").stdout.split())
    assert git("status", "--porcelain", cwd=checkout.path) == ""
    assert checkout.repro() == []


def test_the_notebook_has_the_pages_text_and_commands_and_what_they_print():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    expected = make_notebook(PAGE.read_text())
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in expected.cells
    ], "run `python -m benchmarks.studies.notebook`"
    printed = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert all(printed[1:])
    assert any("difference" in output.text for output in printed[2])  # the comparison


def test_the_page_names_every_stage_in_order():
    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert rows == ["check", "generate", "targets", "train", "evaluate", "plot", "report"]
