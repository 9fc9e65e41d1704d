"""What the tests do with a program that does not end."""

import subprocess

import psutil
import pytest

from tests import processes
from tests.processes import rest_of


@pytest.mark.slow
@pytest.mark.parametrize("goes", [False, True])
def test_a_program_that_does_not_end_is_told_and_killed_with_what_it_started(monkeypatch, goes):
    monkeypatch.setattr(processes, "SECONDS", 0.2)
    process = subprocess.Popen(
        # If the shell goes, what it started is known by the pipe alone.
        ["sh", "-c", "sleep 1001 & sleep 1002 & echo $!; " + ("exit 3" if goes else "wait")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    later = psutil.Process(int(process.stdout.readline()))
    with pytest.raises(AssertionError, match=r"(?s)not ended after 0\.2 seconds:.*: sleep 1001 .*: sleep 1002 "):
        rest_of(process)
    assert process.returncode == (3 if goes else -9)
    assert later.wait(10) is None  # not its parent: no exit code


def test_a_program_that_ends_is_read_to_its_end():
    """Also one that ends with its input, and what a readline has read ahead."""
    program = ["sh", "-c", "echo 1; echo 2; cat; sleep 0.1; echo 3; exit 3"]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "1\n"
    assert rest_of(process) == ("2\n3\n", None)
    assert process.returncode == 3
