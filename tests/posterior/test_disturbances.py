"""The posterior mean of disturbed windows against brute force: a fine grid of explicit normal distributions."""

import itertools
import re

import numpy as np
import pytest

from quadrature.posterior.dense import Dense
from quadrature.posterior.mean import PrefixMean
from quadrature.posterior.prior import Prior
from quadrature.posterior.refined import PosteriorError, Refined
from quadrature.scoring.baselines import LeastSquares, zero
from quadrature.scoring.floor import Floor, OptionalFloor
from quadrature.scoring.scores import Excess
from quadrature.signals.waves import draw_shard
from quadrature.storage.arrow import stack
from quadrature.storage.windows import COMPONENTS
from tests.posterior.test_mean import draw, estimate, make_params
from tests.signals.test_disturbances import correlation_by_cosines

ALL = {"offset_std": 0.3, "drift_std": 0.4, "noise_color": 1.0, "noise_std": 0.2}
SETTINGS = {
    "offset": {"offset_std": 0.5},
    "large offset": {"offset_std": 30.0},
    "drift": {"drift_std": 1.0},
    "pink": {"noise_color": 1.0, "noise_std": 0.2},
    "brown": {"noise_color": 2.0, "noise_std": 0.3},
    "offset, drift, pink": ALL,
    "any amplitude": {**ALL, "amplitude": (0.5, 2.0)},
    "consecutive": {**ALL, "phase": "consecutive", "span": 2.5, "windows": 40, "amplitude": (0.5, 1.5)},
    "harmonics": {"harmonics": [0.1, 0.05]},
    "strong third harmonic": {"harmonics": [0.0, 0.5], "noise_std": 0.2},
    "harmonics and all": {**ALL, "harmonics": [0.2, 0.1], "amplitude": (0.7, 0.7)},
    "chirp": {"chirp": 0.4, "noise_std": 0.2},
    "chirp and all": {**ALL, "chirp": 0.8, "harmonics": [0.3], "frequency": (1.0, 2.0)},
}


def middles(low, high, count):
    return low + (high - low) * (np.arange(count) + 0.5) / count if high > low else np.array([low])


def brute_force(params, windows, length):
    """Returns the posterior means given the first samples of windows, (count, 2, length), by the midpoint rule.

    The covariance of each wave is the sum of its definitions, inverted on its own.
    """
    samples, instants = windows[:, :length].astype(float), np.linspace(0.0, params.span, params.length)
    drift = instants / params.span - 0.5
    constant = params.noise_std**2 * correlation_by_cosines(params.length, params.noise_color)
    constant += params.offset_std**2 + params.drift_std**2 * np.outer(drift, drift)
    phase = middles(0.0, 2.0 * np.pi, 120)
    if params.phase == "consecutive":
        phase = params.span * np.arange(params.windows.test)
    amplitude = middles(params.amplitude.low, params.amplitude.high, 60)
    log_likelihood, components = [], []
    for chirp in middles(-params.chirp, params.chirp, 24):
        for frequency in middles(params.frequency.low, params.frequency.high, 150):
            bent = instants + chirp * instants * (instants / params.span - 1.0) / 2.0
            covariance = constant.copy()
            for order, std in enumerate(params.harmonics, start=2):
                angle = order * frequency * bent
                both = np.outer(np.sin(angle), np.sin(angle)) + np.outer(np.cos(angle), np.cos(angle))
                covariance += (std * params.amplitude.high) ** 2 * both
            covariance = covariance[:length, :length]
            argument = np.add.outer(phase, frequency * bent[:length])
            waves = np.multiply.outer(amplitude, np.sin(argument)).reshape(-1, length)
            inverse = np.linalg.inv(covariance)
            square = ((samples @ inverse) * samples).sum(axis=1)[:, None] + ((waves @ inverse) * waves).sum(axis=1)
            square -= 2.0 * samples @ inverse @ waves.T
            log_likelihood.append(-0.5 * (square + np.linalg.slogdet(covariance)[1]))
            cosines = np.multiply.outer(amplitude, np.cos(argument)).reshape(-1, length)
            components.append(np.concatenate([waves, cosines], axis=1))
    logs = np.concatenate(log_likelihood, axis=1)
    weight = np.exp(logs - logs.max(axis=1, keepdims=True))
    means = weight @ np.concatenate(components) / weight.sum(axis=1, keepdims=True)
    return means.reshape(len(windows), 2, length)


DEAR = ("any amplitude", "chirp", "chirp and all")


@pytest.mark.parametrize(
    "setting", [pytest.param(name, marks=[pytest.mark.slow] * (name in DEAR)) for name in SETTINGS]
)
def test_it_is_the_mean_over_a_fine_grid_of_explicit_normal_distributions(setting):
    params = make_params(**SETTINGS[setting])
    windows, target = draw(params, 12)
    expected = brute_force(params, windows, params.length)
    error = np.square(expected[:, 1] - target).mean()
    assert np.square(estimate(params, windows) - expected).mean() < 1e-4 * error


