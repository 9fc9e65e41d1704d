"""The train stage: what it is asked beside the parameters that make its result alters nothing that it writes."""

import hashlib
import signal
import socket
import subprocess
import time

import pytest

OUTPUTS = ("data/snapshots.parquet", "models/model.safetensors", "metrics/train.json", "metrics/history.csv")


@pytest.fixture(params=[1, 2], ids=["written out", "autograd"])
def generated(checkout, request):
    """Windows for a network of one layer, whose gradient is written out, or of two, which leave it to autograd."""
    checkout.set(**{"train.gradient_shards": 4, "model.num_layers": request.param})
    checkout.stage("generate")
    return checkout


def train(checkout, *options):
    result = checkout.run("python", "-m", "stages.train", *options)
    digests = {name: hashlib.sha256((checkout.path / name).read_bytes()).hexdigest() for name in OUTPUTS}
    for name in OUTPUTS:
        (checkout.path / name).unlink()
    return digests, result.stderr


@pytest.mark.slow
def test_in_memory_or_streamed_by_one_thread_or_several_the_bytes_are_the_same(generated):
    """2,000 windows of 80 bytes make four shards: --memory 0 holds none of them."""
    expected, _ = train(generated)
    assert train(generated, "--memory", "0")[0] == expected
    for threads in (2, 4):
        generated.set(**{"train.threads": threads})
        digests, log = train(generated)
        assert digests == expected
        assert f"threads {threads}," in log
    generated.set(**{"train.gradient_shards": 2})
    assert train(generated)[0] != expected


def torchrun(checkout, processes, *options):
    command = ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "stages.train", *options]
    result = checkout.run(*command)
    digests = {name: hashlib.sha256((checkout.path / name).read_bytes()).hexdigest() for name in OUTPUTS}
    for name in OUTPUTS:
        (checkout.path / name).unlink()
    return digests, result.stderr


@pytest.mark.slow
def test_one_process_two_and_four_write_the_same_bytes(generated):
    """In memory and streamed; started by torchrun, and by the stage itself as params.yaml asks."""
    expected, _ = train(generated)
    for processes, options in ((2, ["--memory", "0"]), (4, [])):
        digests, log = torchrun(generated, processes, *options)
        assert digests == expected
        assert log.count("steps in") == 1
        assert f"processes {processes}, threads 1," in log
    generated.set(**{"train.processes": 2})
    digests, log = train(generated)
    assert digests == expected
    assert "processes 2," in log


def test_processes_that_cannot_share_evenly_are_refused(generated):
    result = generated.run("python", "-m", "stages.train", check=False, RANK="0", WORLD_SIZE="3")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "train.gradient_shards in params.yaml is 4, which 3 processes cannot share evenly; make it a multiple of 3"
    ]


def test_processes_that_are_not_told_where_the_others_are_are_refused(generated):
    result = generated.run("python", "-m", "stages.train", check=False, RANK="0", WORLD_SIZE="2")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "MASTER_ADDR expected" in line
    assert line.endswith("; start with torchrun, which sets all")


@pytest.mark.slow
def test_a_process_that_hangs_is_told_of_within_the_patience(generated):
    """Two processes by hand, as a cluster's launcher starts them; one is stopped in the midst of training."""
    generated.set(**{"train.epochs": 2000})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            ["python", "-m", "stages.train", "--patience", "5"],
            cwd=generated.path, env={**generated.env, **place, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        next(line for line in processes[0].stderr if line.startswith("epoch 2 "))
        processes[1].send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        assert processes[0].wait(timeout=60) == 75
        assert time.monotonic() - stopped < 30
        assert "rank 0 lost another, or waited 5 seconds for it" in processes[0].stderr.read().splitlines()[-1]
        assert not (generated.path / "models/model.safetensors").exists()
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_windows_may_lie_elsewhere(generated, tmp_path):
    (generated.path / "data/windows").rename(tmp_path / "elsewhere")
    train(generated, "--windows", str(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--memory", "much"], "argument --memory: much is no whole number of megabytes"),
        (["--patience", "inf"], "argument --patience: inf is no number of seconds from 0 to 1,000,000"),
        (["--patience=-1"], "argument --patience: -1 is no number of seconds from 0 to 1,000,000"),
        (["--save-every", "nan"], "argument --save-every: nan is no number of seconds from 0 to 1,000,000"),
        (["--windows", "ftp://host/windows"], "ftp://host/windows is no place known here"),
    ],
)
def test_options_that_make_no_sense_are_refused(checkout, options, line):
    result = checkout.run("python", "-m", "stages.train", *options, check=False)
    assert result.returncode == 2
    assert line in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
