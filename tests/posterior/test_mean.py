"""The posterior mean against independent references: quadrature by scipy, Monte Carlo, the Cramer-Rao bound."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate

from quadrature.posterior.amplitude import likeliest_amplitude, over_amplitude
from quadrature.posterior.dense import Dense
from quadrature.posterior.mean import PosteriorMean
from quadrature.posterior.prior import Prior
from quadrature.posterior.refined import PosteriorError, Refined
from quadrature.signals.params import GenerateParams
from quadrature.signals.waves import draw_shard


def make_params(**changes):
    tree = {
        "source": None,
        "hop": None,
        "seed": 0,
        "windows": {"train": 1, "validation": 1, "test": changes.pop("windows", 500)},
        "shard_windows": 2**14,
        "length": 10,
        "span": math.pi,
        "rate": None,
        "phase": "uniform",
        "frequency": changes.pop("frequency", (0.5, 2.0)),
        "amplitude": changes.pop("amplitude", (1.0, 1.0)),
        "noise_std": 0.1,
        "noise_color": 0.0,
        "offset_std": 0.0,
        "drift_std": 0.0,
        "harmonics": [],
        "chirp": 0.0,
        **changes,
    }
    for name in ("frequency", "amplitude"):
        tree[name] = dict(zip(("low", "high"), tree[name], strict=True))
    return GenerateParams.model_validate(tree)


def draw(params, count=None):
    shard = draw_shard(params, "test", 0)
    return shard["input"][:count], shard["target"][:count]


def estimate(params, windows, **options):
    """Returns the posterior means of both components, (count, 2, length): in-phase, then quadrature."""
    return PosteriorMean(Prior(params, params.windows.test), **options).estimate(windows).mean


def mse(params, count=None, **options):
    windows, target = draw(params, count)
    return np.square(estimate(params, windows, **options)[:, 1] - target).mean()


def by_quadrature(window, instants, frequency, amplitude, noise_std):
    """Returns the posterior means over phase alone, (2, length), by scipy's adaptive quadrature."""

    def log_likelihood(phase):
        return -np.square(window - amplitude * np.sin(phase + frequency * instants)).sum() / (2.0 * noise_std**2)

    peak = max(np.linspace(0.0, 2.0 * np.pi, 20_001), key=log_likelihood)

    def integral(function):
        ends, near = (peak - math.pi, peak + math.pi), (peak - 5 * noise_std, peak, peak + 5 * noise_std)
        return integrate.quad(
            lambda phase: function(phase) * math.exp(log_likelihood(phase) - log_likelihood(peak)),
            *ends,
            points=near,
            epsabs=1e-13,
            limit=500,
        )[0]

    total = integral(lambda _: 1.0)
    return [
        [amplitude * integral(lambda phase, at=at: wave(phase + frequency * at)) / total for at in instants]  # noqa: B023
        for wave in (math.sin, math.cos)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("noise_std", [0.5, 0.1, 0.01])
def test_at_known_frequency_and_amplitude_it_is_the_integral_over_phase(noise_std):
    params = make_params(frequency=(1.3, 1.3), amplitude=(0.7, 0.7), noise_std=noise_std)
    windows, _ = draw(params, 3)
    instants = np.linspace(0.0, params.span, params.length)
    for window, found in zip(windows.astype(float), estimate(params, windows), strict=True):
        expected = by_quadrature(window, instants, 1.3, 0.7, noise_std)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * noise_std)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"amplitude": (0.5, 2.0), "noise_std": 0.3},
        {"amplitude": (0.0, 1.0), "frequency": (0.0, 3.0)},
        {"length": 3, "span": 5.0, "noise_std": 1.0, "amplitude": (1.0, 4.0)},
        {"length": 5, "span": 12.0, "noise_std": 0.2},
        {"phase": "consecutive", "span": 2.5, "noise_std": 0.3, "amplitude": (0.5, 1.5)},
    ],
)
def test_it_is_the_weighted_mean_of_many_waves_drawn_from_the_prior(changes):
    """Importance sampling with the prior as proposal: crude, but independent of the method tested."""
    params = make_params(**changes)
    windows, _ = draw(params, 6)
    rng = np.random.default_rng(1)
    count = 1_000_000
    if params.phase == "consecutive":
        phase = params.span * rng.integers(0, params.windows.test, count)
    else:
        phase = rng.uniform(0.0, 2.0 * np.pi, count)
    frequency = rng.uniform(params.frequency.low, params.frequency.high, count)
    amplitude = rng.uniform(params.amplitude.low, params.amplitude.high, count)
    instants = np.linspace(0.0, params.span, params.length)
    residual = np.zeros((len(windows), count))
    for instant, sample in zip(instants, windows.T.astype(float), strict=True):
        residual += np.square(sample[:, None] - amplitude * np.sin(phase + frequency * instant))
    weight = np.exp(-(residual - residual.min(axis=1, keepdims=True)) / (2.0 * params.noise_std**2))
    weight /= weight.sum(axis=1, keepdims=True)

    found = estimate(params, windows)
    for index, instant in enumerate(instants):
        for component, wave in enumerate((np.sin, np.cos)):
            values = amplitude * wave(phase + frequency * instant)
            expected = weight @ values
            error = np.sqrt((np.square(weight) * np.square(values - expected[:, None])).sum(axis=1))
            assert (np.abs(found[:, component, index] - expected) < 5.0 * error + 1e-4).all()


