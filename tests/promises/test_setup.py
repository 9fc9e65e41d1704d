"""`make` on a fresh machine: one line names a missing program; .venv is made exactly when it is out of date."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.checkout import PROJECT, git
from tests.processes import rest_of


def shrink_requirements(checkout, **versions):
    """Requires two tiny packages instead of all, so that pip takes little time."""
    text = (checkout.path / "pyproject.toml").read_text()
    text = re.sub(r"(?ms)^dependencies = \[\n.*?^\]", 'dependencies = ["six"]', text)
    text = re.sub(r"(?ms)^pipeline = \[\n.*?^\]", "pipeline = []", text)
    text = re.sub(r"(?ms)^dev = \[\n.*?^\]", 'dev = ["iniconfig"]', text)
    (checkout.path / "pyproject.toml").write_text(text)
    pins = {"six": "1.17.0", "iniconfig": "2.3.0", **versions}
    (checkout.path / "constraints.txt").write_text("".join(f"{name}=={pin}\n" for name, pin in pins.items()))


def installed(checkout):
    """Returns the versions of the two packages, None for one that is not installed."""
    program = (
        "import importlib.metadata as metadata\n"
        "found = {each.name: each.version for each in metadata.distributions()}\n"
        "print(found.get('six'), found.get('iniconfig'))"
    )
    return checkout.run(".venv/bin/python", "-c", program).stdout.split()


def start(checkout, *command, **env):
    return subprocess.Popen(
        command, cwd=checkout.path, env={**checkout.env, **env}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def wants_to_set_up(checkout):
    """Whether `make environment` would make .venv again: with a missing Python it then fails."""
    said = checkout.run("make", "environment", "PYTHON=python9", check=False).stderr
    return said.startswith("python9 is missing")


def test_the_environment_is_made_when_and_only_when_it_is_missing_or_out_of_date(make_checkout, tmp_path):
    """And the development tools are added exactly when they are needed."""
    checkout = make_checkout("it's a folder; touch & #spaces %")
    shrink_requirements(checkout)
    make = ("make", "environment")

    python = stub(tmp_path / "my programs", "python 3", f'exec {sys.executable} "$@"')
    two = [start(checkout, *make, f"PYTHON={python}", PIP_FIND_LINKS=str(tmp_path / "nowhere")) for _ in range(2)]
    said = sorted(rest_of(process)[0] for process in two)
    assert [process.returncode for process in two] == [0, 0], said
    assert said == [
        "Setting up .venv (a few minutes the first time)\n",
        "Waiting for another make in this folder to end its set-up\n",
    ]
    assert "nowhere" in (checkout.path / ".venv/pip.log").read_text()  # pip warns of it
    assert installed(checkout) == ["1.17.0", "None"]
    path = checkout.run(".venv/bin/python", "-c", "import os; print(os.environ['PATH'])").stdout
    assert path.startswith(f"{checkout.path}/.venv/bin{os.pathsep}")
    assert checkout.run(*make).stdout == ""

    (tmp_path / "no-such-version").write_text("iniconfig==0.0.1")
    failed = checkout.run("make", "tools", PIP_CONSTRAINT=str(tmp_path / "no-such-version"), check=False)
    assert failed.returncode != 0
    assert installed(checkout) == ["1.17.0", "None"]
    assert "Adding the development tools" in checkout.run("make", "tools").stdout
    assert installed(checkout) == ["1.17.0", "2.3.0"]
    assert checkout.run("make", "tools").stdout == ""
    with (checkout.path / "pyproject.toml").open("a") as file:
        file.write("[tool.other]\n")
    assert checkout.run(*make).stdout == ""

    (checkout.path / ".venv/bin/python").unlink()
    assert wants_to_set_up(checkout)

    shrink_requirements(checkout, six="0.0.1")  # no such version exists: pip fails half-way
    failed = checkout.run(*make, check=False)
    assert failed.returncode != 0
    assert "ERROR: " in failed.stderr
    assert "pip failed; its output is in .venv/pip.log" in failed.stderr.splitlines()
    assert wants_to_set_up(checkout)

    shrink_requirements(checkout, six="1.16.0")
    assert "Setting up .venv" in checkout.run(*make).stdout
    assert installed(checkout) == ["1.16.0", "None"]
    assert not wants_to_set_up(checkout)

    checkout.path = checkout.path.rename(tmp_path / "elsewhere")
    assert wants_to_set_up(checkout)


def test_what_needs_the_development_tools_asks_for_them_and_the_pipeline_does_not():
    text = (PROJECT / "Makefile").read_text()
    needs = {target: need.split() for target, need in re.findall(r"^([a-z-]+):(.*?)##", text, re.MULTILINE)}
    assert needs["repro"] == needs["article"] == needs["verify"] == needs["gate"] == ["environment"]
    for target in ("quick", "test", "test-all", "check", "format", "lock", "audit", "sbom"):
        assert needs[target] == ["tools"], target
    tools = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    used = {Requirement(text).name for text in tools}
    assert {"pytest", "ruff", "mypy", "uv", "pip-audit", "cyclonedx-bom", "zizmor"} <= used


def test_a_program_of_the_environment_puts_it_first_on_path(checkout):
    """Tested in this environment, not a new one. It makes `.venv/bin/dvc repro` run the stages with .venv's Python."""
    assert "FIRST_ON_PATH" in (checkout.path / "Makefile").read_text()
    program = "import os; print(os.environ['PATH'].split(os.pathsep)[0])"
    result = checkout.run(sys.executable, "-c", program, PATH=os.defpath)
    assert result.stdout.strip() == str(Path(sys.prefix) / "bin")


