"""Estimators of the analytic signal that need no training, to stand beside the network: docs/real-signals.md.

Each maps a signal, (count,), to complex numbers, quadrature + i in-phase, whose angle is the phase of the sine. `turn`
is the wave's nominal frequency in radians a sample. Where an estimator has no value yet, it returns NaN.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import optimize, signal

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


def hilbert(samples: Floats, length: int, at_end: bool) -> Complexes:
    """The Hilbert transform of each window without its mean: its last value, or its middle one."""
    windows = sliding_window_view(samples, length)
    analytic = signal.hilbert(windows - windows.mean(axis=1, keepdims=True), axis=1)
    return _placed(1j * analytic[:, -1 if at_end else length // 2], len(samples), length, at_end)


def least_squares(samples: Floats, turn: float, length: int, at_end: bool) -> Complexes:
    """Sine, cosine, constant and slope fitted to each window, at its last sample or its middle one."""
    steps = np.arange(length) - (length - 1 if at_end else length // 2)
    shapes = np.stack([np.sin(turn * steps), np.cos(turn * steps), np.ones(length), steps], axis=1)
    # amplitude * sin(phase + turn * k) = in_phase * cos(turn * k) + quadrature * sin(turn * k)
    quadrature, in_phase = np.linalg.pinv(shapes)[:2] @ sliding_window_view(samples, length).T
    return _placed(quadrature + 1j * in_phase, len(samples), length, at_end)


def sogi(samples: Floats, turn: float, gain: float = 2.0**0.5) -> Complexes:
    """The second-order generalized integrator: a band-pass, and the same a quarter turn behind it.

    M. Ciobotaru, R. Teodorescu and F. Blaabjerg, A new single-phase PLL structure based on second order generalized
    integrator, PESC 2006.
    """
    warped = 2.0 * np.tan(turn / 2.0)  # so that the digital filter's centre is the nominal frequency
    poles = [1.0, gain * warped, warped**2]
    band = signal.bilinear([gain * warped, 0.0], poles)
    behind = signal.bilinear([gain * warped**2], poles)
    return -signal.lfilter(*behind, samples) + 1j * signal.lfilter(*band, samples)


def kalman(samples: Floats, turn: float, is_smoothed: bool) -> Complexes:
    """A turning pair and a wandering constant; smoothed, it knows later samples.

    Its frequency, near the nominal one, and its noises are those of greatest likelihood for the signal.
    """
    power = np.var(samples)

    def run(logs: Floats) -> tuple[Floats, Floats, Floats, float]:
        return _filter(samples, _rotation(turn * np.exp(logs[3])), power * np.exp(logs[:3]))

    start = np.array([*np.log([1e-3, 1e-4, 1e-2]), 0.0])
    best = optimize.minimize(lambda logs: run(logs)[-1], start, method="Nelder-Mead", options={"maxfev": 150}).x
    means, covariances, predicted, _ = run(best)
    if is_smoothed:
        rotation = _rotation(turn * np.exp(best[3]))
        for k in range(len(samples) - 2, -1, -1):
            ahead = rotation @ means[k]
            gain = covariances[k] @ rotation.T @ np.linalg.inv(predicted[k + 1])
            means[k] += gain @ (means[k + 1] - ahead)
    return means[:, 1] + 1j * means[:, 0]


def _rotation(turn: float) -> Floats:
    """Returns what a sample's time does to (in-phase, quadrature, constant)."""
    sine, cosine = np.sin(turn), np.cos(turn)
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _filter(samples: Floats, rotation: Floats, variances: Floats) -> tuple[Floats, Floats, Floats, float]:
    """Returns the filter's means, covariances, predicted covariances, and minus the log likelihood."""
    pair, constant, noise = variances
    process = np.diag([pair, pair, constant])
    mean, covariance = np.array([0.0, 0.0, samples[0]]), np.var(samples) * np.eye(3)
    means, covariances, predicted, unlikelihood = [], [], [], 0.0
    for sample in samples:
        mean, covariance = rotation @ mean, rotation @ covariance @ rotation.T + process
        predicted.append(covariance)
        spread = covariance[0, 0] + covariance[2, 2] + 2.0 * covariance[0, 2] + noise
        surprise = sample - mean[0] - mean[2]
        gain = (covariance[:, 0] + covariance[:, 2]) / spread
        mean = mean + gain * surprise
        covariance = covariance - spread * np.outer(gain, gain)
        means.append(mean)
        covariances.append(covariance)
        unlikelihood += 0.5 * (np.log(spread) + surprise**2 / spread)
    return np.array(means), np.array(covariances), np.array(predicted), unlikelihood


def _placed(values: Complexes, count: int, length: int, at_end: bool) -> Complexes:
    """Returns the values of windows at the samples that they are of."""
    placed = np.full(count, np.nan + 0j)
    first = length - 1 if at_end else length // 2
    placed[first : first + len(values)] = values
    return placed