@pytest.mark.slow
@pytest.mark.parametrize("noise_std", [1e-2, *(pytest.param(std, marks=pytest.mark.nightly) for std in (1e-4, 1e-6))])
def test_small_noise_at_known_frequency_reaches_the_cramer_rao_bound(noise_std):
    params = make_params(frequency=(1.0, 1.0), noise_std=noise_std, windows=8000)
    angle = np.linspace(0.0, 2 * np.pi, 1000, endpoint=False)[:, None] + np.linspace(0.0, params.span, params.length)
    bound = (np.square(np.sin(angle)).mean(axis=1) / np.square(np.cos(angle)).sum(axis=1)).mean() * noise_std**2
    windows, target = draw(params)
    errors = np.square(estimate(params, windows)[:, 1] - target).mean(axis=1)
    standard_error = errors.std() / math.sqrt(len(errors))
    assert standard_error < 0.03 * bound
    assert abs(errors.mean() - bound) < 4.0 * standard_error


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"noise_std": 0.01},
        {"noise_std": 1e-6},
        {"noise_std": 10.0},
        {"length": 2},
        {"frequency": (0.0, 0.0)},
        {"frequency": (1.0, 1.0001)},
        {"amplitude": (0.0, 1.0)},
        {"amplitude": (0.5, 2.0), "noise_std": 1e-3},
        pytest.param({"span": 100.0}, marks=pytest.mark.nightly),  # eight seconds
        {"length": 64, "span": 8 * math.pi, "noise_std": 0.3},
        {"phase": "consecutive"},
        {"phase": "consecutive", "span": 3.0, "noise_std": 1e-3},
    ],
)
def test_halving_the_cells_hardly_moves_it(changes):
    params = make_params(**changes)
    assert mse(params, 64, spacing=0.5) == pytest.approx(mse(params, 64), rel=0.005)


def test_the_bits_do_not_depend_on_the_number_of_threads_and_hardly_on_that_of_windows():
    """In single precision, BLAS rounds a row by its place in the matrix."""
    params = make_params(amplitude=(0.5, 1.5))
    windows, _ = draw(params)
    posterior = PosteriorMean(Prior(params, params.windows.test))
    together = posterior.estimate(windows)
    assert (posterior.estimate(windows, threads=2).mean == together.mean).all()
    np.testing.assert_allclose(posterior.estimate(windows[7:8]).mean, together.mean[7:8], rtol=0, atol=1e-5)


def test_the_noise_of_noise_free_windows_is_float32s_rounding():
    """It is largest for samples near the amplitude, between 0.5 and 1, where float32 has one spacing."""
    samples = np.linspace(0.5, 1.0, 100_001)
    rounding = (samples.astype(np.float32) - samples).std()
    assert Prior(make_params(noise_std=0.0), 1).noise == pytest.approx(rounding, rel=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"amplitude": (0.5, 2.0)},
        {"length": 3, "amplitude": (0.0, 1.0)},
        {"length": 25, "span": 5.0, "noise_std": 0.25},
    ],
)
def test_one_grid_for_all_windows_and_cells_for_each_give_the_same(changes):
    params = make_params(**changes)
    windows, _ = draw(params, 16)
    prior = Prior(params, 500)
    assert Dense.fits(prior, 1.0)
    dense, _ = Dense(prior, 1.0).estimate(windows)
    refined, _ = Refined(prior, 0.5).estimate(windows)
    assert np.square(dense - refined).mean() < 1e-5 * mse(params)


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (0.0, 0.3), (1.0, 1.0001)])
def test_the_integral_over_amplitude_is_scipys(low, high):
    prior = Prior(make_params(amplitude=(low, high)), 1)
    low, high = low / high, 1.0  # the prior's unit is the highest amplitude
    for energy, place, deviations in itertools.product((0.5, 5.0), (low, (low + high) / 2, high), (-2.0, 0.0, 2.0)):
        correlation = energy * (place + deviations * prior.noise / math.sqrt(energy))
        arrays = np.array([correlation]), np.array([energy])
        likeliest = likeliest_amplitude(prior, *arrays)
        found = over_amplitude(prior, np.ones(1), likeliest, arrays[0] - likeliest * energy, arrays[1])

        def likelihood(amplitude, power, best=float(likeliest[0]), correlation=correlation, energy=energy):
            gain = (amplitude - best) * (correlation - (amplitude + best) * energy / 2.0)
            return amplitude**power * math.exp(gain / prior.noise**2)

        for power, value in enumerate(found):
            near = [float(likeliest[0])]
            expected, _ = integrate.quad(likelihood, low, high, args=(power,), points=near, limit=200)
            assert value[0] == pytest.approx(expected, rel=2e-4)


