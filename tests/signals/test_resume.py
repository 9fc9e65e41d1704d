"""`python -m stages.generate`, stopped: finished shards are kept, and the next run goes on after them."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from tests.signals.running import MANY, content, ended
from tests.storage.test_fingerprint import OTHER_SINES, key_and_sines


@pytest.fixture
def stop(start, tmp_path):
    """Starts the stage on many shards and ends it half-way by a signal; returns its exit code and its log."""

    def run(number):
        process = start("--threads", "2", changes=MANY)
        while len(list(tmp_path.glob("data/windows/.drawn-*/train/part-*.parquet"))) < 20:
            assert process.poll() is None
        process.send_signal(number)
        return ended(process)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_midst_ends_it_soon_with_75_and_keeps_what_is_finished(stop, tmp_path, number):
    code, log = stop(number)
    assert code == 75
    drawn, (folder,) = content(tmp_path / "data/windows"), (tmp_path / "data/windows").glob(".drawn-*")
    assert log.splitlines()[1:] == [
        f"shards finished and kept in {folder.relative_to(tmp_path)} for the next run: {len(drawn)}",
        f"interrupted by {number.name}; nothing half-written was left",
    ]
    assert all(name.startswith(".drawn-") and "/part-" in name for name in drawn)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_run_goes_on_at_the_first_missing_shard_and_draws_anew_what_is_not_whole(
    draw, start, stop, tmp_path, number
):
    assert draw("--windows", "undisturbed", changes=MANY).returncode == 0
    stop(number)
    finished = sorted(tmp_path.glob("data/windows/.drawn-*/train/part-*.parquet"))
    nodes = {path.name: path.stat().st_ino for path in finished}
    finished[3].write_bytes(finished[3].read_bytes()[:-1])
    shutil.copy(finished[5], finished[6])
    _, log = ended(start(changes=MANY))
    assert f"train: {len(finished) - 2} of 400 shards were already drawn by an interrupted run" in log
    assert "validation:" not in log
    made = content(tmp_path / "data/windows")
    assert made == content(tmp_path / "undisturbed")
    folder = tmp_path / "data/windows/train"
    again = {name for name, node in nodes.items() if (folder / name).stat().st_ino != node}
    assert again == {finished[3].name, finished[6].name}


@pytest.mark.slow
def test_so_it_does_under_dvc_which_deletes_a_stages_outputs(checkout):
    checkout.set(**{f"generate.{name}": value for name, value in MANY.items()})
    process = subprocess.Popen(
        ["dvc", "repro", "generate"], cwd=checkout.path, env=checkout.env, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while len(list(checkout.path.glob("data/windows/.drawn-*/train/part-*.parquet"))) < 20:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    log = checkout.run("dvc", "repro", "generate").stderr
    assert int(re.search(r"train: (\d+) of 400 shards were already drawn", log)[1]) >= 20
    checkout.stage("generate", "--windows", "undisturbed")
    assert content(checkout.path / "data/windows") == content(checkout.path / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "changes"), [({}, {"seed": 9}), (OTHER_SINES, {})])
def test_what_another_run_has_drawn_is_removed(start, stop, tmp_path, variables, changes):
    """One of other parameters, or on a processor that computes other sines."""
    if variables and key_and_sines(**variables) == key_and_sines():
        pytest.skip("this machine computes the same sines with and without AVX2")
    stop(signal.SIGKILL)
    code, log = ended(start(changes={**MANY, **changes}, **variables))
    assert (code, "already drawn" in log) == (0, False)
    assert ended(start("--windows", "undisturbed", changes={**MANY, **changes}, **variables))[0] == 0
    assert content(tmp_path / "data/windows") == content(tmp_path / "undisturbed")
