"""The train stage, interrupted or killed, resumes and ends in the same bytes, with one process and with several."""

import os
import re
import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

from tests.checkout import Checkout
from tests.forks import after_step, interrupt, run_stage
from tests.processes import rest_of
from tests.training.test_train import OUTPUTS, take_digests, train_together


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A checkout with drawn windows, and the digests of an undisturbed training's outputs."""
    checkout = Checkout.make(tmp_path_factory.mktemp("undisturbed") / "checkout")
    checkout.set(**{"train.gradient_shards": 2, "train.epochs": 40})
    for stage in ("generate", "targets", "train"):
        checkout.stage(stage)
    expected = take_digests(checkout)
    assert states(checkout) == []
    return checkout, expected


@pytest.fixture
def generated(undisturbed, tmp_path):
    """A copy of that checkout for a training."""
    return undisturbed[0].copy(tmp_path / "checkout")


@pytest.fixture
def expected(undisturbed):
    return undisturbed[1]


@pytest.fixture
def short(generated):
    """A checkout for a shorter training, which is interrupted once, and the digests of its outputs."""
    generated.set(**{"train.epochs": 12})
    generated.stage("train")
    return generated, take_digests(generated)


def start(checkout, *command):
    return subprocess.Popen(
        command, cwd=checkout.path, env=checkout.env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


STAGE = ("python", "-m", "stages.train", "--save-every", "0")


def workers(process):
    """Returns the ids of the two processes that a process has started to train together."""
    found = subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "stages.train"], text=True).split()
    assert len(found) == 2
    return [int(pid) for pid in found]


def until_epoch(process, epoch):
    """Reads a log until an epoch at or after the given one is done; returns whether the training was resumed."""
    log = []
    for line in process.stderr:
        log.append(line)
        if (done := re.match(r"epoch (\d+) ", line)) and int(done[1]) >= epoch:
            return any(line.startswith("resuming after step ") for line in log)
    raise AssertionError("".join(log))


def states(checkout):
    folder = checkout.path.with_name(f"{checkout.path.name}.state")
    return sorted(path.name for path in folder.rglob("step-*"))


def has_ended(process, seconds=60.0):
    """Waits for a process that is not ours to wait for; init may leave it a zombie."""
    end = time.monotonic() + seconds
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
    return True


@pytest.mark.slow
def test_a_stage_that_signals_stopped_and_killed_goes_on_each_time_to_the_same_bytes(generated, expected):
    """In new processes: the state's name depends on the imported code, so a fork of the tests would not find it."""
    generated.set(**{"train.threads": 2})
    lost = "a process that shares the work has ended (SIGKILL); is memory short? Run again"
    for number, is_helper, code, told in (
        (signal.SIGTERM, False, 75, "interrupted by SIGTERM"),
        (signal.SIGKILL, False, -9, None),
        (signal.SIGKILL, True, 75, lost),
    ):
        process = start(generated, *STAGE)
        went_on = until_epoch(process, 3)
        (helper,) = psutil.Process(process.pid).children()
        (helper if is_helper else process).send_signal(number)
        _, log = rest_of(process)
        assert process.returncode == code
        assert went_on == (number != signal.SIGTERM)
        assert not (generated.path / OUTPUTS[0]).exists()
        # A kill may come after a third state was written and before the first of them was deleted.
        assert len(states(generated)) in ((2,) if code == 75 else (2, 3))
        if told is not None:
            assert log.splitlines()[-1].startswith(f"{told}; the next run resumes after step ")
        assert has_ended(helper)
    assert "resuming after step " in generated.run(*STAGE[:3]).stderr
    assert take_digests(generated) == expected
    assert states(generated) == []


@pytest.mark.slow
def test_dvc_takes_an_interrupted_training_up_again(short):
    generated, expected = short
    process = start(generated, "dvc", "repro", "train")
    assert not until_epoch(process, 3)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    rest_of(process)
    assert process.returncode != 0
    result = generated.run("dvc", "repro", "train")
    assert "resuming after step " in result.stdout + result.stderr
    assert take_digests(generated) == expected


@pytest.mark.slow
def test_other_parameters_do_not_go_on_from_it_but_other_threads_and_processes_do(generated):
    assert run_stage(generated, "train", torment=after_step(50, interrupt)).returncode == 75
    generated.set(**{"train.learning_rate": 0.011})
    assert "resuming after step" not in generated.stage("train").stderr
    generated.set(**{"train.learning_rate": 0.03, "train.threads": 2, "train.processes": 2})
    _, (log, _) = train_together(generated, 2)
    assert "resuming after step 50 " in log


@pytest.mark.slow
@pytest.mark.parametrize(
    "whom",
    [
        "all, as Ctrl-C does",
        pytest.param("one process", marks=pytest.mark.nightly),
        pytest.param("the one that started them", marks=pytest.mark.nightly),
        pytest.param("the one that started them, as a terminal that closes", marks=pytest.mark.nightly),
        pytest.param("the one that started them, by SIGKILL", marks=pytest.mark.nightly),
    ],
)
def test_a_signal_to_a_training_of_several_processes_ends_it_with_75_and_it_goes_on(generated, expected, whom):
    generated.set(**{"train.processes": 2})
    process = start(generated, *STAGE)
    until_epoch(process, 3)
    match whom:
        case "all, as Ctrl-C does":
            os.killpg(process.pid, signal.SIGINT)
        case "one process":
            os.kill(workers(process)[1], signal.SIGKILL)
        case "the one that started them":
            process.send_signal(signal.SIGTERM)
        case "the one that started them, as a terminal that closes":
            process.send_signal(signal.SIGHUP)
        case "the one that started them, by SIGKILL":
            process.kill()
    _, log = rest_of(process)  # to the end of its processes, which write to the same pipe
    assert process.returncode == (-signal.SIGKILL if whom.endswith("SIGKILL") else 75), log
    assert "the next run resumes after step" in log
    assert "no state was saved" not in log
    assert "Traceback" not in log
    assert "Warning" not in log
    generated.set(**{"train.processes": 1})
    assert "resuming after step " in generated.run(*STAGE[:3]).stderr
    assert take_digests(generated) == expected


@pytest.mark.slow
def test_torchrun_restarts_a_killed_process_and_training_goes_on_to_the_same_bytes(short):
    generated, expected = short
    process = start(
        generated, "torchrun", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m", *STAGE[2:]
    )  # fmt: skip
    try:
        assert not until_epoch(process, 3)
        os.kill(workers(process)[1], signal.SIGKILL)
        _, log = rest_of(process)
    finally:
        process.kill()
    assert process.returncode == 0, log
    assert log.count("resuming after step ") == 1
    assert take_digests(generated) == expected
