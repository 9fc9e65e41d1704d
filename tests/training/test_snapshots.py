"""Snapshots: at which steps, of what, written so that they are read again."""

import numpy as np
import pytest
import torch
from torch import nn

from quadrature.storage.windows import SNAPSHOT_COLUMNS, read_windows
from quadrature.training.batches import Batch, in_order
from quadrature.training.snapshots import Snapshots, snapshot_steps
from tests.network.test_model import make_network
from tests.training.test_loop import make_training, make_windows, train


def test_steps_are_evenly_spaced_on_a_logarithmic_scale_from_the_untrained_to_the_last():
    assert snapshot_steps(6, 10_000) == [0, 1, 10, 100, 1000, 10_000]
    assert snapshot_steps(2, 77) == [0, 77]


@pytest.mark.parametrize("count", [2, 3, 40, 200])
@pytest.mark.parametrize("steps", [1, 2, 32, 3072, 10**9])
def test_there_are_at_most_as_many_as_asked_for_and_the_ends_are_among_them(count, steps):
    chosen = snapshot_steps(count, steps)
    assert len(chosen) <= count
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, steps)
    if steps > 10**8:
        assert len(chosen) > 0.7 * count


class Counting(nn.Module):
    """Estimates, of any window, how often it was asked; remembers whether it was training."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, window):
        self.asked.append(self.training)
        return torch.full(window.shape[:2], float(len(self.asked)))


def test_what_is_taken_is_read_again(tmp_path):
    windows = Batch(torch.rand(3, 7, 1), torch.rand(3, 7))
    snapshots = Snapshots(windows, [0, 2, 5])
    model = Counting().train()
    for step in range(6):
        snapshots.take(model, step)
    assert model.asked == [False, False, False]
    assert model.training
    snapshots.write(tmp_path / "snapshots.parquet")
    columns = read_windows(tmp_path / "snapshots.parquet", SNAPSHOT_COLUMNS, leading=SNAPSHOT_COLUMNS)
    assert tuple(columns) == SNAPSHOT_COLUMNS
    assert columns["step"].tolist() == [0.0] * 3 + [2.0] * 3 + [5.0] * 3
    assert (columns["prediction"] == np.repeat([1.0, 2.0, 3.0], 3)[:, None]).all()
    assert (columns["input"] == np.tile(windows.input[..., 0].numpy(), (3, 1))).all()
    assert (columns["target"] == np.tile(windows.target.numpy(), (3, 1))).all()


def test_they_are_written_in_the_signals_unit(tmp_path):
    windows = Batch(torch.rand(3, 7, 1), torch.rand(3, 7))
    snapshots = Snapshots(windows, [0], scale=2.0**-40)
    snapshots.take(Counting(), 0)
    snapshots.write(tmp_path / "snapshots.parquet")
    columns = read_windows(tmp_path / "snapshots.parquet", SNAPSHOT_COLUMNS, leading=SNAPSHOT_COLUMNS)
    assert (columns["prediction"] == 2.0**-40).all()
    assert (columns["input"] == 2.0**-40 * windows.input[..., 0].numpy()).all()
    assert (columns["target"] == 2.0**-40 * windows.target.numpy()).all()


def test_of_the_analytic_signal_they_hold_the_quadrature_component(tmp_path):
    network, windows = make_network(output="analytic"), make_windows(8, output="analytic")
    batch = next(in_order(windows, 8))
    snapshots = Snapshots(batch, [0])
    snapshots.take(network, 0)
    assert snapshots.state_dict()["estimates"].shape == (1, 8, 7)
    snapshots.write(tmp_path / "snapshots.parquet")
    columns = read_windows(tmp_path / "snapshots.parquet", SNAPSHOT_COLUMNS, leading=SNAPSHOT_COLUMNS)
    with torch.no_grad():
        np.testing.assert_allclose(columns["prediction"], network(batch.input)[:, 1], atol=1e-6)
    assert (columns["target"] == batch.target[:, 1].numpy()).all()
    assert (columns["input"] == batch.target[:, 0].numpy()).all()  # these windows have no noise


def test_looking_does_not_change_what_is_learnt():
    networks = [make_network(num_layers=2, dropout=0.5) for _ in range(2)]
    snapshots = Snapshots(next(in_order(make_windows(8), 8)), list(range(11)))
    list(train(networks[0], make_windows(), make_windows(8), make_training(), snapshots.take))
    list(train(networks[1], make_windows(), make_windows(8), make_training()))
    for looked, alone in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(looked, alone)
