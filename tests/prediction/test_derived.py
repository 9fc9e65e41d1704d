"""Amplitude, phase and frequency: of exact waves, against scipy and complex numbers, and as the command's columns."""

import cmath
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from scipy.signal import hilbert

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams
from quadrature.prediction import estimates
from quadrature.prediction.added_columns import HERTZ, OUTPUTS
from quadrature.prediction.derived import Held, as_complex, frequency, phase
from quadrature.runtime.errors import DataError
from tests.prediction.running import LENGTH, PARAMS, fixed, read, run

PI = float(np.float32(np.pi))
HEIGHTS = (0.0, -0.0, 1e-45, -1e-45, 1e-30, -1e-30, 1.0, -1.0)


def apart(first, second):
    """Returns the distance of two angles on the circle."""
    return abs(math.remainder(first - second, 2.0 * math.pi))


def assert_derived(in_phase, quadrature, amplitude, phase, frequency):
    """Compares the values of a signal, or of a window, lists with None for null, with plain complex arithmetic."""
    signal = [None if s is None else complex(c, s) for s, c in zip(in_phase, quadrature, strict=True)]
    for at, value in enumerate(signal):
        if value is None:
            assert (amplitude[at], phase[at], frequency[at]) == (None, None, None)
            continue
        assert amplitude[at] == pytest.approx(abs(value), rel=1e-6)
        assert apart(phase[at], cmath.phase(value)) < 1e-6
        before, after = (signal[near] if 0 <= near < len(signal) else None for near in (at - 1, at + 1))
        total = (0 if before is None else value * before.conjugate()) + (after or 0) * value.conjugate()
        assert (frequency[at] is None) == (total == 0)
        assert frequency[at] is None or apart(frequency[at], cmath.phase(total)) < 1e-6
        assert all(angle is None or -PI < angle <= PI for angle in (phase[at], frequency[at]))


def wave(advance, count=100, start=0.0):
    """Returns the in-phase and the quadrature component of a wave, (2, count), and its phase at each sample."""
    angle = start + advance * np.arange(count)
    return np.array([np.sin(angle), np.cos(angle)], np.float32), angle


@pytest.mark.parametrize("sine", HEIGHTS)
@pytest.mark.parametrize("cosine", HEIGHTS)
def test_the_phase_is_the_angle_inside_minus_pi_to_pi(sine, cosine):
    components = np.array([[sine], [cosine]], np.float32)
    (found,) = phase(*components).tolist()
    assert -PI < found <= PI
    assert apart(found, math.atan2(*components.astype(float).ravel().tolist())) < 2e-7


def test_half_a_turn_has_one_name():
    """Zeros of either sign, and angles that float32 rounds to half a turn, give pi, never minus pi."""
    sines = np.array([0.0, -0.0, 1e-30, -1e-30], np.float32)
    assert phase(sines, np.full(4, -1.0, np.float32)).tolist() == [PI] * 4
    for sign in (0.0, -0.0):
        signal = as_complex(np.array([0.0, sign, 0.0]), np.array([1.0, -1.0, 1.0]))
        assert frequency(signal).tolist() == [PI] * 3


@pytest.mark.parametrize("advance", [1e-3, 0.35, math.pi / 2, 3.0, math.pi - 1e-3, -0.35, 1e-3 - math.pi])
@pytest.mark.parametrize("amplitude", [1e-20, 1.0, 1e30])
def test_the_frequency_of_a_wave_is_its_advance_at_every_sample(advance, amplitude):
    components, angle = wave(advance, start=1.0)
    components *= np.float32(amplitude)
    assert frequency(as_complex(*components)).tolist() == pytest.approx([advance] * 100, abs=3e-7)
    assert all(apart(*pair) < 3e-7 for pair in zip(phase(*components).tolist(), angle.tolist(), strict=True))


def test_the_phase_is_a_quarter_turn_ahead_of_that_of_scipys_analytic_signal():
    """scipy's is the angle of x + i H(x): 0 where a wave is highest, as a cosine's; ours is 0 where a sine rises."""
    angle = 2.0 * np.pi * 40.0 * np.arange(2000) / 2000  # whole periods, of which scipy's transform is exact
    theirs = hilbert(np.sin(angle))
    found = phase(np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32))
    turn = np.remainder(found - np.angle(theirs) - np.pi / 2.0 + np.pi, 2.0 * np.pi) - np.pi
    assert np.abs(turn).max() < 1e-6
    z = as_complex(np.sin(angle), np.cos(angle))
    np.testing.assert_allclose(theirs, -1j * z, rtol=0, atol=1e-12)
    advance = np.diff(np.unwrap(np.angle(theirs)))
    np.testing.assert_allclose(frequency(z)[1:-1], (advance[1:] + advance[:-1]) / 2.0, rtol=0, atol=1e-6)


