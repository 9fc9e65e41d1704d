"""The command in its own process: pipes, exit, memory, and the commands of docs/predict.md."""

import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from quadrature.storage.windows import read_windows
from tests.checkout import PROJECT
from tests.prediction.running import HEADER, LENGTH, ROW, fixed, numbered, read, run, start, text
from tests.processes import rest_of
from tests.promises.test_readme import commands

pytestmark = pytest.mark.slow


def test_the_process_ends_with_one_line_and_the_exit_code(model, tmp_path):
    with start(model, tmp_path / "in.csv", tmp_path / "out.csv") as process:
        assert (rest_of(process)[1], process.returncode) == (f"{tmp_path}/in.csv is missing\n", 65)
    assert not list(tmp_path.iterdir())


def shell(script, tmp_path, **variables):
    """Runs a shell line in which `predict` is the command. Returns exit code, standard output and standard error."""
    for name in ("TMPDIR", "files"):
        (tmp_path / name).mkdir(exist_ok=True)
    words = [sys.executable, "-m", "quadrature", "predict", "--device", "cpu", "--threads", "1"]
    line = f'set -o pipefail; predict() {{ {shlex.join(words)} "$@"; }}; {script}'
    env = {**os.environ, "TMPDIR": str(tmp_path / "TMPDIR"), **{name: str(path) for name, path in variables.items()}}
    result = subprocess.run(["bash", "-c", line], cwd=PROJECT, env=env, capture_output=True, check=False)
    assert not list((tmp_path / "TMPDIR").iterdir())
    return result.returncode, result.stdout, result.stderr.decode()


