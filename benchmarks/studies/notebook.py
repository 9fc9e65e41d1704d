"""Writes docs/tutorial.ipynb, the notebook of docs/tutorial.md: its text, and its commands with their output.

.venv/bin/python -m benchmarks.studies.notebook
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbclient
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from benchmarks.processes import PROJECT

PAGE = PROJECT / "docs/tutorial.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
START = "%cd -q .."  # a notebook's commands run in its folder, docs


def make_notebook(page: str) -> nbformat.NotebookNode:
    """Returns a notebook with the text of a page between cells that run its bash blocks, each to its first failure."""
    text, *blocks = re.split(r"^```bash\n", page, flags=re.MULTILINE)
    cells = [new_markdown_cell(text.strip()), new_code_cell(START)]
    for block in blocks:
        commands, _, text = block.partition("\n```\n")
        cells += [new_code_cell(f"%%bash -e\n{commands}"), new_markdown_cell(text.strip())]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # nbformat draws them at random
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def run_notebook(notebook: nbformat.NotebookNode, folder: Path, env: Mapping[str, str]) -> None:
    """Runs a notebook in a folder; its cells then have their outputs.

    Raises nbclient.exceptions.CellExecutionError with the output of the cell that failed.
    """
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(
        notebook, timeout=None, record_timing=False, coalesce_streams=True, resources=where
    ).execute(env=env)


def main() -> None:
    """Runs the commands in a clone of the last commit, with the results in DVC's cache."""
    notebook = make_notebook(PAGE.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "quadrature"
        for command in (
            ["git", "clone", "--quiet", PROJECT, clone],
            ["dvc", "--cd", clone, "cache", "dir", "--quiet", "--local", PROJECT / ".dvc/cache"],
            ["dvc", "--cd", clone, "checkout", "--quiet"],
        ):
            subprocess.run(command, check=True)
        run_notebook(notebook, clone / "docs", os.environ)
    NOTEBOOK.write_text(nbformat.writes(notebook), encoding="utf-8")


if __name__ == "__main__":
    main()