def test_the_operations_by_which_windows_are_afforded_are_those_of_every_version():
    """They decide which windows have a floor if the budget does not allow all, so they change results."""
    params = make_params()
    windows, _ = draw(params, 100)
    posterior = PosteriorMean(Prior(params, params.windows.test))
    assert posterior.estimate(windows).operations == pytest.approx(1_480_500, rel=0.002)


def test_consecutive_windows_of_half_periods_leave_two_phases():
    """If the phase is known to be 0 or pi and the frequency is known, nothing is left to estimate."""
    params = make_params(phase="consecutive", frequency=(1.0, 1.0))
    windows, target = draw(params)
    assert mse(params) < 1e-9
    free = make_params(frequency=(1.0, 1.0))
    assert np.square(estimate(free, windows)[:, 1] - target).mean() > 1e-4


@pytest.mark.parametrize("span", [math.pi, math.pi / 2, 2 * math.pi, 3.0])
@pytest.mark.parametrize("windows", [2, 10, 500])
def test_every_discrete_phase_is_in_one_cell_of_every_grid(span, windows):
    """Half periods put phases exactly on the edges of cells."""
    for noise_std in np.geomspace(0.02, 0.3, 40):
        params = make_params(phase="consecutive", span=span, windows=windows, noise_std=float(noise_std))
        prior = Prior(params, params.windows.test)
        for spacing in (1.0, 0.5):
            for grid in prior.grids(spacing)[:4]:
                middle = grid.phase_width * (np.arange(grid.phases) + 0.5)
                weight, _ = prior.within(middle, grid)
                assert weight.sum() == pytest.approx(windows * grid.frequency_width, rel=1e-12)


def test_a_discrete_prior_of_many_phases_is_as_good_as_uniform():
    changes = {"span": 3.0, "windows": 5000}
    windows, _ = draw(make_params(phase="consecutive", **changes), 50)
    discrete = estimate(make_params(phase="consecutive", **changes), windows)
    uniform = estimate(make_params(**changes), windows)
    np.testing.assert_allclose(discrete, uniform, rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", [2.0**-80, 2.0**80, 1e-12, 1e6])
@pytest.mark.parametrize(
    "changes",
    [{}, {"amplitude": (0.5, 2.0)}, {"noise_std": 1e-3}, {"phase": "consecutive", "span": 3.0}],
    ids=["one amplitude", "a range of amplitudes", "little noise", "known phases"],
)
def test_the_posterior_mean_is_the_same_in_any_unit(changes, scale):
    params = make_params(**changes)
    low, high = params.amplitude.low, params.amplitude.high
    scaled = make_params(**{**changes, "amplitude": (scale * low, scale * high), "noise_std": scale * params.noise_std})
    expected = estimate(params, draw(params, 20)[0])
    found = estimate(scaled, draw(scaled, 20)[0]) / scale
    if math.frexp(scale)[0] == 0.5:  # a power of two
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * params.noise_std)


def test_with_a_rate_the_posterior_is_that_of_the_span_it_makes():
    by_rate = make_params(span=None, rate=18.0, length=10)
    windows, _ = draw(by_rate, 5)
    assert (estimate(by_rate, windows) == estimate(make_params(), windows)).all()


@pytest.mark.slow
def test_a_posterior_that_fills_memory_is_refused():
    """Two samples fit a surface of waves if amplitude is unknown; with little noise it fills many cells."""
    params = make_params(length=2, amplitude=(0.0, 1.0), noise_std=1e-6)
    with pytest.raises(PosteriorError, match=r"raise generate.noise_std or generate.length"):
        estimate(params, draw(params, 2)[0])
