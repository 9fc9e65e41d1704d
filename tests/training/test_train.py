"""The train stage: what it is asked beside the parameters that make its result alters nothing that it writes."""

import hashlib
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from quadrature.storage.windows import WINDOW_COLUMNS, Split, shard_path, writing
from tests.checkout import Checkout
from tests.processes import SECONDS, rest_of

OUTPUTS = ("data/snapshots.parquet", "models/model.safetensors", "metrics/train.json", "metrics/history.csv")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A checkout whose windows are drawn, to be copied."""
    checkout = Checkout.make(tmp_path_factory.mktemp("drawn") / "checkout")
    checkout.set(**{"train.gradient_shards": 4})
    checkout.stage("generate")
    checkout.stage("targets")
    return checkout


@pytest.fixture
def generated(drawn, tmp_path):
    """A checkout of the test's own whose windows are drawn."""
    return drawn.copy(tmp_path / "checkout")


@pytest.fixture(params=[1, 2], ids=["written out", "autograd"])
def each_gradient(generated, request):
    """Has a network of one layer trained, whose gradient is written out, or of two, which leave it to autograd."""
    generated.set(**{"model.num_layers": request.param})
    return generated


def take_digests(checkout):
    """Returns the digests of what the stage wrote, and removes it."""
    digests = {name: hashlib.sha256((checkout.path / name).read_bytes()).hexdigest() for name in OUTPUTS}
    for name in OUTPUTS:
        (checkout.path / name).unlink()
    return digests


def train(checkout, *options):
    result = checkout.stage("train", *options)
    return take_digests(checkout), result.stderr


def places(processes):
    """Returns the variables that tell each of so many processes where the others are, as a cluster's launcher does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**common, "RANK": str(rank)} for rank in range(processes)]


def train_together(checkout, processes, *options):
    """Trains in so many processes that are told where the others are; returns the digests and what each logged."""
    with ThreadPoolExecutor(processes) as starters:
        started = [starters.submit(checkout.stage, "train", *options, **place) for place in places(processes)]
        logs = [each.result().stderr for each in started]
    return take_digests(checkout), logs


@pytest.mark.slow
def test_in_memory_or_streamed_by_one_thread_or_several_the_bytes_are_the_same(each_gradient):
    """2,000 windows of 120 bytes make four shards: --memory 0 holds none of them."""
    expected, _ = train(each_gradient)
    assert train(each_gradient, "--memory", "0")[0] == expected
    for threads in (2, 4):
        each_gradient.set(**{"train.threads": threads})
        digests, log = train(each_gradient)
        assert digests == expected
        assert f"threads {threads}," in log
    each_gradient.set(**{"train.gradient_shards": 2})
    assert train(each_gradient)[0] != expected


@pytest.mark.slow
def test_one_process_two_and_four_write_the_same_bytes(each_gradient):
    """In memory and streamed; each process is told where the others are."""
    expected, _ = train(each_gradient)
    for processes, options in ((2, ["--memory", "0"]), (4, [])):
        digests, (log, *others) = train_together(each_gradient, processes, *options)
        assert digests == expected
        assert log.count("steps in") == 1
        assert f"processes {processes}, threads 1," in log
        assert others == [""] * (processes - 1)


def torchrun(checkout, processes, *options):
    command = ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "stages.train", *options]
    result = checkout.run(*command)
    return take_digests(checkout), result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "options"), [(2, ["--memory", "0"]), pytest.param(4, [], marks=pytest.mark.nightly)]
)
def test_so_do_those_that_torchrun_starts(generated, processes, options):
    expected, _ = train(generated)
    digests, log = torchrun(generated, processes, *options)
    assert digests == expected
    assert log.count("steps in") == 1
    assert f"processes {processes}, threads 1," in log


@pytest.mark.slow
def test_so_do_those_that_the_stage_starts_as_params_yaml_asks(generated):
    expected, _ = train(generated)
    generated.set(**{"train.processes": 2})
    digests, log = train(generated)
    assert digests == expected
    assert log.count("steps in") == 1
    assert "processes 2," in log


@pytest.mark.slow
def test_processes_that_cannot_share_evenly_are_refused(generated):
    result = generated.stage("train", check=False, RANK="0", WORLD_SIZE="3")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "train.gradient_shards in params.yaml is 4, which 3 processes cannot share evenly; make it a multiple of 3"
    ]


@pytest.mark.slow
def test_processes_that_are_not_told_where_the_others_are_are_refused(generated):
    result = generated.stage("train", check=False, RANK="0", WORLD_SIZE="2")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "MASTER_ADDR expected" in line
    assert line.endswith("; start with torchrun, which sets all")


@pytest.mark.slow
def test_a_process_that_hangs_is_told_of_within_the_patience(generated):
    """Two processes by hand, as a cluster's launcher starts them; one is stopped in the midst of training."""
    generated.set(**{"train.epochs": 2000})
    processes = [
        subprocess.Popen(
            ["python", "-m", "stages.train", "--patience", "5"],
            cwd=generated.path, env={**generated.env, **place}, stderr=subprocess.PIPE, text=True,
        )
        for place in places(2)
    ]  # fmt: skip
    try:
        next(line for line in processes[0].stderr if line.startswith("epoch 2 "))
        processes[1].send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        assert processes[0].wait(SECONDS) == 75
        assert time.monotonic() - stopped < 60
        assert "rank 0 lost another, or waited 5 seconds for it" in processes[0].stderr.read().splitlines()[-1]
        assert not (generated.path / "models/model.safetensors").exists()
    finally:
        for process in processes:
            process.kill()
            rest_of(process)


