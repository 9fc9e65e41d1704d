"""The tracker compared with the network on the whole signal; samples and networks it refuses."""

import numpy as np
import pytest
import torch

from quadrature.prediction.tracker import Tracker
from tests.network.test_model import make_network


def make_signal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


OUTPUTS = pytest.mark.parametrize("output", ["analytic", "quadrature"])


@OUTPUTS
@pytest.mark.parametrize("execution", ["sequence", "stepwise"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize(
    ("cell", "nonlinearity"), [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
)
def test_sample_by_sample_it_returns_what_the_network_makes_of_the_whole(
    cell, nonlinearity, num_layers, bias, execution, output
):
    changes = {"cell": cell, "nonlinearity": nonlinearity, "num_layers": num_layers, "bias": bias}
    network = make_network(**changes, execution=execution, head="every", output=output)
    signal = make_signal(200)
    tracker = Tracker(network)
    estimates = [tracker.update(sample) for sample in signal]
    assert {estimate.shape for estimate in estimates} == {(2,) if output == "analytic" else ()}
    with torch.no_grad():
        whole = network(torch.tensor(signal).reshape(1, 200, 1))[0]
    np.testing.assert_allclose(np.stack(estimates, axis=-1), whole, rtol=1e-5, atol=1e-5)


@OUTPUTS
@pytest.mark.parametrize("scale", [1e-12, 325.0])
def test_samples_and_estimates_are_in_the_signals_unit(scale, output):
    network, signal = make_network(head="every", output=output), make_signal(50)
    tracker = Tracker(network)
    expected = [tracker.update(sample) for sample in signal]
    network.scale = scale
    tracker = Tracker(network)
    estimates = [tracker.update(scale * sample) for sample in signal]
    assert {(type(estimate), estimate.shape, estimate.dtype.name) for estimate in estimates} == {
        (np.ndarray, (2,) if output == "analytic" else (), "float32")
    }
    np.testing.assert_allclose(np.array(estimates, float) / scale, expected, rtol=0, atol=1e-6)


@OUTPUTS
def test_channels_are_tracked_side_by_side(output):
    network = make_network(head="every", output=output)
    signals = make_signal(50, 3)
    together = Tracker(network)
    estimates = np.array([together.update(samples) for samples in signals])
    assert estimates.shape == ((50, 2, 3) if output == "analytic" else (50, 3))
    for channel in range(3):
        alone = Tracker(network)
        expected = [alone.update(sample) for sample in signals[:, channel]]
        np.testing.assert_allclose(estimates[..., channel], expected, rtol=0, atol=1e-6)


def test_reset_begins_another_signal():
    tracker = Tracker(make_network(head="every", output="analytic"))
    first = [tracker.update(sample).tolist() for sample in make_signal(5)]
    assert tracker.update(make_signal(5)[0]).tolist() != first[0]
    tracker.reset()
    assert [tracker.update(sample).tolist() for sample in make_signal(5)] == first
    tracker.reset()
    assert tracker.update([0.1, 0.2, 0.3]).shape == (2, 3)


def test_a_refused_sample_leaves_the_state_as_it_was():
    signal = make_signal(6)
    interrupted, undisturbed = (Tracker(make_network(head="every", output="analytic")) for _ in range(2))
    for sample in signal[:3]:
        assert np.array_equal(interrupted.update(sample), undisturbed.update(sample))
    for sample in (np.nan, np.inf, -np.inf, [1.0, 2.0], [[1.0]]):
        with pytest.raises(
            ValueError, match=r"^a sample (is not finite; leave it out|has the shape .* reset first|has .* a number)"
        ):
            interrupted.update(sample)
    for sample in signal[3:]:
        assert np.array_equal(interrupted.update(sample), undisturbed.update(sample))


def test_a_sample_of_two_axes_is_refused():
    with pytest.raises(ValueError, match="give a number, or a number for each channel"):
        Tracker(make_network(head="every", output="analytic")).update([[1.0]])


def test_it_keeps_the_weights_it_was_made_of():
    network = make_network(head="every", output="analytic")
    tracker, again = Tracker(network), Tracker(network)
    before = tracker.update(0.3)
    with torch.no_grad():
        network.linear.bias += 1.0
    assert np.array_equal(again.update(0.3), before)
    assert Tracker(network).update(0.3) == pytest.approx(before + 1.0)


@pytest.mark.parametrize("changes", [{"head": "last"}, {"head": "every", "bidirectional": True}])
def test_a_network_that_waits_for_the_windows_end_is_refused_by_name(changes):
    with pytest.raises(ValueError, match=r"a tracker needs a network with (head every|one direction)$"):
        Tracker(make_network(**changes, output="analytic"))
