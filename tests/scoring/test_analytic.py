"""Errors of in-phase component, amplitude and phase, against direct computation and known answers."""

import math

import numpy as np
import pytest

from quadrature.scoring.analytic import LEAST_AMPLITUDE, AnalyticScore
from quadrature.scoring.scores import BASELINES, Scores


def components(amplitude, phase):
    """Returns the analytic signal, (count, 2, length), of amplitude and phase, both (count, length)."""
    return np.stack([amplitude * np.sin(phase), amplitude * np.cos(phase)], axis=1)


def figures(estimate, truth, scale=1.0):
    score = AnalyticScore(scale)
    score.add(estimate, truth)
    return score.figures()


def test_they_are_those_of_a_plain_computation_however_the_windows_are_divided():
    rng = np.random.default_rng(0)
    estimate, truth = rng.standard_normal((2, 100, 2, 10)).astype(np.float32)
    score = AnalyticScore()
    for start in range(0, 100, 30):
        score.add(estimate[start : start + 30], truth[start : start + 30])
    found, true = (np.angle(each[:, 1] + 1j * each[:, 0]) for each in (estimate.astype(float), truth.astype(float)))
    turn = np.rad2deg(np.mod(found - true + np.pi, 2.0 * np.pi) - np.pi)
    size, expected = (np.linalg.norm(each.astype(float), axis=1) for each in (estimate, truth))
    assert score.figures() == pytest.approx(
        {
            "in_phase_mse": np.square(estimate[:, 0].astype(float) - truth[:, 0]).mean(),
            "amplitude_rmse": math.sqrt(np.square(size - expected).mean()),
            "phase_rmse_degrees": math.sqrt(np.square(turn).mean()),
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("turn", [-179.0, -90.0, -1e-3, 0.0, 5.29, 180.0])
def test_a_phase_that_is_off_by_so_many_degrees_is_off_by_that_wherever_the_turn_begins(turn):
    phase = np.linspace(-10.0, 10.0, 700).reshape(70, 10)
    amplitude = np.full(phase.shape, 0.7)
    found = figures(components(1.5 * amplitude, phase + math.radians(turn)), components(amplitude, phase))
    assert found["phase_rmse_degrees"] == pytest.approx(abs(turn), rel=1e-9, abs=1e-9)
    assert found["amplitude_rmse"] == pytest.approx(0.35)


def test_a_phase_counts_where_the_true_wave_is_not_tiny_beside_the_scale():
    phase = np.zeros((1, 2))
    for scale in (1.0, 1e-12, 1e6):
        amplitude = scale * LEAST_AMPLITUDE * np.array([[0.99, 1.01]])
        estimate = components(amplitude, phase + np.array([[1.0, 0.5]]))
        found = figures(estimate, components(amplitude, phase), scale)
        assert found["phase_rmse_degrees"] == pytest.approx(math.degrees(0.5))


def test_an_estimate_of_zero_has_no_phase():
    truth = components(np.ones((3, 4)), np.ones((3, 4)))
    found = figures(np.zeros((3, 2, 4)), truth)
    assert found["phase_rmse_degrees"] is None
    assert found["amplitude_rmse"] == pytest.approx(1.0)


def test_windows_without_an_estimate_are_left_out():
    truth = components(np.ones((3, 4)), np.ones((3, 4)))
    estimate = truth.copy()
    estimate[1] = np.nan
    estimate[2] *= 2.0
    assert figures(estimate, truth)["amplitude_rmse"] == pytest.approx(math.sqrt(0.5))
    assert set(figures(np.full((3, 2, 4), np.nan), truth).values()) == {None}


@pytest.mark.parametrize("known", [True, False])
def test_where_the_in_phase_component_is_not_known_its_figures_are_none(known):
    """As with windows of one's own."""
    rng = np.random.default_rng(1)
    shard = {"target": rng.standard_normal((5, 4)), "in_phase": rng.standard_normal((5, 4))}
    scores = Scores(("in_phase", "target") if known else ("target",), 1.0)
    estimates = {name: rng.standard_normal((5, 2, 4)) for name in ("prediction", "posterior_mean", *BASELINES)}
    scores.add(estimates, shard)
    error = estimates["prediction"][:, 1] - shard["target"]
    assert scores.quadrature["prediction"].mse == pytest.approx(np.square(error).mean())
    assert all((figure is not None) == known for figure in scores.analytic["prediction"].figures().values())
    by_figure = scores.baselines()
    assert set(by_figure) == {f"baselines_{name}" for name in ("in_phase_mse", "amplitude_rmse", "phase_rmse_degrees")}
    assert all((figure is not None) == known for each in by_figure.values() for figure in each.values())
    scores.withdraw_floor()
    assert set(scores.analytic["posterior_mean"].figures().values()) == {None}
    assert scores.excess.figures()["floor_mse"] is None