@pytest.mark.slow
def test_windows_may_lie_elsewhere(generated, tmp_path):
    (generated.path / "data/windows").rename(tmp_path / "elsewhere")
    train(generated, "--windows", str(tmp_path / "elsewhere"))


@pytest.mark.slow
def test_windows_of_ones_own_without_in_phase_train_the_quadrature_component_alone(generated):
    """Refused in a line for the analytic signal; the targets, which the windows' make, lack the column as well."""
    generated.set(**{"targets.kind": "clean"})
    for split in ("train", "validation"):
        leave_out_in_phase(generated.path / "data/windows" / split)
    generated.stage("targets")
    refused = generated.stage("train", check=False)
    assert refused.returncode == 65
    assert refused.stderr.splitlines()[-1] == (
        "data/targets/train has no column in_phase, the target of model.output analytic; "
        "set model.output in params.yaml to quadrature, or write the column"
    )
    generated.set(**{"model.output": "quadrature"})
    train(generated)


def leave_out_in_phase(folder):
    """Writes a split again as windows of one's own may be, with the columns that it needs."""
    split = Split(folder)
    assert split.columns == (*WINDOW_COLUMNS, "in_phase")
    shards = [split.read(shard, WINDOW_COLUMNS) for shard in range(len(split.sizes))]
    for shard, columns in enumerate(shards):
        with writing(shard_path(folder, shard), shard, len(shards)) as file:
            file.write(columns)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--memory", "much"], "argument --memory: much is not a whole number from 0 to 1,000,000,000"),
        (["--patience", "inf"], "argument --patience: inf is not a number of seconds from 0 to 1,000,000"),
        (["--patience=-1"], "argument --patience: -1 is not a number of seconds from 0 to 1,000,000"),
        (["--save-every", "nan"], "argument --save-every: nan is not a number of seconds from 0 to 1,000,000"),
        (["--windows", "ftp://host/windows"], "ftp://host/windows is not a path or a known URL"),
    ],
)
def test_options_that_make_no_sense_are_refused(drawn, options, line):
    result = drawn.stage("train", *options, check=False)
    assert result.returncode == 2
    assert line in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
