"""How commands end: exit codes, one line in place of a traceback, files whole or untouched."""

import signal
import stat
import subprocess
import sys

import pytest

from quadrature.files import replacing, write_json

PROGRAM = """
import time
from pathlib import Path
from quadrature import command
from quadrature.errors import *
from quadrature.files import replacing

def main():
    {body}

command.run(main)
"""


def run(body, **options):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [("ParameterError", 2), ("DataError", 65), ("NonFiniteLossError", 70), ("Interruption", 75)],
)
def test_each_kind_of_failure_has_its_exit_code_and_its_message_alone(error, code):
    result = run(f"raise {error}('what, where, what to do')")
    assert (result.returncode, result.stderr, result.stdout) == (code, "what, where, what to do\n", "")


def test_a_command_that_is_done_exits_0():
    assert run("pass").returncode == 0


def test_a_full_disk_and_a_file_out_of_reach_are_one_line():
    result = run("Path('/dev/full').write_text('x')")
    assert (result.returncode, result.stderr.count("\n")) == (74, 1)
    assert "No space left on device" in result.stderr
    result = run("Path('nowhere/file').read_text()")
    assert result.stderr == "nowhere/file: No such file or directory\n"


def test_a_mistake_of_ours_keeps_its_traceback():
    result = run("1 / 0")
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_75_and_leaves_no_temporary_file(tmp_path, number):
    target = tmp_path / "output"
    target.write_text("old")
    body = f"""
    with replacing(Path({str(target)!r})) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 75
    assert stderr == f"interrupted by {number.name}; nothing unfinished was kept\n"
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_signal_that_a_librarys_guard_meets_still_ends_the_command():
    body = """
    try:
        print("ready", flush=True)
        time.sleep(60)
    except Exception:
        time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(body=body)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 75


def test_a_replaced_file_has_the_permissions_of_any_new_file(tmp_path):
    with replacing(tmp_path / "folder" / "file") as temporary:
        temporary.write_text("x")
    (tmp_path / "plain").write_text("x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("folder/file", "plain")]
    assert modes[0] == modes[1]


def test_json_refuses_what_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"mse": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "metrics.json", {"mse": 0.1, "floor_mse": None})
    assert (tmp_path / "metrics.json").read_text() == '{\n  "mse": 0.1,\n  "floor_mse": null\n}\n'