def test_a_sample_without_a_neighbour_with_an_estimate_has_no_frequency():
    components, _ = wave(0.5, 9)
    components[:, [2, 3, 5, 8]] = np.nan
    assert np.isnan(frequency(as_complex(*components))).tolist() == [at in {2, 3, 4, 5, 8} for at in range(9)]
    found = frequency(as_complex(*components))
    assert found[[0, 1, 6, 7]].tolist() == pytest.approx([0.5] * 4)
    for count in (0, 1):
        assert np.isnan(frequency(as_complex(*wave(0.5, count)[0]))).tolist() == [True] * count
    assert np.isnan(frequency(np.ones((4, 1), np.complex128))).all()
    assert np.isnan(frequency(np.array([1.0, 0.0, 1.0], np.complex128))).all()  # amplitude 0 has no phase


def test_the_weaker_neighbour_counts_less():
    """The angle of a sum of products, not the mean of two angles: an advance of 0.2, then of 0.4, a tenth as high."""
    signal = np.array([1.0, np.exp(0.2j), 0.1 * np.exp(0.6j)])
    assert frequency(signal)[1] == pytest.approx(cmath.phase(cmath.exp(0.2j) + 0.1 * cmath.exp(0.4j)))
    assert frequency(signal)[1] < 0.22


@pytest.mark.parametrize("count", [*range(12), 50, 51])
def test_a_signal_in_parts_of_any_size_gives_what_it_gives_at_once(count):
    rng = np.random.default_rng(count)
    components, known = rng.standard_normal((2, count)).astype(np.float32), rng.random(count) < 0.8
    held, pieces = Held(), np.sort(rng.integers(0, count + 1, rng.integers(0, 40)))
    parts = [*zip(np.split(components, pieces, axis=1), np.split(known, pieces), strict=True)]
    found = [held.push(*part, is_end=False) for part in parts]
    for part, (returned, _, _) in zip(np.cumsum([part[1].size for part in parts]), found, strict=True):
        assert returned.shape[1] <= part
        assert held._components.shape[1] <= 2
    found.append(held.push(np.empty((2, 0), np.float32), np.empty(0, np.bool_), is_end=True))
    whole = [np.concatenate(each, axis=-1) for each in zip(*found, strict=True)]
    assert np.array_equal(whole[0], components)
    assert np.array_equal(whole[2], known)
    expected = frequency(as_complex(*np.where(known, components, np.float32(np.nan))))
    assert np.array_equal(whole[1], expected, equal_nan=True)


@pytest.mark.parametrize("output", ["analytic", "quadrature"])
def test_windows_and_signals_have_the_same_derived_values(models, windows, tmp_path, monkeypatch, output):
    """With a hop of a window's length each sample is in one window, whose ends have a neighbour more in a signal."""
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 300)
    pq.write_table(pa.table({"input": fixed(windows[:300])}), tmp_path / "windows.parquet")
    pq.write_table(pa.table({"input": windows[:300].ravel()}), tmp_path / "signal.parquet")
    run(models[output], tmp_path / "windows.parquet", tmp_path / "a.parquet", "--batch-size", 10)
    run(models[output], tmp_path / "signal.parquet", tmp_path / "b.parquet", "--batch-size", 10, "--hop", LENGTH)
    found, signal = read(tmp_path / "a.parquet"), read(tmp_path / "b.parquet")
    for name in OUTPUTS:
        inside = slice(1, -1) if name == "frequency" else slice(None)
        assert np.array_equal(found[name][:, inside], signal[name].reshape(-1, LENGTH)[:, inside])
    assert_derived(*(signal[name].tolist() for name in OUTPUTS if name != "prediction"))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("rate", ["8000", "0.5", "1e-12", "1e12"])
def test_a_rate_adds_the_frequency_in_hertz_and_changes_no_other_column(model, windows, tmp_path, suffix, rate):
    pq.write_table(pa.table({"input": fixed(windows[:50])}), tmp_path / "windows.parquet")
    pq.write_table(pa.table({"input": windows[:50].ravel()}), tmp_path / "signal.parquet")
    for kind, options in (("windows", ()), ("signal", ("--hop", 3))):
        source, output = tmp_path / f"{kind}.parquet", tmp_path / f"out.{suffix}"
        run(model, source, output, *options)
        without = read(output)
        run(model, source, output, *options, "--rate", rate)
        found = read(output)
        assert [*found] == [*without, HERTZ]
        assert all(np.array_equal(found[name], without[name]) for name in without)
        expected = without["frequency"].astype(np.float64) * float(rate) / (2.0 * np.pi)
        np.testing.assert_allclose(found[HERTZ], expected, rtol=3e-7)


def test_the_frequency_in_hertz_of_a_tone_is_the_tones(tmp_path):
    """A network of weights zero, whose estimate is its last bias: a tone of 1000 Hz."""
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS), LENGTH)
    initialize(network, 0)
    tone, _ = wave(2.0 * np.pi * 1000.0 / 8000.0, LENGTH)
    with torch.no_grad():
        network.linear.weight.zero_()
        network.linear.bias[:] = torch.tensor(tone.ravel())
    save_model(network, tmp_path / "model.safetensors")
    pq.write_table(pa.table({"input": fixed(np.ones((3, LENGTH), np.float32))}), tmp_path / "in.parquet")
    run(tmp_path / "model.safetensors", tmp_path / "in.parquet", tmp_path / "out.parquet", "--rate", 8000)
    assert read(tmp_path / "out.parquet")[HERTZ].ravel().tolist() == pytest.approx([1000.0] * 3 * LENGTH, rel=1e-6)