def test_a_user_whom_the_system_does_not_know_has_a_name_and_a_home(checkout):
    """As in `docker run --user 12345`. DVC needs both."""
    (program,) = re.findall(
        r"^define FIRST_ON_PATH\n(.*?)^endef$", (PROJECT / "Makefile").read_text(), re.DOTALL | re.MULTILINE
    )
    program += "\nimport getpass; print(getpass.getuser(), os.path.expanduser('~'))"
    unknown = ("unshare", "--user", "--map-user=12345", "env", "-u", "HOME", "-u", "USER", "-u", "LOGNAME")
    if shutil.which("unshare") is None or checkout.run(*unknown, "true", check=False).returncode:
        pytest.skip("no user namespaces here")
    said = checkout.run(*unknown, sys.executable, "-S", "-c", program).stdout
    assert said == f"12345 {sys.base_prefix}/dvc\n"


def stub(folder, name, script):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod((folder / name).stat().st_mode | stat.S_IXUSR)
    return str(folder / name)


def test_no_shell_runs_a_part_of_the_folders_name(checkout):
    """make does not, nor does pip, which would write the name into programs that a shell reads."""
    for name in ("a$(touch X)b", "a`touch X`b", 'a"; touch X; "b', "a\\b", "a:b", "a\nb", "a\n"):
        checkout.path = checkout.path.rename(checkout.path.with_name(name))
        checkout.run("make", "--dry-run", "verify")
        assert refusal(checkout).startswith("the path of this folder has one of ")
        assert not list(checkout.path.parent.rglob("X"))


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
    assert [line.split()[1] for line in lines] == re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE)
    assert all(len(line.split()) > 3 and len(line) <= 110 for line in lines)


def test_a_clone_has_the_same_bytes_whatever_git_does_to_line_endings(checkout):
    clone = checkout.path.with_name("clone")
    git("clone", "--quiet", "--config", "core.autocrlf=true", str(checkout.path), str(clone), cwd=checkout.path)
    for name in git("ls-files", "-z", cwd=checkout.path).split("\0")[:-1]:
        assert (clone / name).read_bytes() == (checkout.path / name).read_bytes(), name
    assert git("status", "--porcelain", cwd=clone) == ""


def test_make_format_mends_what_make_check_refuses(checkout):
    """With this environment instead of a new one."""
    (checkout.path / ".venv").symlink_to(sys.prefix)
    module = checkout.path / "quadrature/scoring/scores.py"
    tidy = module.read_text()
    module.write_text(tidy.replace("import math\n", "import   math\nimport os\n"))
    assert checkout.run("make", "-o", "tools", "check", check=False).returncode != 0
    checkout.run("make", "-o", "tools", "format")
    assert module.read_text() == tidy
    for said in ("format --check", "check"):  # not all of `make check`, as mypy takes half a minute
        assert f".venv/bin/ruff {said} ." in (checkout.path / "Makefile").read_text()
        checkout.run(".venv/bin/ruff", *said.split(), ".")
