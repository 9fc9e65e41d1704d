"""Training that was interrupted goes on to the same bits; the states on disk that it goes on from."""

import itertools
import os
import stat
import time

import pytest
import torch

from quadrature.training import checkpoint
from quadrature.training.batches import epoch_batches, in_order
from quadrature.training.checkpoint import checkpoints, prefixed, training_key, unpack, within
from quadrature.training.loop import train
from quadrature.training.snapshots import Snapshots
from quadrature.training.state import Training
from tests.network.test_model import make_network
from tests.training.test_batches import make_shards
from tests.training.test_loop import make_training, make_windows

FAMILY = [*itertools.product(("rnn", "lstm", "gru"), ("adam", "soap"), ("quadrature",)), ("gru", "soap", "analytic")]


class StopError(Exception):
    """Training was interrupted."""


def begin(cell, optimizer, output):
    """Twelve epochs of five steps, a record after the third and the last, batches across the seams of blocks."""
    depth = {"num_layers": 2, "dropout": 0.3} if cell == "lstm" else {}
    network = make_network(cell=cell, output=output, **depth)
    changes = {"epochs": 12, "shuffle_windows": 24, "gradient_shards": 2, "validations_per_epoch": 2}
    training = Training(network, make_training(optimizer=optimizer, **changes))
    return training, Snapshots(next(in_order(make_windows(8, output=output), 4)), [0, 1, 7, 8, 20, 60])


def go_on(training, snapshots, until=None):
    def after_step(training):
        snapshots.take(training.model, training.step)
        if training.step == until:
            raise StopError

    output = training.model.params.output
    list(train(training, make_windows(output=output), make_windows(8, output=output), after_step))


def whole(training, snapshots):
    return {**prefixed("training", training.state_dict()), **prefixed("snapshots", snapshots.state_dict())}


@pytest.fixture(autouse=True)
def _own_states(monkeypatch, tmp_path):
    monkeypatch.setenv("QUADRATURE_STATE_DIR", str(tmp_path / "states"))


def test_no_other_user_can_open_what_is_kept_whatever_the_umask():
    mask = os.umask(0)
    try:
        with checkpoints("key", 0.0) as saved:
            saved.save(1, {"a": torch.zeros(1)})
    finally:
        os.umask(mask)
    folders = (checkpoint.state_folder(), checkpoint.state_folder() / "key")
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]


SOME = (0, 1, 3, 5, 7, 31, 59)
"""Before the first step; after the first, one with a record, the last of an epoch, others, the last but one."""


@pytest.mark.slow
@pytest.mark.parametrize("stops", [SOME, pytest.param(range(60), marks=pytest.mark.nightly)], ids=["some", "any"])
@pytest.mark.parametrize("kind", FAMILY, ids=" ".join)
def test_training_stopped_after_any_step_goes_on_to_the_same_bits(kind, stops):
    unbroken = begin(*kind)
    go_on(*unbroken)
    expected = whole(*unbroken)
    assert unbroken[0].step == 60
    for stop in stops:
        stopped = begin(*kind)
        with checkpoints("key", 0.0) as saved:
            with pytest.raises(StopError):
                go_on(*stopped, until=stop)
            saved.save(stop, whole(*stopped))
            state = unpack(saved.load())
        resumed = begin(*kind)
        resumed[0].load_state_dict(within("training", state))
        resumed[1].load_state_dict(within("snapshots", state))
        go_on(*resumed)
        found = whole(*resumed)
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            assert torch.equal(found[name], tensor), (stop, name)


@pytest.mark.parametrize("batch_size", [1, 4, 7])
@pytest.mark.parametrize("shuffle_windows", [1, 6, 1000])
def test_batches_passed_over_are_not_read_and_the_others_stay_as_they_were(batch_size, shuffle_windows):
    shards = make_shards(5, 9, 5, 4)
    read = []
    watched = shards._replace(get=lambda shard: (read.append(shard), shards.get(shard))[1])
    key = {"seed": 2, "epoch": 3, "batch_size": batch_size, "shuffle_windows": shuffle_windows}
    everything = list(epoch_batches(shards, **key))
    for done in range(len(everything) + 1):
        read.clear()
        rest = list(epoch_batches(watched, **key, done=done))
        assert [batch.target.tolist() for batch in rest] == [batch.target.tolist() for batch in everything[done:]]
        if shuffle_windows == 1 and done * batch_size >= 19:
            assert len(read) <= 1


def fill(saved, *steps):
    for step in steps:
        saved.save(step, {"step": torch.tensor(step)})


