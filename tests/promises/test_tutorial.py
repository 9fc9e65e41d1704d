"""docs/tutorial.md: its commands run in the page's order in one checkout, and leave it as it was."""

import sys

from tests.checkout import PROJECT, git
from tests.forked_python.server import forking
from tests.promises.test_readme import commands, run_commands

PAGE = "docs/tutorial.md"


def test_the_tutorials_commands_run_in_their_order_and_leave_the_checkout_as_it_was(again):
    (again.path / ".venv").symlink_to(sys.prefix)
    again.commit()
    before = again.digests()
    run_commands(forking(again), commands(PAGE), {"train.epochs=8": "train.epochs=1"})
    assert again.digests() == before
    assert "Runs side by side" in (again.path / "comparison/tutorial.html").read_text()
    assert {"narrow", "lstm"} <= set(again.run("dvc", "exp", "list", "--name-only").stdout.split())
    assert git("status", "--porcelain", cwd=again.path) == ""
    assert again.repro() == []


def test_the_page_names_every_stage_in_order():
    text = (PROJECT / PAGE).read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]
    assert rows == ["check", "generate", "targets", "train", "evaluate", "plot", "report"]
