"""How commands end: exit codes, one line in place of a traceback, files whole or untouched."""

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from quadrature.__main__ import COMMANDS, main
from quadrature.runtime import lifecycle
from quadrature.storage.files import replacing, write_json
from tests.checkout import OWN_PARAMETERS, PROJECT
from tests.processes import SECONDS, rest_of

pytestmark = pytest.mark.slow

PROGRAM = """
import time
from pathlib import Path
from quadrature.runtime import lifecycle
from quadrature.runtime.errors import *
from quadrature.storage.files import replacing

def main():
    {body}

lifecycle.run(main)
"""


WAIT = "while True: time.sleep(0.1)"
"""Waits for a signal. One that comes just before a sleep begins is only handled when that sleep ends."""


def restore_hangups():
    """Undoes what `nohup` did if it started these tests."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_as_a_failure_is_told_changes_nothing(number):
    """As one does that ends a process because another has failed."""
    body = f"""
    import logging, os
    logging.getLogger().handlers[0].addFilter(lambda record: os.kill(os.getpid(), {int(number)}) or True)
    raise DataError('what, where, what to do')
"""
    result = run(body)
    assert (result.returncode, result.stderr) == (65, "what, where, what to do\n")


@pytest.mark.parametrize("error", ["QuadratureError", "ParameterError", "DataError", "NonFiniteLossError"])
def test_no_name_in_a_message_moves_the_cursor_or_makes_a_line_of_its_own(error):
    body = rf"""
    import logging
    logging.warning("drawn in %s,\n\u2028as told", "\x1b[2J\r\u202e\udcff")
    raise {error}("key \x1b[2J\r\x9b\n is unknown", "the second line")
"""
    said = run(body).stderr.split("\n")
    assert said[:2] == [r"drawn in \x1b[2J\r\u202e\udcff,", r"\u2028as told"]
    assert said[2:] == [r"key \x1b[2J\r\x9b\n is unknown", "the second line", ""]


def test_a_command_that_is_done_exits_0():
    assert run("pass").returncode == 0


def test_a_command_that_is_done_ends_at_once():
    """While Python would clear up, a signal could no longer be heeded."""
    body = "import atexit; atexit.register(time.sleep, 300); print('done')"
    done = run(body, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_command_needs_no_standard_output_and_no_standard_error():
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", PROGRAM.format(body="pass")]
    assert subprocess.run(command, check=False).returncode == 0
    body = """
    import os, tqdm
    for _ in tqdm.tqdm([1], disable=None):
        assert os.path.samestat(os.fstat(2), os.stat(os.devnull))  # and no file of ours, where a library may write
"""
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", PROGRAM.format(body=body)]
    assert subprocess.run(command, check=False).returncode == 0


def test_a_full_disk_and_a_file_out_of_reach_are_one_line():
    result = run("Path('/dev/full').write_text('x')")
    assert (result.returncode, result.stderr.count("\n")) == (74, 1)
    assert "No space left on device" in result.stderr
    with Path("/dev/full").open("w") as full:
        command = [
            sys.executable,
            "-c",
            PROGRAM.format(body="with lifecycle.standard('output') as out: print(1, file=out)"),
        ]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.stderr == "standard output: No space left on device; free some space on its disk\n"
    assert result.returncode == 74
    result = run("Path('nowhere/file').read_text()")
    assert result.stderr == "nowhere/file: No such file or directory\n"


def test_a_mistake_of_ours_keeps_its_traceback():
    result = run("1 / 0")
    assert result.returncode == 1
    assert "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU])
def test_a_signal_ends_a_command_with_75_and_leaves_no_temporary_file(tmp_path, number):
    target = tmp_path / "output"
    target.write_text("old")
    body = f"""
    with replacing(Path({str(target)!r})) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        {WAIT}