def test_pipes_carry_what_files_do(model, windows, tmp_path):
    pq.write_table(pa.table({"input": fixed(windows)}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.csv")
    script = 'cat "$D/in.parquet" | predict --model "$M" --input - --output - | cat'
    code, found, errors = shell(script, tmp_path, D=tmp_path, M=model)
    assert (code, errors) == (0, "")
    assert found == (tmp_path / "out.parquet").read_bytes()
    script = (
        'predict --model "$M" --input "$D/in.parquet" --output - --format csv | cut -d, -f1-10 '
        '| predict --model "$M" --input - --output -'
    )
    code, found, errors = shell(script, tmp_path, D=tmp_path, M=model)
    assert (code, errors) == (0, "")
    assert found == (tmp_path / "out.csv").read_bytes()


def test_a_refusal_sends_nothing_down_the_pipe(model, tmp_path):
    lines = [HEADER, *[ROW] * 20_000, ROW[:-3] + "nan"]
    script = 'cat "$D/in.csv" | predict --model "$M" --input - --output -'
    text(*lines)(tmp_path / "in.csv")
    code, found, errors = shell(script, tmp_path, D=tmp_path, M=model)
    message = "standard input, row 20001: input_9 is nan; leave the row out, or put a finite number there\n"
    assert (code, found, errors) == (65, b"", message)


@pytest.mark.parametrize("stream", ["input", "output"])
def test_a_standard_stream_that_is_closed_is_told_in_one_line(model, windows, tmp_path, stream):
    pq.write_table(pa.table({"input": fixed(windows)}), tmp_path / "in.parquet")
    files = {"input": '- --output "$D/out.parquet" <&-', "output": '"$D/in.parquet" --output - >&-'}[stream]
    code, found, errors = shell(f'predict --model "$M" --input {files}', tmp_path, D=tmp_path, M=model)
    assert (code, found, errors) == (74, b"", f"standard {stream}: Bad file descriptor\n")
    assert not (tmp_path / "out.parquet").exists()


def test_a_shells_tab_is_a_delimiter(model, tmp_path):
    text(HEADER.replace(",", "\t"), ROW.replace(",", "\t"))(tmp_path / "in.csv")
    script = 'predict --model "$M" --input "$D/in.csv" --output "$D/out.csv" --delimiter'
    for tab in ("$'\\t'", "'\\t'", "tab"):
        assert shell(f"{script} {tab}", tmp_path, D=tmp_path, M=model) == (0, b"", "")
        (tmp_path / "out.csv").unlink()
    assert shell(f"{script}=$'\\t'", tmp_path, D=tmp_path, M=model) == (0, b"", "")


def test_a_reader_that_leaves_ends_the_command_without_a_word(model, tmp_path):
    text(HEADER, *[ROW] * 20_000)(tmp_path / "in.csv")
    script = 'predict --model "$M" --input "$D/in.csv" --output - | head --lines 2'
    code, found, errors = shell(script, tmp_path, D=tmp_path, M=model)
    assert (code, errors) == (128 + signal.SIGPIPE, "")
    assert found.count(b"\n") == 2


@pytest.mark.parametrize("output", ["out.parquet", "-"])
def test_an_interrupted_command_leaves_nothing(model, tmp_path, output):
    windows = np.zeros((2**21, LENGTH), np.float32)
    pq.write_table(pa.table({"input": fixed(windows)}), tmp_path / "in.parquet")
    (tmp_path / "TMPDIR").mkdir()
    target = tmp_path / output if output != "-" else output
    env = {**os.environ, "TMPDIR": str(tmp_path / "TMPDIR")}
    half_written = ".out.parquet.tmp" if output != "-" else "TMPDIR/*/.output.tmp"
    with start(model, tmp_path / "in.parquet", target, stdout=subprocess.PIPE, env=env) as process:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.glob(half_written)):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        found, errors = rest_of(process)
    assert process.returncode == 75
    assert errors == "interrupted by SIGTERM; nothing half-written was left\n"
    assert found == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["TMPDIR", "in.parquet"]
    assert not list((tmp_path / "TMPDIR").iterdir())


def test_importing_the_command_needs_torch_but_no_pandas_matplotlib_or_dvc():
    program = (
        "import sys, quadrature.commands.predict; "
        "print(*sorted({'pandas', 'matplotlib', 'dvc', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "\n"


def peak_memory(model, source, output, *options):
    """Returns the command's peak resident memory in MB, from /proc/self/status."""
    program = (
        "import os, runpy, sys\n"
        "os._exit = sys.exit\n"
        "sys.argv[0] = 'quadrature'\n"
        "try: runpy.run_module('quadrature', run_name='__main__')\n"
        "finally: print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = ["--model", model, "--input", source, "--output", output, "--device", "cpu", "--threads", 1, *options]
    result = subprocess.run(
        [sys.executable, "-c", program, "predict", *map(str, command)],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(result.stdout.split()[1]) / 1e3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("suffix", "hop"),
    [
        ("parquet", None),
        ("csv", 5),
        *(pytest.param(*case, marks=pytest.mark.nightly) for case in (("csv", None), ("csv.gz", 5))),
    ],
)
def test_memory_does_not_grow_with_the_file(model, tmp_path, suffix, hop):
    """Sixteen times the rows take at most 5 % and 96 MB more, because with few rows not all slabs in flight are full.

    2^20 windows, or 2^22 samples, with their windows and estimates would take hundreds of MB. The peak for a single
    window is torch's own memory, some 300 MB, or twice that if torch is built for GPUs.
    """
    peaks = []
    for count in (1, 2**16, 2**20) if hop is None else (LENGTH, 2**18, 2**22):
        shape = (count, LENGTH) if hop is None else (count, 1)
        samples = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        columns = numbered("input", samples) if hop is None else {"input": samples[:, 0]}
        path = tmp_path / f"in.{suffix}"
        if suffix == "parquet":
            pq.write_table(pa.table(columns), path)
        else:
            with pa.output_stream(path) as stream:  # packed, if its name says so
                pa.csv.write_csv(pa.table(columns), stream)
        options = () if hop is None else ("--hop", hop)
        peaks.append(peak_memory(model, path, tmp_path / f"out.{suffix}", *options))
    single, few, many = peaks
    assert many < 1.05 * few + 96, peaks
    assert many < single + 370, peaks


@pytest.mark.nightly
def test_the_pages_commands_run_one_after_another(again):
    checkout = again
    (checkout.path / ".venv").symlink_to(sys.prefix)
    script = commands("docs/predict.md")
    assert len(script) >= 5
    checkout.run("bash", "-euo", "pipefail", "-c", "\n".join(script))
    found = read_windows(checkout.path / "data/predictions.parquet", ["prediction"])["prediction"]
    assert np.array_equal(read(checkout.path / "estimates.parquet")["prediction"], found)
