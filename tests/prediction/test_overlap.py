"""A signal cut into windows and put together again, compared with a plain loop over the windows."""

import functools
import operator

import numpy as np
import pytest

from quadrature.prediction.overlap import Overlap, ShortSignalError
from quadrature.runtime.errors import ParameterError
from tests.prediction.running import run

LENGTH = 10


def starts_of(samples, hop):
    """Returns the starts of the windows; the last window ends where the signal ends."""
    starts = list(range(0, samples - LENGTH + 1, hop))
    return starts if starts[-1] == samples - LENGTH else [*starts, samples - LENGTH]


def averaged(windows, starts, samples):
    """Returns the mean of each sample's estimates, added one by one, as reference.

    `sum` is of no use: from Python 3.12 on it compensates for rounding.
    """
    found = [[] for _ in range(samples)]
    for start, window in zip(starts, windows, strict=True):
        for position, value in enumerate(window):
            found[start + position].append(float(value))
    return np.array([functools.reduce(operator.add, values) / len(values) for values in found]).astype(np.float32)


def follow(signal, hop, pieces, multiple, estimate):
    """Pushes a signal in pieces. Returns all windows taken, and the components popped, (2, count)."""
    overlap = Overlap(LENGTH, hop)
    windows, popped = [], []
    for piece in [*np.split(signal, pieces), None]:
        if piece is None:
            overlap.end()
        else:
            overlap.push(piece)
        taken = overlap.take(multiple)
        assert piece is None or len(taken) % multiple == 0
        overlap.put(estimate(taken))
        windows.append(taken)
        popped.append(overlap.pop())
    estimates, known = (np.concatenate(parts, axis=-1) for parts in zip(*popped, strict=True))
    assert known.all()
    return np.concatenate(windows), estimates


@pytest.mark.parametrize("hop", [1, 3, LENGTH - 1, LENGTH])
@pytest.mark.parametrize("count", [10, 11, 19, 20, 21, 30, 97])
@pytest.mark.parametrize("pieces", [[], [5, 9, 40], list(range(97))])
def test_the_windows_and_the_means_are_those_of_a_plain_loop_however_the_signal_comes(hop, count, pieces):
    rng = np.random.default_rng(count)
    signal = rng.standard_normal(count).astype(np.float32)
    weights = rng.standard_normal((2, LENGTH, LENGTH)).astype(np.float32)

    def estimate(windows):  # row by row, so that a window's bits do not depend on the other windows
        return np.array([weights @ window for window in windows], np.float32).reshape(-1, 2, LENGTH)

    starts = starts_of(count, hop)
    expected = np.array([signal[start : start + LENGTH] for start in starts])
    for multiple in (1, 4):
        windows, found = follow(signal, hop, [at for at in pieces if at < count], multiple, estimate)
        assert np.array_equal(windows, expected)
        for component in range(2):
            assert np.array_equal(found[component], averaged(estimate(expected)[:, component], starts, count))


@pytest.mark.parametrize(("at", "position"), [("middle", LENGTH // 2), ("end", LENGTH - 1)])
@pytest.mark.parametrize("hop", [1, 4])
def test_the_middle_or_the_end_of_a_window_alone_can_be_its_samples_estimate(at, position, hop):
    signal = np.random.default_rng(0).standard_normal(45).astype(np.float32)
    overlap = Overlap(LENGTH, hop, at)
    popped = []
    for piece in [*np.split(signal, [7, 30]), None]:
        overlap.end() if piece is None else overlap.push(piece)
        taken = overlap.take(1)
        overlap.put(np.stack([taken, 2.0 * taken], axis=1) + np.arange(LENGTH))
        popped.append(overlap.pop())
    estimates, known = (np.concatenate(parts, axis=-1) for parts in zip(*popped, strict=True))
    starts = starts_of(45, hop)
    assert np.flatnonzero(known).tolist() == [start + position for start in starts]
    for component, factor in enumerate((1.0, 2.0)):
        np.testing.assert_allclose(estimates[component][known], factor * signal[known] + position, rtol=1e-6)


@pytest.mark.parametrize("options", [(), ("--hop", 2), ("--hop", LENGTH)])
@pytest.mark.parametrize("at", ["mean", "middle", "end"])
def test_a_place_in_a_window_needs_a_window_for_each_sample(model, tmp_path, options, at):
    with pytest.raises(ParameterError, match=f"--at {at} needs a window for each sample of a signal; give --hop 1"):
        run(model, tmp_path / "in.csv", tmp_path / "out.csv", *options, "--at", at)


def test_estimates_are_added_in_the_order_of_their_windows_however_the_signal_comes():
    """The sum of these numbers depends on their order."""
    drawn = np.random.default_rng(0).choice(np.array([1e30, -1e30, 1.0], np.float32), (33, 2, LENGTH))
    for pieces in ([], [20], list(range(42))):
        left = iter(drawn)
        windows, found = follow(
            np.zeros(42, np.float32),
            1,
            pieces,
            1,
            lambda taken: np.array([next(left) for _ in taken]).reshape(-1, 2, LENGTH),  # noqa: B023
        )
        assert len(windows) == len(drawn)
        for component in range(2):
            assert np.array_equal(found[component], averaged(drawn[:, component], range(33), 42))


def test_windows_that_return_themselves_give_back_the_signal():
    signal = np.random.default_rng(0).standard_normal(57).astype(np.float32)
    for hop in range(1, LENGTH + 1):
        _, found = follow(signal, hop, [20, 33], 3, lambda windows: np.stack([windows, -2.0 * windows], axis=1))
        assert np.array_equal(found, [signal, -2.0 * signal])  # the mean of equal numbers is the number


def test_a_signal_shorter_than_a_window_is_refused():
    overlap = Overlap(LENGTH, 3)
    overlap.push(np.zeros(9, np.float32))
    with pytest.raises(ShortSignalError, match="a signal of 9 samples; the model reads windows of 10"):
        overlap.end()


def test_no_more_is_held_than_windows_to_come_may_reach():
    overlap = Overlap(LENGTH, 2)
    for _ in range(50):
        overlap.push(np.zeros(100, np.float32))
        windows = overlap.take(16)
        overlap.put(np.stack([windows, windows], axis=1))
        overlap.pop()
        assert len(overlap._samples) == overlap._sums.shape[1] == len(overlap._counts) <= 16 * 2 + LENGTH
