"""docs/reproducibility.md: its commands run, and its table has every kernel that is tested."""

import re
import shlex
import sys

from tests.checkout import PROJECT
from tests.promises.test_readme import RUN_BY_CI, commands
from tests.torture.test_environments import KEEPING, KERNELS

PAGE = "docs/reproducibility.md"
TEXT = (PROJECT / PAGE).read_text()


def test_the_pages_commands_compare_a_run_with_the_committed_results(again):
    (again.path / ".venv").symlink_to(sys.prefix)
    first, second = commands(PAGE)
    assert first in RUN_BY_CI
    assert again.run(*shlex.split(second)).stdout.splitlines()[-1] == "results are the committed ones"


def test_the_page_says_of_every_kernel_that_is_tried_what_it_keeps():
    """The first table, of the machine with the most kernels."""
    table = TEXT[: TEXT.index("the machine's own", TEXT.index("the machine's own") + 1)]
    rows = dict(re.findall(r"^\| `(\w+=\w+)`[^|]*\| (\w+ \| \w+ \| \w+) \|$", table, re.MULTILINE))
    assert rows.keys() == {f"{variable}={value}" for variable, value in KERNELS}
    for variable, value in KERNELS:
        if value in KEEPING:
            assert rows[f"{variable}={value}"] == "bytes | bytes | bytes"
