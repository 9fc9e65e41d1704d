"""The command line: help, version, likely spellings, and log lines above the progress bar."""

import importlib
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import tomllib

import pytest
import yaml

import quadrature
from quadrature.__main__ import COMMANDS, EXAMPLES
from quadrature.runtime.arguments import Parser
from tests.checkout import PROJECT
from tests.processes import SECONDS

STAGES = ("check", "generate", "targets", "train", "evaluate", "plot", "report")


def run(*words):
    return subprocess.run([sys.executable, "-m", *words], cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["show", "compare workspace"])
def test_a_command_whose_reader_has_left_ends_as_cat_does(finished, command):
    """Without a word: `head` has its lines."""
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "quadrature", *command.split()]
    ended = subprocess.run(
        words, cwd=finished.path, env=finished.env, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (-signal.SIGPIPE, b"")


def test_the_version_is_that_of_the_project():
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert run("quadrature", "--version").stdout == f"quadrature {declared}\n"
    assert quadrature.__version__ == declared
    assert yaml.safe_load((PROJECT / "CITATION.cff").read_text())["version"] == declared
    newest, *_ = re.findall(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest.rstrip(",") in (declared, "Unreleased")


def test_without_a_command_the_commands_are_listed():
    done = run("quadrature")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == run("quadrature", "--help").stdout
    assert "\n    predict " in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_in_a_commands_help_is_one_that_it_takes(name):
    parser = Parser()
    importlib.import_module(f"quadrature.commands.{name}").add_arguments(parser)
    parser.parse_args(shlex.split(EXAMPLES.get(name, "")))
    takes = [action for action in parser._actions if action.dest not in ("help", "quiet")]
    assert (name in EXAMPLES) == bool(takes)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_help_and_refuses_what_it_does_not_know(stage):
    done = run(f"stages.{stage}", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m stages.{stage} [-h]")
    done = run(f"stages.{stage}", "--nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    expected = f"python -m stages.{stage}: error: unrecognized arguments: --nonsense"
    assert done.stderr.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("given", "meant"),
    [("predct", "predict"), ("comapre", "compare"), ("prédict", "predict"), ("zzz", None), ("", None)],
)
def test_a_choice_that_was_probably_meant_is_named(given, meant, capsys):
    parser = Parser()
    parsers = parser.add_subparsers(metavar="COMMAND")
    for name in ("predict", "compare", "gate"):
        parsers.add_parser(name)
    with pytest.raises(SystemExit):
        parser.parse_args([given])
    said = capsys.readouterr().err
    assert said.endswith(f"; did you mean {meant}?\n" if meant else ")\n")


@pytest.fixture(scope="module")
def completion(tmp_path_factory):
    """Returns a function that completes a command line in bash, in a folder with a file `my-model`."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "my-model").touch()
    done = run("quadrature", "--print-completion", "bash")
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "script").write_text(done.stdout)

    def complete(*words):
        given = f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}"
        command = ["bash", "-c", f"source ./script; {given}; _shtab_quadrature; echo ${{COMPREPLY[@]}}"]
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        assert answer.stderr == ""
        return answer.stdout.split()

    return complete


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["pr"], ["predict"]),
        (["compare", "--ref"], ["--reference"]),
        (["predict", "--gaps", "int"], ["interpolate"]),
        (["predict", "--model", "my-"], ["my-model"]),
        (["predict", "-m", "my-"], ["my-model"]),
        (["predict", "--rate", "my-"], []),
    ],
)
def test_bash_completes_commands_options_choices_and_files(completion, words, found):
    assert completion("quadrature", *words) == found


BARS = """
import logging, time
from tqdm import tqdm
from quadrature.runtime import lifecycle

def main():
    for number in tqdm(range(3), "steps", mininterval=0.0):
        logging.info("line %d", number)

lifecycle.run(main)
"""


def test_a_line_of_the_log_is_not_glued_to_a_progress_bar():
    """On a terminal, where bars are drawn."""
    parent, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    with subprocess.Popen([sys.executable, "-c", BARS], cwd=PROJECT, stderr=terminal, stdout=terminal) as process:
        os.close(terminal)
        shown = b""
        while part := read(parent):
            shown += part
        assert process.wait(SECONDS) == 0
    os.close(parent)
    text = shown.decode()
    assert "steps: " in text
    assert "3/3" in text
    for number in range(3):
        before, _, after = text.partition(f"line {number}")
        assert re.split(r"[\r\n]", before)[-1] == ""
        assert after.startswith("\r\n")


def read(terminal):
    """Returns what a terminal shows next; nothing at its end, which Linux reports as an error."""
    try:
        return os.read(terminal, 2**16)
    except OSError:
        return b""