def newest(saved):
    packed = saved.load()
    return int(unpack(packed)["step"]) if packed else None


def test_the_two_newest_states_are_kept():
    with checkpoints("key", 0.0) as saved:
        assert newest(saved) is None
        fill(saved, 1, 2, 30)
        assert [path.name for path in sorted(saved._folder.glob("step-*"))] == [
            "step-000000000002",
            "step-000000000030",
        ]
        assert newest(saved) == 30
        assert saved.is_due()
        saved.remove()
        assert newest(saved) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x07"),
        lambda path: path.write_bytes(b"\x00" * 32 + path.read_bytes()[32:]),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_state_that_is_damaged_is_passed_over_for_the_one_before(damage):
    with checkpoints("key", 0.0) as saved:
        fill(saved, 1, 2)
        damage(saved._folder / "step-000000000002")
        assert newest(saved) == 1
        damage(saved._folder / "step-000000000001")
        assert newest(saved) is None


def test_every_truncation_and_every_changed_byte_is_noticed():
    with checkpoints("key", 0.0) as saved:
        fill(saved, 1)
        path = saved._folder / "step-000000000001"
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(content[:place])
            assert saved.load() == b""
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert saved.load() == b""


def test_another_trainings_state_is_not_taken():
    with checkpoints("one", 0.0) as one, checkpoints("other", 0.0) as other:
        fill(one, 1)
        (one._folder / "step-000000000001").rename(other._folder / "step-000000000001")
        assert newest(other) is None


def test_a_second_process_begins_anew_and_keeps_no_state(caplog):
    with checkpoints("key", 0.0), checkpoints("key", 0.0) as second:
        assert second is None
    assert "another process trains the same network" in caplog.text


def test_where_nothing_can_be_written_training_goes_on_without(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("QUADRATURE_STATE_DIR", str(tmp_path / "file"))
    with checkpoints("key", 0.0) as saved:
        assert saved is None
    assert "an interrupted training starts from the beginning" in caplog.text


def test_a_disk_that_fills_up_is_told_of_and_costs_no_more(caplog):
    with checkpoints("key", 0.0) as saved:
        fill(saved, 1)
        saved._folder.joinpath(".step-000000000002.tmp").mkdir()  # where the next one would be written
        fill(saved, 2)
        assert newest(saved) == 1
    assert "cannot resume if it is interrupted" in caplog.text


def test_old_states_and_the_oldest_of_too_many_go(monkeypatch):
    newest, newer, older, ancient = ages = [training_key(age=age) for age in range(4)]
    for age, name in enumerate(ages):
        size = leave(name, age)
    assert kept() == {newest, newer, older, ancient}
    monkeypatch.setattr(checkpoint, "MAX_AGE_SECONDS", 2.5 * 86400)
    assert kept() == {newest, newer, older}
    monkeypatch.setattr(checkpoint, "MAX_TOTAL_BYTES", 2 * size)
    assert kept() == {newest, newer}


def leave(name, age):
    """Leaves a training's state of so many days ago; returns its bytes."""
    with checkpoints(name, 0.0) as saved:
        fill(saved, 1)
        touched = time.time() - 86400 * age
        for path in saved._folder.iterdir():
            os.utime(path, (touched, touched))
        return sum(path.stat().st_size for path in saved._folder.iterdir())


def kept():
    """Begins another training, which cleans up; returns what is still there beside its own."""
    with checkpoints("own", 0.0):
        return {path.name for path in checkpoint.state_folder().iterdir()} - {"own"}


def test_what_is_in_use_and_what_is_no_training_of_ours_stays_however_old(monkeypatch):
    used, mixed, idle = (training_key(number=number) for number in range(3))
    for name in (used, mixed, idle, "thesis"):
        leave(name, 20)
    (checkpoint.state_folder() / mixed / "chapter 1").touch()
    os.utime(checkpoint.state_folder() / mixed / "chapter 1", (0, 0))
    (checkpoint.state_folder() / "a file").touch()
    monkeypatch.setattr(checkpoint, "MAX_AGE_SECONDS", 1.0)
    with checkpoints(used, 0.0):
        for path in (checkpoint.state_folder() / used).iterdir():
            os.utime(path, (0, 0))
        assert kept() == {used, mixed, "thesis", "a file"}


def test_the_key_tells_trainings_apart():
    keys = [training_key(params={"seed": seed}, windows=windows) for seed in (0, 1) for windows in ("a", "b")]
    assert len(set(keys)) == 4
    assert training_key(windows="a", params={"seed": 0}) == keys[0]