"""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], text=True, preexec_fn=restore_hangups, **pipes
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, stderr = rest_of(process)
    assert process.returncode == 75
    assert stderr == f"interrupted by {number.name}; nothing half-written was left\n"
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("library", ["multiarray", "libc10.", "libtorch_cpu.", "libtorch_python.", "_C."])
@pytest.mark.parametrize(
    "command", [("stages.train",), ("quadrature", "predict", "--model", "a", "--input", "b", "--output", "c")], ids=len
)
def test_ctrl_c_as_libraries_are_loaded_ends_a_command_as_it_ends_any_program(tmp_path, command, library):
    """Were it lost, the command would go on, and end with another code: there is nothing here to work on."""
    (tmp_path / "params.yaml").write_bytes(OWN_PARAMETERS.read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    with process:
        while library not in Path(f"/proc/{process.pid}/maps").read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert rest_of(process)[1] == b""
    assert process.returncode == -signal.SIGINT


def test_a_terminal_that_closes_and_a_limit_of_time_may_signal_twice_without_cutting_a_save_short():
    body = """
    import os, signal
    with lifecycle.held_back() as signalled:
        for number in (signal.SIGXCPU, signal.SIGXCPU, signal.SIGHUP, signal.SIGHUP):
            os.kill(os.getpid(), number)
        print(signalled())
    os.kill(os.getpid(), signal.SIGHUP)
    print("saved")
"""
    done = run(body)
    assert (done.returncode, done.stdout) == (0, "SIGXCPU\nsaved\n")


def test_under_nohup_a_closed_terminal_stops_nothing():
    body = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('done')"
    command = ["nohup", sys.executable, "-c", PROGRAM.format(body=body)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "done\n"


def test_a_signal_that_a_librarys_guard_meets_still_ends_the_command():
    body = f"""
    try:
        print("ready", flush=True)
        {WAIT}
    except Exception:
        {WAIT}
"""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(body=body)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=SECONDS) == 75


def test_a_replaced_file_has_the_permissions_of_any_new_file(tmp_path):
    with replacing(tmp_path / "folder" / "file") as temporary:
        temporary.write_text("x")
    (tmp_path / "plain").write_text("x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("folder/file", "plain")]
    assert modes[0] == modes[1]


def test_a_link_in_the_place_of_the_temporary_file_leads_nowhere(tmp_path):
    (tmp_path / "another's").write_text("kept")
    (tmp_path / ".file.tmp").symlink_to(tmp_path / "another's")
    (tmp_path / "file").symlink_to(tmp_path / "another's")
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "another's").read_text() == "kept"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_json_refuses_what_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"mse": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "metrics.json", {"mse": 0.1, "floor_mse": None})
    assert (tmp_path / "metrics.json").read_text() == '{\n  "mse": 0.1,\n  "floor_mse": null\n}\n'


def is_alive(pid):
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # init may not wait for it
    return False


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_is_for(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["quadrature", name, "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert ended.value.code == 0
    assert f"\n{COMMANDS[name].capitalize()[:1]}{COMMANDS[name][1:]}.\n" in capsys.readouterr().out


@pytest.mark.parametrize("late", [False, True], ids=["at work", "before its first line"])
@pytest.mark.parametrize("by_dvc", [True, False])
def test_a_stage_ends_with_the_dvc_that_started_it_and_other_commands_go_on(tmp_path, by_dvc, late):
    assert_ends_with_its_parent(tmp_path, {"DVC_ROOT": "/"} if by_dvc else {}, late)


def test_a_process_of_several_ends_with_the_launcher_that_started_it(tmp_path):
    assert_ends_with_its_parent(tmp_path, {"TORCHELASTIC_RUN_ID": "7", "RANK": "1", "WORLD_SIZE": "2"}, late=False)


def assert_ends_with_its_parent(tmp_path, variables, late):
    """Kills a command's parent; asserts that the command ends if, and only if, it has variables."""
    body = f"Path({str(tmp_path / 'begun')!r}).touch(); time.sleep(60)"
    begin = f'echo $$ > {tmp_path}/pid; {"sleep 1;" if late else ""} exec {sys.executable} -c "$PROGRAM"'
    starter = "import subprocess, sys; subprocess.run(['sh', '-c', sys.argv[1]])"
    env = {**os.environ, "PROGRAM": PROGRAM.format(body=body), **variables}
    parent = subprocess.Popen(
        [sys.executable, "-c", starter, begin], env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    assert late or wait_until((tmp_path / "begun").exists)
    pid = int((tmp_path / "pid").read_text())
    time.sleep(0.0 if late else 1.5 * (lifecycle._PARENT_SECONDS + lifecycle._GRACE_SECONDS))
    assert is_alive(pid)  # with its parent
    parent.kill()
    if variables:
        assert wait_until(lambda: not is_alive(pid))
        assert parent.stderr.read() == "interrupted by SIGTERM; nothing half-written was left\n"
    else:
        assert wait_until((tmp_path / "begun").exists)
        time.sleep(1.5 * (lifecycle._PARENT_SECONDS + lifecycle._GRACE_SECONDS))
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)
    parent.wait()
    parent.stderr.close()
