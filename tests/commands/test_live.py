"""`python -m quadrature live` answers each sample before the next one comes, as `predict --hop 1 --at end` does."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from quadrature.network.model import QuadratureNetwork, initialize, predict
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams
from quadrature.network.ranges import measure
from quadrature.prediction.live import follow
from tests.checkout import PROJECT
from tests.prediction.running import LENGTH, PARAMS, read, run
from tests.processes import SECONDS, rest_of

COLUMNS = ["in_phase", "quadrature", "amplitude", "phase", "frequency"]


def make_model(folder, **changes):
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS | changes), LENGTH)
    initialize(network, 0)
    save_model(network, folder / "model.safetensors")
    return network.eval()


def start(folder, *options):
    command = [sys.executable, "-m", "quadrature", "live", "--model", folder / "model.safetensors", *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=PROJECT, text=True, errors="surrogateescape", bufsize=1, **pipes)


def answers(folder, lines, *options):
    """Returns the rows of the output, as dictionaries, and the exit code and the last line of the log."""
    text = "\n".join(lines) + "\n"
    output, log = (process := start(folder, *options)).communicate(text)
    return list(csv.DictReader(output.splitlines())), process.returncode, (log.splitlines() or [""])[-1]


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"output": "quadrature"}, {"head": "every"}])
def test_each_sample_is_answered_before_the_next_one_is_sent(tmp_path, changes):
    make_model(tmp_path, **changes)
    with start(tmp_path, "--rate", "100") as process:
        assert process.stdout.readline() == ",".join([*COLUMNS, "frequency_hz"]) + "\n"
        for number in range(LENGTH + 3):
            process.stdin.write(f"{np.sin(0.3 * number)}\n")
            fields = process.stdout.readline().rstrip("\n").split(",")
            has_estimate = "head" in changes or number >= LENGTH - 1
            assert len(fields) == 6
            assert (fields[0] != "") == has_estimate
        process.stdin.close()
        assert process.wait(SECONDS) == 0
        assert float(fields[5]) == pytest.approx(float(fields[4]) * 100.0 / (2.0 * np.pi), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["analytic", "quadrature"])
def test_the_answers_are_those_at_the_end_of_each_window(tmp_path, output):
    make_model(tmp_path, output=output)
    signal = np.random.default_rng(0).standard_normal(40).astype(np.float32)
    rows, code, _ = answers(tmp_path, [repr(float(sample)) for sample in signal])
    assert code == 0
    pq.write_table(pa.table({"input": signal}), tmp_path / "signal.parquet")
    paths = [tmp_path / name for name in ("model.safetensors", "signal.parquet", "estimates.parquet")]
    run(*paths, "--hop", 1, "--at", "end")
    expected = read(paths[2])
    for name in ("in_phase", "quadrature", "amplitude", "phase"):
        found = [float(row[name] or "nan") for row in rows]
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-6)
    turn = np.diff([float(row["phase"]) for row in rows[LENGTH - 1 :]])
    advance = [float(row["frequency"]) for row in rows[LENGTH:]]
    np.testing.assert_allclose(np.exp(1j * np.array(advance)), np.exp(1j * turn), atol=1e-5)


@pytest.mark.parametrize("head", ["last", "every"])
def test_a_missing_sample_leaves_gaps_and_then_the_estimates_go_on(tmp_path, head):
    network = make_model(tmp_path, head=head)
    signal = np.random.default_rng(1).standard_normal(3 * LENGTH).tolist()
    signal[LENGTH + 2] = float("nan")
    live = follow(network)
    found = [live.update(sample) for sample in signal]
    waits = LENGTH if head == "last" else 1  # a state of zeros answers at once, and begins again after the gap
    known = [number for number, each in enumerate(found) if each is not None]
    after = LENGTH + 2 + waits
    assert known == [*range(waits - 1, LENGTH + 2), *range(after, 3 * LENGTH)]
    fresh = follow(network)
    again = [fresh.update(sample) for sample in signal[LENGTH + 3 :]]
    assert again[-1] == found[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "last"),
    [
        (["0.1", "abc"], "standard input, line 2 is 'abc', not a number"),
        (["1_0"], "standard input, line 1 is '1_0', not a number"),
        (["1e39"], "standard input, line 1 is 1e39, beyond float32's 3.4e+38; scale the signal"),
        (["0.1", "", "inf"], "standard input, line 3 is inf, beyond float32's 3.4e+38; scale the signal"),
        (["0." + "1" * 200], "standard input, line 1 is longer than 100 characters; write one number"),
        (["1", "-nan", "+NaN", "\udcff"], "standard input, line 4 is '\ufffd', not a number"),
    ],
)
def test_a_line_that_is_no_sample_ends_it_with_its_number(tmp_path, lines, last):
    make_model(tmp_path)
    rows, code, log = answers(tmp_path, lines)
    assert (code, log) == (65, last)
    assert len(rows) == len(lines) - 1


@pytest.mark.slow
def test_a_pause_of_a_pipe_that_does_not_wait_is_not_its_end(tmp_path):
    make_model(tmp_path)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)  # a program that shares the pipe may do so
    command = [sys.executable, "-m", "quadrature", "live", "--model", tmp_path / "model.safetensors"]
    with subprocess.Popen(command, cwd=PROJECT, stdin=reader, stdout=subprocess.PIPE, text=True) as process:
        os.close(reader)
        lines = [process.stdout.readline()]
        for part in ("0.5\n0.", "25\n"):
            os.write(writer, part.encode())
            lines.append(process.stdout.readline())
        os.close(writer)
        assert rest_of(process)[0] == ""
        assert process.returncode == 0
    assert lines == [",".join(COLUMNS) + "\n", ",,,,\n", ",,,,\n"]


@pytest.mark.slow
def test_a_failing_input_is_told_as_such(tmp_path):
    make_model(tmp_path)
    command = [sys.executable, "-m", "quadrature", "live", "--model", tmp_path / "model.safetensors"]
    with Path("/proc/self/mem").open("rb") as unreadable:  # nothing is at its begin
        ended = subprocess.run(
            command, cwd=PROJECT, stdin=unreadable, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    assert (ended.returncode, ended.stderr.partition(";")[0]) == (74, "standard input: Input/output error")


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it(tmp_path):
    make_model(tmp_path)
    command = f"yes 0.1 | {sys.executable} -m quadrature live --model {tmp_path}/model.safetensors | head -n 3"
    command += '; echo "${PIPESTATUS[1]}"'
    done = subprocess.run(
        ["bash", "-c", command], cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    *lines, code = done.stdout.splitlines()
    assert (len(lines), code, done.stderr) == (3, "141", "")


@pytest.mark.slow
def test_a_signal_unlike_those_in_training_is_told_once_while_it_goes_on(tmp_path):
    network = make_model(tmp_path)
    windows = np.random.default_rng(0).standard_normal((1000, LENGTH)).astype(np.float32)
    network.ranges = measure(windows, predict(network, windows, 1000))
    save_model(network, tmp_path / "model.safetensors")
    for offset, warnings in ((0.0, 0), (5.0, 1)):
        process = start(tmp_path)
        lines = [repr(float(sample)) for sample in windows.ravel()[:450] + np.float32(offset)]
        output, log = process.communicate("\n".join(lines) + "\n")
        assert len(output.splitlines()) == 451
        assert log.count("the signal is unlike that in training") == len(log.splitlines()) == warnings


@pytest.mark.slow
def test_an_estimate_that_is_not_finite_ends_it_with_its_line(tmp_path):
    """A state that grows from sample to sample."""
    network = make_model(tmp_path, cell="rnn", nonlinearity="relu", head="every")
    with torch.no_grad():
        network.recurrent.weight_hh_l0.copy_(3.0 * torch.eye(PARAMS["hidden_size"]))
        network.recurrent.weight_ih_l0.fill_(1.0)
    save_model(network, tmp_path / "model.safetensors")
    rows, code, log = answers(tmp_path, ["0.5"] * 200)
    assert code == 65
    assert log.startswith(f"standard input, line {len(rows) + 1}: the estimate is not finite")
    assert 10 < len(rows) < 199
