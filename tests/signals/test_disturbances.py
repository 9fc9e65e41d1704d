"""What disturbs a window: each disturbance's covariance and stream, and that none changes the target but chirp."""

import math

import numpy as np
import pytest
import scipy.stats

from quadrature.signals.disturbances import draw_noise, noise_correlation
from quadrature.signals.waves import draw_shard, sine_and_cosine
from tests.signals.test_waves import draw, settings

ALL = {"offset_std": 0.3, "drift_std": 0.5, "noise_color": 1.0, "harmonics": [0.2, 0.1], "chirp": 0.4}
ADDED = {name: value for name, value in ALL.items() if name != "chirp"}


def correlation_by_cosines(length, color):
    """Returns the noise's correlation matrix, each number a sum over the spectrum's lines."""
    lines = np.arange(8 * length)
    power = np.maximum(np.minimum(lines, 8 * length - lines), 1.0) ** -color
    distances = [(power * np.cos(2.0 * np.pi * lines * lag / len(lines))).sum() / power.sum() for lag in range(length)]
    return scipy.linalg.toeplitz(distances)


def covariance(params, frequency):
    """Returns the covariance of all that is added to waves of one frequency and amplitude, from the definitions."""
    length, amplitude = params.length, params.amplitude.high
    angle, drift = frequency * np.linspace(0.0, params.span, length), np.arange(length) / (length - 1) - 0.5
    total = params.noise_std**2 * correlation_by_cosines(length, params.noise_color)
    total += params.offset_std**2 + params.drift_std**2 * np.outer(drift, drift)
    for order, std in enumerate(params.harmonics, start=2):
        for component in (np.sin(order * angle), np.cos(order * angle)):
            total += (amplitude * std) ** 2 * np.outer(component, component)
    return total


def test_undisturbed_windows_are_those_of_the_first_four_streams():
    """So that the windows of every earlier version are drawn again."""
    params = settings()
    streams = np.random.SeedSequence(0, spawn_key=(0, 0)).spawn(4)
    phases, frequencies, amplitudes, noises = map(np.random.default_rng, streams)
    phase, frequency = phases.uniform(0.0, 2.0 * np.pi, 300), frequencies.uniform(0.5, 2.0, 300)
    amplitude = amplitudes.uniform(0.8, 1.5, 300)[:, None]
    sine, cosine = sine_and_cosine(phase, frequency, 10, params.span)
    drawn = draw_shard(params, "train", 0)
    assert (drawn["input"] == (amplitude * sine + 0.1 * noises.standard_normal((300, 10))).astype(np.float32)).all()
    assert (drawn["target"] == (amplitude * cosine).astype(np.float32)).all()
    assert (drawn["in_phase"] == (amplitude * sine).astype(np.float32)).all()


@pytest.mark.parametrize("name", ADDED)
def test_a_disturbance_changes_neither_component_of_the_target_nor_another_disturbance(name):
    off = {other: type(value)() for other, value in ALL.items()}
    alone, without = settings(**{**off, name: ALL[name]}), settings(**off)
    together, others = settings(**ADDED, chirp=0.0), settings(**{**ADDED, "chirp": 0.0, name: off[name]})
    drawn = [draw(params) for params in (alone, without, together, others)]
    for windows in drawn:
        same = ("target", "in_phase", "phase", "frequency", "amplitude")
        assert all((windows[key] == drawn[0][key]).all() for key in same)
    first, second, third, fourth = (windows["input"].astype(float) for windows in drawn)
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_allclose(first - second, third - fourth, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "changes",
    [*({name: ALL[name], "noise_std": 0.2} for name in ADDED), {"noise_color": 2.0}, ADDED],
    ids=[*ADDED, "brown", "all"],
)
def test_what_is_added_has_the_documented_covariance(changes):
    """Each entry within five standard errors, which normal numbers have: Isserlis' theorem."""
    count = 20_000
    params = settings(
        windows={"train": count, "validation": 1, "test": 1}, shard_windows=count,
        frequency={"low": 1.3, "high": 1.3}, amplitude={"low": 0.7, "high": 0.7}, **changes,
    )  # fmt: skip
    windows = draw(params)
    sine, _ = sine_and_cosine(windows["phase"], windows["frequency"], params.length, params.span)
    added = windows["input"] - 0.7 * sine
    expected = covariance(params, 1.3)
    variance = np.diag(expected)
    standard_error = np.sqrt((np.outer(variance, variance) + expected**2) / count)
    assert (np.abs(added.T @ added / count - expected) < 5.0 * standard_error).all()
    assert (np.abs(added.mean(axis=0)) < 5.0 * np.sqrt(variance / count)).all()
    assert scipy.stats.kstest(added[:, 3] / math.sqrt(variance[3]), "norm").pvalue > 1e-3


