"""A signal that is not like the training windows is said to be so, with figures; one that is like them passes."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quadrature.network.model import predict
from quadrature.network.model_file import load_model, save_model
from quadrature.network.ranges import measure
from quadrature.prediction.likeness import Likeness
from tests.network.test_ranges import wave
from tests.prediction.running import fixed, run

NOISE = 0.1


def windows_of(signal, offset=0.0, noise=NOISE, seed=2):
    return signal[:, 0] + offset + noise * np.random.default_rng(seed).standard_normal(signal[:, 0].shape)


@pytest.fixture(scope="module")
def ranges():
    signal = np.concatenate([wave(4000, amplitude, 0.3) for amplitude in (0.9, 1.0, 1.1)])
    return measure(windows_of(signal), signal)


def said(ranges, windows, signal):
    """Returns the sentence, the windows being added in parts."""
    likeness = Likeness(ranges)
    for part in np.array_split(np.arange(len(windows)), 3):
        likeness.add(windows[part], signal[part])
    return likeness.describe()


@pytest.mark.parametrize("count", [0, 1, 10, 1000])
def test_windows_like_those_in_training_pass_in_silence(ranges, count):
    signal = wave(count, 1.0, 0.3)
    assert said(ranges, windows_of(signal, seed=3), signal) is None


def test_a_narrow_range_has_some_slack_for_rounding():
    """Waves without noise at one frequency: the ranges are as narrow as float64's rounding."""
    signal = wave(4000, 1.0, 0.3)
    ranges = measure(signal[:, 0], signal)
    other = wave(1000, 1.009, 0.3).astype(np.float32)
    assert said(ranges, other[:, 0], other) is None
    other = wave(1000, 1.011, 0.3)
    assert "amplitude of 1.01 on average" in said(ranges, other[:, 0], other)


def test_less_noise_does_no_harm(ranges):
    signal = wave(1000, 1.0, 0.3)
    assert said(ranges, windows_of(signal, noise=0.0), signal) is None


@pytest.mark.parametrize(
    ("amplitude", "frequency", "beside", "words"),
    [
        (1.0, 0.3, {"offset": 0.3}, "offset of 0.3"),
        (1.0, 0.3, {"noise": 0.3}, "noise of 0.2"),
        (2.0, 0.3, {}, "amplitude of 2 on average in 100% of the windows"),
        (0.2, 0.3, {}, "amplitude of 0.2 on average in 100% of the windows"),
        (1.0, 0.9, {}, "frequency of 0.9 on average in 100% of the windows (0.297 to 0.303)"),
    ],
)
def test_what_differs_is_named_with_its_mean_its_share_and_its_range(ranges, amplitude, frequency, beside, words):
    signal = wave(1000, amplitude, frequency)
    sentence = said(ranges, windows_of(signal, **beside), signal)
    assert sentence.startswith("the signal is unlike that in training, so estimates may be wrong: " + words), sentence
    assert "\n" not in sentence


def test_of_several_the_one_in_most_windows_comes_first(ranges):
    signal = wave(1000, 2.0, 0.3)
    signal[:900] /= 2.0
    sentence = said(ranges, windows_of(signal, offset=0.3), signal)
    assert 0 < sentence.index("offset") < sentence.index("amplitude of 2 on average in 10% of the windows")


@pytest.mark.parametrize(("count", "warned"), [(0, False), (1, True), (2, True), (52, True)])
def test_windows_that_all_differ_are_told_be_it_a_single_one(ranges, count, warned):
    signal = wave(count, 2.0, 0.3)
    assert (said(ranges, windows_of(signal), signal) is not None) == warned


def test_one_window_of_a_few_is_chance(ranges):
    signal = wave(10, 1.0, 0.3)
    signal[0] *= 2.0
    assert said(ranges, windows_of(signal), signal) is None


def test_a_few_windows_of_many_are_chance(ranges):
    signal = wave(1000, 1.0, 0.3)
    signal[:49] *= 2.0
    assert said(ranges, windows_of(signal), signal) is None
    signal[49:52] *= 2.0
    assert "in 5% of the windows" in said(ranges, windows_of(signal), signal)


def test_a_model_from_an_older_file_has_no_ranges_and_says_nothing():
    signal = wave(100, 7.0, 0.3)
    assert said(None, windows_of(signal), signal) is None


@pytest.mark.parametrize("way", ["windows", "signal", "gaps", "folder"])
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_the_command_warns_once_whatever_it_reads(model, windows, tmp_path, caplog, way, offset):
    """The windows of a gap do not count."""
    network = load_model(model)
    network.ranges = measure(windows, predict(network, windows, 1000))
    save_model(network, tmp_path / "model")
    given = windows + np.float32(offset)
    source, output, options = tmp_path / "part-0.parquet", tmp_path / "estimates.parquet", []
    columns = {"input": fixed(given)}
    if way == "signal":
        columns, options = {"input": given.ravel()}, ["--hop", 10]
    elif way == "gaps":
        rows = given.astype(object)
        rows[::2, 3] = None
        columns, options = {"input": pa.array(rows.tolist(), pa.list_(pa.float32(), 10))}, ["--gaps", "null"]
    pq.write_table(pa.table(columns), source)
    if way == "folder":
        (tmp_path / "folder").mkdir()
        for number in range(3):
            (tmp_path / "folder" / f"part-{number}.parquet").write_bytes(source.read_bytes())
        source, output = tmp_path / "folder", tmp_path / "estimates"
    run(tmp_path / "model", source, output, *options)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * bool(offset)
    assert not offset or "the signal is unlike that in training" in caplog.text
    assert output.exists()


def test_a_channel_that_differs_is_named_and_no_other(model, windows, tmp_path, caplog):
    network = load_model(model)
    network.ranges = measure(windows, predict(network, windows, 1000))
    save_model(network, tmp_path / "model")
    names = [f"c{number}" for number in range(25)]
    columns = {name: windows[:100].ravel() + np.float32(5.0 * (name == "c7")) for name in names}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    options = [word for name in names for word in ("--column", name)]
    run(tmp_path / "model", tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", 10, *options)
    (record,) = caplog.records
    assert record.getMessage().startswith("channel c7: the signal is unlike that in training")
