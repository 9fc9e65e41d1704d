"""The floor of a split: its windows, that no estimate beats it, and the result of hostile settings."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from quadrature.network.model import QuadratureNetwork, initialize, predict
from quadrature.posterior.refined import PosteriorError
from quadrature.scoring import floor
from quadrature.scoring.baselines import LeastSquares, hilbert, zero
from quadrature.scoring.floor import Floor, OptionalFloor
from quadrature.scoring.scores import Excess
from quadrature.signals.waves import draw_shard, shard_count
from quadrature.storage.arrow import stack
from quadrature.storage.windows import COMPONENTS
from quadrature.training.batches import Batch, SplitReader
from tests.checkout import PROJECT
from tests.network.test_model import make_params as make_model
from tests.posterior.test_mean import make_params
from tests.training.test_loop import make_training, train


def shards(params):
    return [draw_shard(params, "test", shard) for shard in range(shard_count(params, "test"))]


def estimates_of(params, split, threads=1):
    """Returns the floor of a split, and the estimates of its windows in one array."""
    found = Floor(params, split[0], threads)
    estimates = np.concatenate([found.estimate(shard) for shard in split])
    found.end()
    return found, estimates


def test_every_window_of_every_shard_has_its_own_estimate():
    params = make_params(windows=700, shard_windows=300)
    split = shards(params)
    found, estimates = estimates_of(params, split, 2)
    assert (found.rows == np.arange(700)).all()
    assert 0.0 < found.numerical_error <= 0.005
    whole = draw_shard(make_params(windows=300), "test", 0)
    assert (whole["input"] == split[0]["input"]).all()
    alone = Floor(params, split[0], 1)._posterior.estimate(split[1]["input"]).mean
    assert (estimates[300:600] == alone).all()


@pytest.mark.slow
def test_a_floor_that_costs_too_much_is_for_a_random_part_of_the_windows(monkeypatch, caplog):
    params = make_params(windows=3000, shard_windows=1000)
    split = shards(params)
    _, whole = estimates_of(params, split, 2)
    monkeypatch.setattr(floor, "BUDGET", floor.BUDGET // 6000)
    with caplog.at_level("INFO"):
        part, estimates = estimates_of(params, split, 2)
    assert 128 <= len(part.rows) < 1000
    assert f"for {len(part.rows)} windows of 3,000" in caplog.text
    assert (np.diff(part.rows) > 0).all()
    assert abs(part.rows.mean() - 1500) < 200  # from all over the split
    known = ~np.isnan(estimates[:, 0, 0])
    assert (np.flatnonzero(known) == part.rows).all()
    # Single precision: BLAS rounds a row by its place in the matrix.
    np.testing.assert_allclose(estimates[known], whole[known], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_shard_without_any_chosen_window_has_no_estimates(monkeypatch):
    params = make_params(windows=3000, shard_windows=10)
    monkeypatch.setattr(floor, "BUDGET", floor.BUDGET // 6000)
    part, estimates = estimates_of(params, shards(params), 2)
    empty = next(first for first in range(0, 3000, 10) if not ((part.rows >= first) & (part.rows < first + 10)).any())
    assert np.isnan(estimates[empty : empty + 10]).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"noise_std": 0.0}, "generate.noise_std is 0"),
        ({"amplitude": (0.0, 0.0)}, "generate.amplitude is 0"),
        ({"span": 7e4}, "it would take 1,365,000 cells .* 1,048,576 are the most; lower generate.span"),
        ({"phase": "consecutive", "frequency": (1.0, 1.0)}, "float32's rounding"),  # it is 0 or pi, beyond doubt
        ({"noise_std": 1e-8}, "float32's rounding"),
    ],
)
def test_windows_without_a_floor_are_told_why(changes, reason):
    params = make_params(windows=10, **changes)
    with pytest.raises(PosteriorError, match=reason):
        estimates_of(params, shards(params))


def test_a_split_with_a_floor_has_the_estimates_and_the_numerical_error_of_its_floor():
    params = make_params(windows=70, shard_windows=30)
    expected, estimates = estimates_of(params, shards(params))
    floor = OptionalFloor(params, 1)
    assert (np.concatenate([floor.estimate(shard) for shard in shards(params)]) == estimates).all()
    floor.end()
    assert floor.numerical_error == expected.numerical_error
    assert (floor.missing, floor.is_withdrawn) == (None, False)


@pytest.mark.parametrize(
    ("failing", "estimated", "withdrawn"),
    [("__init__", [False, False, False], False), ("estimate", [True, False, False], True), ("end", [True] * 3, True)],
)
def test_a_floor_that_turns_out_to_be_missing_is_withdrawn_and_no_error_is_raised(
    monkeypatch, caplog, failing, estimated, withdrawn
):
    params = make_params(windows=70, shard_windows=30)
    method = getattr(Floor, failing)

    def fail(self, *arguments):
        if failing == "estimate" and not self._passed:
            return method(self, *arguments)
        raise PosteriorError("the reason")

    monkeypatch.setattr(Floor, failing, fail)
    floor = OptionalFloor(params, 1)
    estimates = [floor.estimate(shard) for shard in shards(params)]
    floor.end()
    assert [np.isfinite(each).all() for each in estimates] == estimated
    assert [np.isnan(each).all() for each in estimates] == [not each for each in estimated]
    assert (floor.missing, floor.is_withdrawn, floor.numerical_error) == ("the reason", withdrawn, None)
    assert caplog.text.count("no floor, so floor_mse and excess are null: the reason") == 1


def random_params(seed):
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.uniform(0.0, 3.0, 2))
    weak, strong = np.sort(rng.uniform(0.0, 2.0, 2))
    return make_params(
        seed=seed,
        windows=1000,
        length=int(rng.integers(2, 20)),
        span=float(rng.uniform(1.0, 10.0)),
        phase=str(rng.choice(["uniform", "consecutive"])),
        frequency=(low, high if seed % 3 else low),
        amplitude=(weak, strong) if seed % 2 else (strong, strong),
        noise_std=float(10.0 ** rng.uniform(-2.0, 0.5)),
    )


def briefly_trained(length, inputs, components, test):
    network = QuadratureNetwork(make_model(hidden_size=16, output="analytic"), length)
    initialize(network, 0)
    windows = SplitReader.of([Batch(torch.from_numpy(inputs).unsqueeze(-1), torch.from_numpy(components))])
    settings = make_training(epochs=3, batch_size=256, optimizer="soap", shuffle_windows=len(inputs))
    list(train(network, windows, windows, settings))
    return predict(network, test, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(5), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(5, 20))])
def test_nobody_beats_the_floor(seed):
    """By any estimate: the error of the posterior mean is orthogonal to every function of the window."""
    params = random_params(seed)
    split = shards(params)[0]
    _, best = estimates_of(params, [split], 2)
    training = draw_shard(
        params.model_copy(update={"windows": params.windows.model_copy(update={"train": 10_000})}), "train", 0
    )
    line = LeastSquares(params.length)
    components = stack(training, COMPONENTS)
    line.add(training["input"], components)
    for estimate in (
        zero(split["input"]),
        hilbert(split["input"]),
        line.estimate(split["input"]),
        briefly_trained(params.length, training["input"], components, split["input"]),
    ):
        for component, name in enumerate(COMPONENTS):
            excess = Excess()
            excess.add(estimate[:, component], best[:, component], split[name])
            assert abs(excess.figures()["floor_z_score"]) < 5.0


HOSTILE = {
    "two samples": 0.4505,
    "two samples, little noise": 0.4359,
    "two samples, hardly any noise, any amplitude": None,
    "hardly any noise": 3.095e-13,
    "much noise": 0.4975,
    "frequency 0": 0.5266,
    "any amplitude": 0.005346,
    "any amplitude, little noise": 1.663e-8,
    "undersampled": 0.4896,
    "undersampled, little noise": 0.4905,
    "undersampled beyond reach": None,
    "long windows": 0.00287,
    "very long windows": 8.669e-6,
}
"""Settings of benchmarks/costs/floor.py, and the floor of 512 windows; None if there is no floor.

tests.posterior.test_mean.py shows that such figures are right. Nothing distinguishes undersampled waves from their
mirror images, so their floor is near the error of estimating zero, with and without noise.
"""

DEAR = {
    *("two samples, little noise", "hardly any noise", "undersampled", "undersampled, little noise"),
    *("any amplitude, little noise", "very long windows"),
}
"""Settings that take many seconds; the others run the same code."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "setting", [pytest.param(name, marks=[pytest.mark.nightly] if name in DEAR else []) for name in HOSTILE]
)
def test_hostile_settings_end_in_a_right_figure_or_one_clear_line_in_two_gigabytes(setting):
    """The benchmark reports how long they take."""
    command = [sys.executable, "-m", "benchmarks.costs.floor", "512", setting]
    *_, row = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    _, name, _, peak, figure, _, numerical_error, _ = (cell.strip() for cell in row.split("|"))
    assert name == setting
    expected = HOSTILE[setting]
    if expected is None:
        assert re.fullmatch(r"none: .*; (raise|lower) generate\..*", figure)
    else:
        assert float(figure) == pytest.approx(expected, rel=0.01)
        assert float(numerical_error) <= 0.005
    assert float(peak) < 2000
