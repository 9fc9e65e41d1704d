"""The baselines against numpy in memory, and signals whose answer is known."""

import numpy as np
import pytest
from scipy import signal
from threadpoolctl import threadpool_limits

from quadrature.scoring.baselines import LeastSquares, hilbert, zero


def make_windows(count, length=10, noise_std=0.1, seed=0, frequency=(0.5, 2.0)):
    """Returns windows, (count, length), and their components, (count, 2, length)."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0.0, 2 * np.pi, (count, 1)) + rng.uniform(*frequency, (count, 1)) * np.linspace(
        0, np.pi, length
    )
    noise = noise_std * rng.standard_normal(angle.shape)
    return (np.sin(angle) + noise).astype(np.float32), np.stack([np.sin(angle), np.cos(angle)], 1).astype(np.float32)


def test_zero_is_zero_for_every_sample():
    windows, _ = make_windows(5)
    assert zero(windows).shape == (5, 2, 10)
    assert not zero(windows).any()


def test_the_sines_hilbert_transform_is_minus_the_cosine():
    """Exact on whole periods: the discrete transform treats every window as periodic."""
    angle = 2.0 * np.pi * np.arange(16) / 16
    for turns in (1, 3, 7):
        for phase in (0.0, 1.0):
            estimate = hilbert(np.sin(turns * angle + phase)[None])
            expected = np.stack([np.sin(turns * angle + phase), np.cos(turns * angle + phase)])
            np.testing.assert_allclose(estimate[0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("length", [2, 3, 10, 11, 64, 2048])
def test_the_hilbert_transform_is_scipys_to_the_bit(length):
    windows = np.random.default_rng(length).standard_normal((50, length)).astype(np.float32)
    analytic = signal.hilbert(windows.astype(np.float64), axis=1)  # its angle is a quarter turn less
    np.testing.assert_allclose(hilbert(windows)[:, 0], analytic.real, rtol=0, atol=1e-12)
    assert (hilbert(windows)[:, 1] == -analytic.imag).all()


@pytest.mark.parametrize("parts", [[1000], [1, 4, 995], [400, 400, 200]])
def test_least_squares_in_parts_is_lstsq_in_memory(parts):
    windows, target = make_windows(1000)
    line = LeastSquares(10)
    for start, count in zip(np.cumsum([0, *parts]), parts, strict=False):
        line.add(windows[start : start + count], target[start : start + count])
    design = np.concatenate([np.ones((1000, 1)), windows.astype(np.float64)], axis=1)
    coefficients = np.linalg.lstsq(design, target.reshape(1000, 20).astype(np.float64))[0]
    unseen, _ = make_windows(50, seed=1)
    expected = (coefficients[0] + unseen.astype(np.float64) @ coefficients[1:]).reshape(50, 2, 10)
    np.testing.assert_allclose(line.estimate(unseen), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2.0**-90, 2.0**90, 1e-12, 1e6])
def test_least_squares_is_the_same_map_in_any_unit(scale):
    windows, target = (part.astype(np.float64) for part in make_windows(1000))
    line, scaled = LeastSquares(10), LeastSquares(10, scale)
    line.add(windows, target + 1.0)
    scaled.add(scale * windows, scale * (target + 1.0))
    np.testing.assert_allclose(scaled.estimate(scale * windows) / scale, line.estimate(windows), rtol=0, atol=1e-12)


def test_least_squares_has_an_intercept():
    line = LeastSquares(4)
    rng = np.random.default_rng(0)
    windows = rng.standard_normal((100, 4))
    turned = 3.0 - windows[:, None, ::-1]  # of one component: the in-phase component need not be known
    line.add(windows, turned)
    np.testing.assert_allclose(line.estimate(windows), turned, rtol=0, atol=1e-12)


def test_windows_that_do_not_determine_the_line_get_the_smallest_coefficients():
    """The article's set: a sine and its negative, so the inputs span a single direction."""
    angle = np.linspace(0.0, np.pi, 10)
    windows, cosines = (np.stack([wave, -wave] * 50) for wave in (np.sin(angle), np.cos(angle)))
    target = np.stack([windows, cosines], axis=1)
    line = LeastSquares(10)
    line.add(windows, target)
    np.testing.assert_allclose(line.estimate(windows), target, rtol=0, atol=1e-14)
    across = np.linspace(-1.0, 1.0, 10)  # odd about the middle where the sine is even, so at right angles to it
    np.testing.assert_allclose(line.estimate(across[None]), 0.0, rtol=0, atol=1e-14)


def test_fewer_windows_than_coefficients_are_fitted_exactly():
    windows, target = make_windows(4)
    line = LeastSquares(10)
    line.add(windows, target)
    np.testing.assert_allclose(line.estimate(windows), target, rtol=0, atol=1e-6)


def test_a_known_frequency_without_noise_leaves_float32s_rounding():
    line = LeastSquares(10)
    line.add(*make_windows(5000, noise_std=0.0, frequency=(1.0, 1.0)))
    unseen, target = make_windows(500, noise_std=0.0, frequency=(1.0, 1.0), seed=1)
    assert np.square(line.estimate(unseen) - target).mean() < 2e-15


@pytest.mark.slow
def test_least_squares_bits_do_not_depend_on_the_threads_at_hand():
    windows, target = make_windows(20_000, length=40)

    def bits(threads):
        with threadpool_limits(threads, "blas"):
            line = LeastSquares(40)
            line.add(windows, target)
            return line.estimate(windows).tobytes()

    assert bits(1) == bits(2)
