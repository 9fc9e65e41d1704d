"""The animation: one frame for each snapshot, with its estimates; the same bytes every time; a small file."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from quadrature.plotting.animation import FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS, training
from quadrature.plotting.time_axis import TimeAxis
from tests.checkout import PROJECT
from tests.signals.test_waves import settings

AXIS = TimeAxis.of(settings())
ORANGE = (0xDD, 0x66, 0x00)  # the colour of the estimates in a palette of 16 shades


def make_snapshots(steps=(0, 1, 3, 10, 32), windows=3, length=10):
    """Estimates that rise from far below the target to it."""
    rng = np.random.default_rng(0)
    inputs, target = rng.uniform(-1, 1, (2, windows, length)).astype(np.float32)
    return {
        "step": np.repeat(np.array(steps, float), windows),
        "input": np.tile(inputs, (len(steps), 1)),
        "target": np.tile(target, (len(steps), 1)),
        "prediction": np.concatenate([target - 0.2 * (len(steps) - 1 - k) for k in range(len(steps))]),
    }


def frames(content):
    image = Image.open(io.BytesIO(content))
    return image, [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


@pytest.mark.slow
def test_it_has_a_frame_a_snapshot_and_repeats_for_ever():
    image, shown = frames(training(make_snapshots(), AXIS))
    assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 5, 0)
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert durations == [FRAME_MILLISECONDS] * 4 + [LAST_FRAME_MILLISECONDS]
    assert len({frame.tobytes() for frame in shown}) == 5
    assert all((frame[0, 0] == 255).all() for frame in shown)


@pytest.mark.slow
def test_each_frame_shows_its_own_estimates():
    """The orange lines rise from frame to frame, as the estimates do; two windows have one row of panels."""
    _, shown = frames(training(make_snapshots(windows=2), AXIS))
    heights = []
    for frame in shown:
        rows, _ = np.nonzero((frame[: frame.shape[0] * 4 // 5] == ORANGE).all(axis=2))  # above the legend
        assert len(rows) > 50
        heights.append(rows.mean())
    assert heights == sorted(heights, reverse=True)
    assert heights[0] - heights[-1] > 20


@pytest.mark.slow
def test_it_draws_any_number_of_windows_and_errors_of_any_size():
    for windows in (1, 6):
        snapshots = make_snapshots(steps=(0, 10**6), windows=windows)
        snapshots["prediction"] *= 1e6
        image, _ = frames(training(snapshots, AXIS))
        assert 500 <= image.width <= 1500


@pytest.mark.slow
def test_the_same_snapshots_give_the_same_bytes_in_every_process_whatever_the_users_settings(tmp_path):
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 33\naxes.facecolor: red\n")
    program = (
        "import sys; from quadrature.plotting.animation import training;"
        "from tests.plotting.test_animation import AXIS, make_snapshots;"
        "sys.stdout.buffer.write(training(make_snapshots(steps=(0, 10)), AXIS))"
    )
    command = [sys.executable, "-c", program]
    variables = {"MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "5", "PATH": "/usr/bin"}
    told = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, check=True)
    assert told.stdout == training(make_snapshots(steps=(0, 10)), AXIS)


@pytest.mark.committed_results
def test_the_committed_animation_is_small_and_shows_the_whole_of_training():
    content = (PROJECT / "metrics/plots/training.gif").read_bytes()
    image, _ = frames(content)
    assert len(content) < 2_000_000
    assert image.n_frames > 20
