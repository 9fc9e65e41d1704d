"""`make` from nothing: what is missing is said in one line; .venv is made when, and only when, it is out of date."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import PROJECT


def shrink_requirements(checkout, **versions):
    """Asks for two tiny packages in place of all, so that the real pip has little to do."""
    text = (checkout.path / "pyproject.toml").read_text()
    text = re.sub(r"(?ms)^dependencies = \[\n.*?^\]", 'dependencies = ["six"]', text)
    text = re.sub(r"(?ms)^dev = \[\n.*?^\]", 'dev = ["iniconfig"]', text)
    (checkout.path / "pyproject.toml").write_text(text)
    pins = {"six": "1.17.0", "iniconfig": "2.3.0", **versions}
    (checkout.path / "constraints.txt").write_text("".join(f"{name}=={pin}\n" for name, pin in pins.items()))


def version(checkout, name):
    program = f"import importlib.metadata as m; print(m.version({name!r}))"
    return checkout.run(".venv/bin/python", "-c", program).stdout.strip()


@pytest.mark.slow
def test_the_environment_is_made_when_and_only_when_it_is_missing_or_out_of_date(make_checkout, tmp_path):
    checkout = make_checkout("a folder with spaces")
    shrink_requirements(checkout)
    make = ("make", "environment")

    assert "Setting up .venv" in checkout.run(*make).stdout
    assert (version(checkout, "six"), version(checkout, "iniconfig")) == ("1.17.0", "2.3.0")
    assert checkout.run(*make).stdout == ""

    shrink_requirements(checkout, six="1.16.0")
    assert "Setting up .venv" in checkout.run(*make).stdout
    assert version(checkout, "six") == "1.16.0"

    (checkout.path / ".venv/bin/python").unlink()
    assert "Setting up .venv" in checkout.run(*make).stdout

    shrink_requirements(checkout, six="0.0.1")  # no such version: pip fails half-way
    assert checkout.run(*make, check=False).returncode != 0
    shrink_requirements(checkout)
    assert "Setting up .venv" in checkout.run(*make).stdout

    checkout.path = checkout.path.rename(tmp_path / "elsewhere")
    assert "Setting up .venv" in checkout.run(*make).stdout
    assert checkout.run(*make).stdout == ""


def test_a_program_of_the_environment_puts_it_first_on_path(checkout):
    """Here, not in a new one: it is what makes `.venv/bin/dvc repro` run the stages with .venv's Python."""
    assert "FIRST_ON_PATH" in (checkout.path / "Makefile").read_text()
    program = "import os; print(os.environ['PATH'].split(os.pathsep)[0])"
    result = checkout.run(sys.executable, "-c", program, PATH=os.defpath)
    assert result.stdout.strip() == str(Path(sys.prefix) / "bin")


def stub(folder, name, script):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod((folder / name).stat().st_mode | stat.S_IXUSR)
    return str(folder / name)


def refusal(checkout, *arguments, **env):
    result = checkout.run("make", "repro", *arguments, check=False, **env)
    assert result.returncode == 2
    assert not (checkout.path / ".venv").exists()
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    return line


def test_a_missing_python_is_told_in_one_line(checkout):
    assert (
        refusal(checkout, "PYTHON=python9")
        == "python9 is missing; install Python 3.11 or newer, or say make PYTHON=..."
    )


def test_too_old_a_python_is_told_in_one_line(checkout, tmp_path):
    old = stub(tmp_path / "bin", "python3", 'case "$1" in --version) echo Python 3.9.6;; *) exit 1;; esac')
    line = refusal(checkout, f"PYTHON={old}")
    assert line == "Python 3.9.6 is too old; install Python 3.11 or newer, or say make PYTHON=..."


def test_a_missing_git_is_told_in_one_line(checkout, tmp_path):
    for tool in ("sh", "cmp", "cat", "make", "awk"):
        stub(tmp_path / "bin", tool, f'exec {shutil.which(tool)} "$@"')
    assert refusal(checkout, PATH=str(tmp_path / "bin")) == "git is missing; install it and run make again"


def test_make_alone_lists_the_targets_a_phrase_each(checkout):
    lines = checkout.run("make").stdout.splitlines()
    text = (PROJECT / "Makefile").read_text()
    assert [line.split()[1] for line in lines] == re.findall(r"^([a-z]+):.*##", text, re.MULTILINE)
    assert all(len(line.split()) > 3 and len(line) <= 110 for line in lines)


def test_make_format_mends_what_make_check_refuses(checkout):
    """With the environment at hand in place of a new one."""
    (checkout.path / ".venv").symlink_to(sys.prefix)
    module = checkout.path / "quadrature/scores.py"
    tidy = module.read_text()
    module.write_text(tidy.replace("import math\n", "import   math\nimport os\n"))
    assert checkout.run("make", "-o", "environment", "check", check=False).returncode != 0
    checkout.run("make", "-o", "environment", "format")
    assert module.read_text() == tidy
    checkout.run("make", "-o", "environment", "check")


def test_tests_of_a_group_run_in_one_process(tmp_path):
    """What they share is made once. A pytest that pytest-xdist does not know says nothing, and runs them anywhere."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_group.py").write_text(
        "import os, pathlib, pytest\n"
        "@pytest.mark.xdist_group('one')\n"
        "@pytest.mark.parametrize('number', range(8))\n"
        "def test(number):\n"
        "    pathlib.Path(f'{number}.worker').write_text(os.environ['PYTEST_XDIST_WORKER'])\n"
    )
    command = [sys.executable, "-m", "pytest", "--numprocesses", "2", "--dist", "loadgroup"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=True)
    workers = [path.read_text() for path in tmp_path.glob("*.worker")]
    assert (len(workers), len(set(workers))) == (8, 1)