@pytest.mark.parametrize("value", ["0", "-1", "-0.0", "nan", "inf", "1e-13", "1e13", "x", "8 kHz", ""])
def test_a_rate_that_is_none_is_refused(capsys, value):
    with pytest.raises(SystemExit) as caught:
        run("m", "i", "o", f"--rate={value}")
    assert caught.value.code == 2
    message = f"argument --rate: {value} is not a number of samples a second from 1e-12 to 1e12"
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)


def test_a_sample_between_gaps_has_an_estimate_but_no_frequency(tmp_path):
    """A network with windows of one sample has an estimate for each sample."""
    samples = [1.0, None, 0.5, None, None, 0.3, 0.2]
    pq.write_table(pa.table({"input": pa.array(samples, pa.float32())}), tmp_path / "in.parquet")
    single(tmp_path / "one.safetensors")
    for suffix in ("parquet", "csv"):
        options = ("--hop", 1, "--gaps", "null", "--rate", 8)
        run(tmp_path / "one.safetensors", tmp_path / "in.parquet", tmp_path / f"out.{suffix}", *options)
    found = pq.read_table(tmp_path / "out.parquet")
    for name in (*OUTPUTS, HERTZ):
        alone = {0, 2} if name.startswith("frequency") else set()
        expected = [value is None or at in alone for at, value in enumerate(samples)]
        assert [value is None for value in found[name].to_pylist()] == expected
    assert_derived(*(found[name].to_pylist() for name in OUTPUTS if name != "prediction"))
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert rows[0] == ["input", *OUTPUTS, HERTZ]
    assert [field == "" for field in rows[3]] == [False] * 6 + [True] * 2
    assert [field == "" for field in rows[2]] == [True] * 8


@pytest.mark.parametrize("layout", ["lists", "columns"])
def test_windows_of_one_sample_have_null_frequencies(tmp_path, layout):
    single(tmp_path / "one.safetensors")
    samples = np.array([[0.5], [1.0], [np.nan]], np.float32)
    table = {"input": fixed(samples)} if layout == "lists" else {"input_0": samples[:, 0]}
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    for suffix in ("parquet", "csv"):
        run(
            tmp_path / "one.safetensors",
            tmp_path / "in.parquet",
            tmp_path / f"out.{suffix}",
            "--gaps",
            "null",
            "--rate",
            8,
        )
    found = pq.read_table(tmp_path / "out.parquet")
    for name, nothing in [(name, name.startswith("frequency")) for name in (*OUTPUTS, HERTZ)]:
        if layout == "lists":
            assert found[name].null_count == 1  # the row with the gap
            assert pc.list_flatten(found[name]).null_count == (2 if nothing else 0)
            assert found.schema.field(name).type.value_field.nullable == nothing
        else:
            assert found[f"{name}_0"].null_count == (3 if nothing else 1)
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert rows[0] == ["input_0", *(f"{name}_0" for name in (*OUTPUTS, HERTZ))]
    assert [field == "" for field in rows[1]] == [False] * 6 + [True] * 2
    assert rows[3][1:] == [""] * 7


def single(path):
    """Writes a model that reads windows of one sample."""
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS), 1)
    initialize(network, 0)
    save_model(network, path)


def test_columns_that_would_share_a_name_are_refused(model, tmp_path):
    """The channel hz_a in radians a sample, and the channel a in Hz."""
    pq.write_table(pa.table({"a": [0.0] * 20, "hz_a": [1.0] * 20}), tmp_path / "in.parquet")
    options = ("--hop", 5, "--column", "a", "--column", "hz_a")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", *options)
    assert pq.read_schema(tmp_path / "out.parquet").names.count("frequency_hz_a") == 1
    with pytest.raises(DataError, match=r"in\.parquet has two channels .* have the column frequency_hz_a; rename one$"):
        run(model, tmp_path / "in.parquet", tmp_path / "new.parquet", *options, "--rate", 8)
    assert not (tmp_path / "new.parquet").exists()


@pytest.mark.parametrize(("rate", "kept"), [((), HERTZ), (("--rate", 8), f"given_{HERTZ}")])
def test_a_column_of_the_name_frequency_hz_gives_way_only_to_a_rate(model, tmp_path, rate, kept):
    pq.write_table(pa.table({"input": [0.0] * 20, "quadrature": [1] * 20, HERTZ: [2] * 20}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", "--hop", 5, *rate)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.column_names == ["input", "given_quadrature", kept, *OUTPUTS, *([HERTZ] if rate else [])]
    assert found[kept].to_pylist() == [2] * 20