@pytest.mark.parametrize("color", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("length", [2, 9, 64])
def test_noise_has_exactly_the_correlation_of_its_spectrum(length, color):
    """White numbers of one 1 each show the matrix that noise is made with."""
    expected = correlation_by_cosines(length, color)
    np.testing.assert_allclose(noise_correlation(length, color), expected[0], rtol=0, atol=1e-13)

    class Units:
        def standard_normal(self, shape):
            return np.eye(*shape)

    factor = draw_noise(Units(), (length, length), color)
    np.testing.assert_allclose(factor.T @ factor, expected, rtol=0, atol=1e-13)
    assert np.abs(np.tril(factor, -1)).max() == 0.0


def test_a_chirp_changes_the_frequency_linearly_about_its_mean():
    """The angle is the integral of frequency, here a sum over many short steps."""
    phase, frequency, chirp = np.array([0.3, 4.0]), np.array([1.7, 0.6]), np.array([0.5, -0.9])
    sine, cosine = sine_and_cosine(phase, frequency, 6, math.pi, chirp)
    steps = 20_000
    passed = (np.arange(5 * steps) + 0.5) / (5 * steps)
    for row in range(2):
        momentary = frequency[row] * (1.0 + chirp[row] * (passed - 0.5))
        turned = np.concatenate([[0.0], np.cumsum(momentary) * math.pi / (5 * steps)])[::steps]
        np.testing.assert_allclose(sine[row], np.sin(phase[row] + turned), rtol=0, atol=1e-9)
        np.testing.assert_allclose(cosine[row], np.cos(phase[row] + turned), rtol=0, atol=1e-9)


def test_the_in_phase_component_is_the_wave_that_math_computes_whatever_disturbs_the_input():
    windows = draw(settings(**{**ADDED, "noise_std": 0.2}))
    assert np.abs(windows["input"] - windows["in_phase"]).max() > 0.5
    for row in range(0, 1000, 37):
        for i in range(10):
            angle = windows["phase"][row] + windows["frequency"][row] * math.pi * i / 9
            expected = windows["amplitude"][row] * math.sin(angle)
            assert windows["in_phase"][row, i] == pytest.approx(expected, abs=1e-7)


def test_a_chirp_bends_both_components_alike():
    windows = draw(settings(**ALL, noise_std=0.2))
    modulus = np.hypot(windows["in_phase"], windows["target"])
    np.testing.assert_allclose(modulus, np.tile(windows["amplitude"][:, None], 10), rtol=1e-6)
    bent = draw(settings(noise_std=0.0, chirp=ALL["chirp"]))
    assert (windows["in_phase"] == bent["input"]).all()
    straight = draw(settings(noise_std=0.0))
    assert np.abs(bent["in_phase"] - straight["in_phase"]).max() > 0.1


def test_a_chirp_is_uniform_and_bends_the_target_with_the_wave():
    windows = draw(settings(noise_std=0.0, chirp=0.4, length=3, amplitude={"low": 1.0, "high": 1.0}))
    angle = np.arctan2(windows["input"], windows["target"])[:, 1]
    straight = windows["phase"] + windows["frequency"] * math.pi / 2.0
    behind = np.mod(straight - angle + np.pi, 2.0 * np.pi) - np.pi
    chirp = behind / (windows["frequency"] * math.pi / 8.0)
    assert scipy.stats.kstest(chirp, "uniform", (-0.4, 0.8)).pvalue > 1e-3
    assert abs(np.corrcoef(chirp, windows["frequency"])[0, 1]) < 0.15


def test_harmonics_follow_the_chirp_and_have_two_independent_components():
    """Twice the angle at every sample, so that the two components explain all that is added."""
    changes = {"noise_std": 0.0, "chirp": 0.8, "amplitude": {"low": 1.0, "high": 1.0}}
    clean, disturbed = draw(settings(**changes)), draw(settings(**changes, harmonics=[0.5]))
    assert (clean["target"] == disturbed["target"]).all()
    fits = np.empty((1000, 2))
    for row in range(1000):
        turn = (clean["target"][row] + 1j * clean["input"][row]) ** 2
        components = np.stack([turn.real, turn.imag], axis=1)
        added = disturbed["input"][row] - clean["input"][row]
        fits[row] = np.linalg.lstsq(components, added)[0]
        np.testing.assert_allclose(components @ fits[row], added, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.cov(fits.T), 0.25 * np.eye(2), rtol=0, atol=5.0 * 0.25 * math.sqrt(2.0 / 1000))


@pytest.mark.parametrize("block", [1, 7, 1000, 2999])
def test_neither_the_block_nor_the_size_of_the_split_changes_a_bit_of_disturbed_windows(monkeypatch, block):
    expected = draw(settings(**ALL))
    monkeypatch.setattr("quadrature.signals.waves._BLOCK", block)
    found = draw(settings(**ALL, windows={"train": 437, "validation": 1, "test": 1}))
    assert all((values == expected[name][:437]).all() for name, values in found.items())
