"""`quadrature.load`: what Python users call gives what the command gives, and refuses what has no answer."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import quadrature
from quadrature.network.model import QuadratureNetwork, initialize, predict
from quadrature.network.model_file import load_model, save_model
from quadrature.network.ranges import measure
from quadrature.runtime.errors import DataError
from tests.network.test_model import make_params
from tests.network.test_ranges import wave

LENGTH = 7


@pytest.fixture(scope="module", params=["analytic", "quadrature"])
def path(request, tmp_path_factory):
    """A model file; its ranges are those of waves that the network maps to anything."""
    network = QuadratureNetwork(make_params(output=request.param), LENGTH)
    initialize(network, 0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(network, path)
    return path


def windows_of(count):
    return np.random.default_rng(0).standard_normal((count, LENGTH)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_it_returns_the_networks_estimates_and_what_follows_from_them(path, count):
    windows = windows_of(count)
    signal = quadrature.load(str(path))(windows)
    assert all(each.shape == windows.shape and each.dtype == np.float32 for each in signal)
    if count:
        estimate = predict(load_model(path), windows, 8192)
        expected = (windows, estimate) if estimate.ndim == 2 else estimate.swapaxes(0, 1)
        assert (signal.in_phase == expected[0]).all()
        assert (signal.quadrature == expected[1]).all()
        np.testing.assert_allclose(signal.amplitude, np.hypot(*expected), rtol=1e-6)
        np.testing.assert_allclose(np.sin(signal.phase) * signal.amplitude, signal.in_phase, atol=1e-6)
        np.testing.assert_allclose(np.cos(signal.phase) * signal.amplitude, signal.quadrature, atol=1e-6)


def test_one_window_and_any_real_type_and_lists_are_windows_too(path):
    model = quadrature.load(path)
    windows = np.round(8.0 * windows_of(4))
    expected = model(windows)
    for given in (windows.astype(np.float64), windows.astype(np.int16), windows.tolist(), windows[:, ::-1][:, ::-1]):
        for found, each in zip(model(given), expected, strict=True):
            assert np.array_equal(found, each, equal_nan=True)
    for found, each in zip(model(windows[2]), expected, strict=True):
        assert found.shape == (LENGTH,)
        np.testing.assert_allclose(found, each[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("windows", "error", "words"),
    [
        (np.zeros((3, 6)), ValueError, r"windows have the shape \(3, 6\); the model reads windows of 7 samples"),
        (np.zeros(6), ValueError, r"windows have the shape \(6,\)"),
        (np.zeros((2, 2, 7)), ValueError, r"windows have the shape \(2, 2, 7\)"),
        (np.float64(1.0), ValueError, r"windows have the shape \(\)"),
        ([[0.0] * 6 + [np.nan]], ValueError, "sample 6 of window 0 is nan, not a finite number of float32"),
        ([0.0] * 6 + [1e39], ValueError, r"sample 6 of window 0 is 1e\+39, not a finite number of float32"),
        (np.ma.masked_equal(np.arange(7.0), 3.0), ValueError, "a sample is masked; fill it"),
        (np.zeros((1, 7), complex), TypeError, "windows hold complex128, not real numbers"),
        ([["0"] * 7], TypeError, "windows hold <U1, not real numbers"),
        (np.zeros((1, 7), bool), TypeError, "windows hold bool, not real numbers"),
    ],
)
def test_what_has_no_estimate_is_refused(path, windows, error, words):
    with pytest.raises(error, match=words):
        quadrature.load(path)(windows)


def test_a_file_that_is_no_model_is_refused_by_its_name(tmp_path):
    with pytest.raises(DataError, match=r"none is missing"):
        quadrature.load(tmp_path / "none")


def test_windows_that_are_unlike_those_in_training_bring_a_warning_and_others_none(tmp_path):
    network = QuadratureNetwork(make_params(output="analytic"), LENGTH)
    initialize(network, 0)
    signal = wave(1000, 1.0, 0.3, LENGTH)
    windows = signal[:, 0].astype(np.float32)
    network.ranges = measure(windows, predict(network, windows, 1000))
    save_model(network, tmp_path / "model")
    model = quadrature.load(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(windows)
    with pytest.warns(UserWarning, match=r"unlike that in training.*offset") as caught:
        model(windows + 3.0)
    assert caught[0].filename == __file__


def test_importing_the_package_imports_no_other_package_and_none_of_its_modules():
    code = "import sys, quadrature; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "pyarrow", "pydantic"} & set(found)
    assert [name for name in found if name.startswith("quadrature")] == ["quadrature"]
