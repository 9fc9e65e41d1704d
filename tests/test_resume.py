"""The train stage, interrupted or killed, goes on to the bytes that it would have had: one process and several."""

import hashlib
import os
import signal
import subprocess

import pytest

from tests.test_train import OUTPUTS


@pytest.fixture
def generated(checkout):
    checkout.set(**{"train.gradient_shards": 2, "train.epochs": 30})
    checkout.stage("generate")
    return checkout


def outputs(checkout):
    """Returns the digests of what the stage wrote, and removes it."""
    digests = {name: hashlib.sha256((checkout.path / name).read_bytes()).hexdigest() for name in OUTPUTS}
    for name in OUTPUTS:
        (checkout.path / name).unlink()
    return digests


def start(checkout, *command):
    return subprocess.Popen(
        command, cwd=checkout.path, env=checkout.env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


STAGE = ("python", "-m", "stages.train", "--save-every", "0")


def states(checkout):
    folder = checkout.path.with_name(f"{checkout.path.name}.state")
    return sorted(path.name for path in folder.rglob("step-*"))


@pytest.mark.slow
def test_a_stage_that_a_signal_stopped_or_killed_goes_on_to_the_same_bytes(generated):
    generated.stage("train")
    expected = outputs(generated)
    assert states(generated) == []

    for number, code in ((signal.SIGTERM, 75), (signal.SIGINT, 75), (signal.SIGKILL, -9)):
        process = start(generated, *STAGE)
        next(line for line in process.stderr if line.startswith("epoch 3 "))
        process.send_signal(number)
        _, log = process.communicate(timeout=30)
        assert process.returncode == code
        assert not (generated.path / OUTPUTS[0]).exists()
        assert len(states(generated)) == 2
        if code == 75:
            assert log.splitlines()[-1].startswith(f"interrupted by {number.name}; the next run goes on after step ")
        result = generated.stage("train")
        assert "going on after step " in result.stderr
        assert outputs(generated) == expected
        assert states(generated) == []


@pytest.mark.slow
def test_dvc_takes_an_interrupted_training_up_again(generated):
    generated.stage("train")
    expected = outputs(generated)
    process = start(generated, "dvc", "repro", "train")
    next(line for line in process.stderr if line.startswith("epoch 3 "))
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    process.communicate(timeout=30)
    assert process.returncode != 0
    result = generated.run("dvc", "repro", "train")
    assert "going on after step " in result.stdout + result.stderr
    assert outputs(generated) == expected


@pytest.mark.slow
def test_other_parameters_do_not_go_on_from_it_but_other_threads_and_processes_do(generated):
    process = start(generated, *STAGE)
    next(line for line in process.stderr if line.startswith("epoch 3 "))
    process.kill()
    process.communicate()
    generated.set(**{"train.learning_rate": 0.011})
    assert "going on" not in generated.stage("train").stderr
    generated.set(**{"train.learning_rate": 0.02, "train.threads": 2, "train.processes": 2})
    assert "going on after step " in generated.stage("train").stderr


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["one process", "all, as Ctrl-C does", "the one that started them"])
def test_a_signal_to_a_training_of_several_processes_ends_it_with_75_and_it_goes_on(generated, whom):
    generated.stage("train")
    expected = outputs(generated)
    generated.set(**{"train.processes": 2})
    process = start(generated, *STAGE)
    next(line for line in process.stderr if line.startswith("epoch 3 "))
    if whom == "one process":
        workers = subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "stages.train"], text=True).split()
        os.kill(int(workers[1]), signal.SIGKILL)
    elif whom == "the one that started them":
        process.send_signal(signal.SIGTERM)
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 75, log
    assert "the next run goes on after step" in log
    assert "nothing unfinished was kept" not in log
    assert "Traceback" not in log
    assert "Warning" not in log
    assert "going on after step " in generated.stage("train").stderr
    assert outputs(generated) == expected


@pytest.mark.slow
def test_torchrun_restarts_a_killed_process_and_training_goes_on_to_the_same_bytes(generated):
    generated.stage("train")
    expected = outputs(generated)
    process = start(
        generated, "torchrun", "--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m", *STAGE[2:]
    )  # fmt: skip
    try:
        next(line for line in process.stderr if line.startswith("epoch 3 "))
        workers = subprocess.check_output(["pgrep", "-P", str(process.pid), "-f", "stages.train"], text=True).split()
        assert len(workers) == 2
        os.kill(int(workers[1]), signal.SIGKILL)
        _, log = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, log
    assert log.count("going on after step ") == 1
    assert outputs(generated) == expected