@pytest.mark.parametrize(
    "setting", ["offset, drift, pink", "harmonics and all", pytest.param("consecutive", marks=pytest.mark.slow)]
)
def test_that_of_the_samples_so_far_is_the_mean_over_the_grid_given_these(setting):
    params = make_params(**SETTINGS[setting])
    windows, target = draw(params, 6)
    found = PrefixMean(Prior(params, params.windows.test)).estimate(windows).mean
    for length in range(1, params.length + 1):
        expected = brute_force(params, windows, length)[:, :, -1]
        scale = np.square(expected[:, 1] - target[:, length - 1]).mean()
        assert np.square(found[:, :, length - 1] - expected).mean() < 1e-4 * scale


@pytest.mark.parametrize("setting", ["large offset", "brown", "any amplitude"])
def test_one_grid_for_all_disturbed_windows_and_cells_for_each_give_the_same(setting):
    params = make_params(**SETTINGS[setting])
    windows, target = draw(params, 8)
    prior = Prior(params, 500)
    dense, _ = Dense(prior, 1.0).estimate(windows)
    refined, _ = Refined(prior, 0.5).estimate(windows)
    assert np.square(dense - refined).mean() < 1e-5 * np.square(dense[:, 1] - target).mean()


def test_a_tiny_disturbance_changes_nothing_and_the_size_of_a_large_offset_does_not_matter():
    windows, _ = draw(make_params(), 20)
    plain = estimate(make_params(), windows)
    np.testing.assert_allclose(estimate(make_params(offset_std=1e-6, chirp=1e-7), windows), plain, rtol=0, atol=1e-4)
    large, larger = (estimate(make_params(offset_std=std), windows) for std in (30.0, 300.0))
    np.testing.assert_allclose(large, larger, rtol=0, atol=1e-3)
    assert np.abs(large - plain).max() > 0.01


@pytest.mark.parametrize(
    "setting",
    [
        "offset, drift, pink",
        "harmonics and all",
        "any amplitude",
        pytest.param("chirp and all", marks=pytest.mark.slow),
    ],
)
def test_the_floors_error_is_orthogonal_to_estimates(setting):
    """So no estimate beats it: the windows that are drawn are those of the posterior's prior."""
    params = make_params(**{**SETTINGS[setting], "windows": 2000})
    split = draw_shard(params, "test", 0)
    training = draw_shard(
        params.model_copy(update={"windows": params.windows.model_copy(update={"train": 8000})}), "train", 0
    )
    line = LeastSquares(params.length)
    line.add(training["input"], stack(training, COMPONENTS))
    floor = Floor(params, split, 2)
    best = floor.estimate(split)
    floor.end()
    assert (len(floor.rows), floor.numerical_error <= 0.005) == (2000, True)
    others = {"zero": zero(split["input"]), "line": line.estimate(split["input"]), "cube": best**3}
    for (name, other), component in itertools.product(others.items(), range(2)):
        excess = Excess()
        excess.add(other[:, component], best[:, component], split[COMPONENTS[component]])
        assert abs(excess.figures()["floor_z_score"]) < 5.0, (name, component)
        assert name == "cube" or excess.figures()["excess"] > 0.1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"noise_std": 0.0, "offset_std": 0.1}, "without noise is not computed; raise generate.noise_std"),
        ({"noise_std": 0.0, "chirp": 0.1}, "without noise is not computed; raise generate.noise_std"),
        ({"harmonics": [0.1], "amplitude": (0.5, 1.0)}, "unknown amplitude is not .* generate.amplitude equal or"),
        ({"harmonics": [0.1], "phase": "consecutive"}, "set generate.phase to uniform"),
        ({"chirp": 0.1, "phase": "consecutive"}, "set generate.phase to uniform"),
        ({"chirp": 0.3, "noise_std": 0.01}, "takes too many waves; raise generate.noise_std, or lower generate.length"),
        ({"harmonics": [0.1], "noise_std": 1e-5}, "takes too many waves; raise generate.noise_std"),
        ({"offset_std": 1e6, "noise_std": 1e-3}, "too large beside the noise; raise generate.noise_std"),
        ({"drift_std": 1e6, "noise_std": 1e-9, "noise_color": 2.0}, "too large beside the noise"),
        ({"harmonics": [1e6]}, "too large beside the noise"),
        ({"offset_std": 1.0, "amplitude": (0.0, 0.0)}, "generate.amplitude is 0"),
    ],
)
def test_disturbed_windows_without_a_floor_are_told_why(changes, reason):
    params = make_params(windows=10, **changes)
    floor, split = OptionalFloor(params, 1), draw_shard(params, "test", 0)
    assert np.isnan(floor.estimate(split)).all()
    floor.end()
    assert re.search(reason, floor.missing)
    assert floor.numerical_error is None


def test_long_disturbed_windows_have_no_floor_sample_by_sample():
    params = make_params(windows=1, shard_windows=1, length=300, offset_std=0.1)
    with pytest.raises(PosteriorError, match=r"more than 256 disturbed samples is not computed; lower generate.length"):
        PrefixMean(Prior(params, 1))


def test_color_without_noise_is_no_disturbance():
    with pytest.raises(PosteriorError, match=r"generate.noise_std is 0, so nothing but rounding"):
        Floor(make_params(windows=10, noise_std=0.0, noise_color=1.0), {}, 1)
