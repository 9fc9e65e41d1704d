"""Missing samples: refused, filled if the gap is short, or null where they leave no estimate."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams
from quadrature.prediction import estimates
from quadrature.prediction.added_columns import OUTPUTS
from quadrature.prediction.gaps import LONGEST_GAP, Filler, fill
from quadrature.runtime.errors import DataError
from tests.prediction.running import HEADER, LENGTH, PARAMS, components, read, run
from tests.prediction.test_derived import assert_derived
from tests.prediction.test_overlap import starts_of

SPELLINGS = ["", " ", "nan", "NaN", "NA", " NA "]
"""A missing sample in CSV."""


def plain_fill(signal):
    """Fills the short gaps of a list as a plain loop does it, as reference. None is a missing sample."""
    filled, at = list(signal), 0
    while at < len(signal):
        end = at
        while end < len(signal) and signal[end] is None:
            end += 1
        if at > 0 and end < len(signal) and 0 < end - at <= LONGEST_GAP:
            left, right = signal[at - 1], signal[end]
            for place in range(at, end):
                filled[place] = left + (right - left) * (place - at + 1) / (end - at + 1)
        at = max(end, at + 1)
    return filled


def spoilt(rng, shape):
    """Returns samples, NaN where one is missing, in gaps of every length and at both ends."""
    samples = rng.standard_normal(shape).astype(np.float32)
    samples[rng.random(shape) < rng.choice([0.05, 0.3, 0.7])] = np.nan
    return samples


def listed(samples):
    return [None if math.isnan(value) else value for value in samples.tolist()]


@pytest.mark.parametrize("seed", range(20))
def test_gaps_are_filled_as_a_plain_loop_does_it_however_the_signal_comes(seed):
    rng = np.random.default_rng(seed)
    signal = spoilt(rng, 200)
    expected = np.array(plain_fill(listed(signal)), np.float64)
    whole = fill(signal)
    np.testing.assert_allclose(whole, expected, rtol=1e-6, atol=1e-7)
    filler, pieces = Filler(), np.split(signal, np.sort(rng.integers(0, 201, rng.integers(1, 90))))
    found = [filler.push(piece) for piece in [*pieces, None]]
    assert np.array_equal(np.concatenate(found), whole, equal_nan=True)


def test_windows_are_filled_each_by_itself():
    windows = spoilt(np.random.default_rng(0), (300, LENGTH))
    expected = np.array([plain_fill(listed(window)) for window in windows], np.float64)
    np.testing.assert_allclose(fill(windows), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_a_signal_without_gaps_is_not_changed_by_any_option(model, windows, tmp_path):
    pa.csv.write_csv(pa.table({"input": windows.ravel()}), tmp_path / "in.csv")
    outputs = []
    for gaps in ("refuse", "interpolate", "null"):
        run(model, tmp_path / "in.csv", tmp_path / "out.parquet", "--hop", 3, "--batch-size", 7, "--gaps", gaps)
        outputs.append((tmp_path / "out.parquet").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def expected_of(model, samples, hop):
    """Returns both components' means over full windows as a plain loop takes them; None where a sample has none."""
    starts = starts_of(len(samples), hop)
    windows = np.array([samples[begin : begin + LENGTH] for begin in starts])
    means = []
    for found in components(model, np.nan_to_num(windows), 32):
        values = [[] for _ in samples]
        for begin, window, estimate in zip(starts, windows, found, strict=True):
            for position in range(LENGTH if not np.isnan(window).any() else 0):
                values[begin + position].append(float(estimate[position]))
        means.append([float(np.float32(sum(each) / len(each))) if each else None for each in values])
    return means


@pytest.mark.parametrize("gaps", ["interpolate", "null"])
@pytest.mark.parametrize(("hop", "output"), [(1, "analytic"), (4, "quadrature"), (4, "analytic"), (LENGTH, "analytic")])
def test_a_sample_has_the_mean_over_windows_without_a_gap_or_null(models, tmp_path, monkeypatch, hop, output, gaps):
    monkeypatch.setattr(estimates, "_SLAB_VALUES", 300)
    rng = np.random.default_rng(hop)
    samples = rng.standard_normal(700).astype(np.float32)
    for length in (1, 1, 2, 2, 3, 7, 30):
        begin = rng.integers(0, 650)
        samples[begin : begin + length] = np.nan
    samples[:2], samples[-1] = np.nan, np.nan
    model = models[output]
    in_phase, expected = expected_of(model, fill(samples) if gaps == "interpolate" else samples, hop)
    options = ("--hop", hop, "--gaps", gaps, "--batch-size", 32)

    pq.write_table(pa.table({"input": pa.array(samples, mask=np.isnan(samples))}), tmp_path / "in.parquet")
    run(model, tmp_path / "in.parquet", tmp_path / "out.parquet", *options)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["input"].to_pylist() == listed(samples)
    assert 0 < found["prediction"].null_count < 600
    for name, means in (("in_phase", in_phase), ("quadrature", expected), ("prediction", expected)):
        assert [value is None for value in found[name].to_pylist()] == [value is None for value in means]
        assert found[name].drop_null().to_pylist() == pytest.approx(
            [value for value in means if value is not None], rel=1e-6
        )
    if output == "quadrature":
        sine = fill(samples)[[value is not None for value in expected]]
        assert np.array_equal(found["in_phase"].drop_null(), sine)
    assert_derived(*(found[name].to_pylist() for name in OUTPUTS if name != "prediction"))

    cells = [str(rng.choice(SPELLINGS)) if value is None else repr(value) for value in listed(samples)]
    (tmp_path / "in.csv").write_text("\n".join(["input,b", *(f"{cell},1" for cell in cells)]))
    run(model, tmp_path / "in.csv", tmp_path / "out.csv", *options)
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert [row[0] for row in rows] == cells
    assert [row[2:] == [""] * 6 for row in rows] == [value is None for value in expected]
    in_csv = np.array([row[4] for row in rows if row[4]], np.float32)
    assert np.array_equal(in_csv, found["prediction"].drop_null().to_numpy())


@pytest.mark.parametrize("gaps", ["interpolate", "null"])
@pytest.mark.parametrize(
    ("layout", "output"), [("lists", "analytic"), ("fixed-size lists", "quadrature"), ("columns", "analytic")]
)
def test_a_window_with_a_gap_is_filled_or_has_no_estimate(models, tmp_path, layout, output, gaps):
    model = models[output]
    windows = spoilt(np.random.default_rng(1), (60, LENGTH))
    windows[::3] = np.random.default_rng(2).standard_normal((20, LENGTH))
    windows[5, 4] = windows[7] = np.nan
    expected = fill(windows) if gaps == "interpolate" else windows
    known = ~np.isnan(expected).any(axis=1)
    lists = [listed(window) for window in windows]
    lists[7] = None
    if layout == "columns":
        table = pa.table({f"input_{at}": pa.array(windows[:, at].tolist(), from_pandas=True) for at in range(LENGTH)})
    else:
        table = pa.table({"input": pa.array(lists, pa.list_(pa.float32(), LENGTH if "fixed" in layout else -1))})
    pq.write_table(table, tmp_path / "in.parquet")
    for suffix in ("parquet", "csv"):
        run(model, tmp_path / "in.parquet", tmp_path / f"out.{suffix}", "--gaps", gaps)
    found = pq.read_table(tmp_path / "out.parquet")
    for name in OUTPUTS:
        column = found[name if layout != "columns" else f"{name}_0"]
        assert column.null_count == (~known).sum() > 0
        assert [value is not None for value in column.to_pylist()] == known.tolist()
    estimates_of = [component[known] for component in components(model, np.nan_to_num(expected))]
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert [row[LENGTH:] == [""] * 6 * LENGTH for row in rows] == (~known).tolist()
    in_csv = [row[LENGTH : 3 * LENGTH] for row, is_known in zip(rows, known, strict=True) if is_known]
    assert np.array_equal(np.array(in_csv, np.float32), np.concatenate(estimates_of, axis=1))
    if layout != "columns":
        for name, component in zip(("in_phase", "quadrature"), estimates_of, strict=True):
            assert np.array_equal(np.array(found[name].drop_null().to_pylist(), np.float32), component)
        assert found["input"].equals(table["input"])


def test_gaps_are_what_they_are_for_every_kind_of_network(tmp_path):
    for head, bidirectional in (("every", False), ("last", True)):
        params = ModelParams.model_validate(PARAMS | {"head": head, "bidirectional": bidirectional})
        network = QuadratureNetwork(params, LENGTH)
        initialize(network, 0)
        save_model(network, tmp_path / "model.safetensors")
        samples = [1.0] * 20 + [None] * 3 + [1.0] * 20
        pq.write_table(pa.table({"input": samples}), tmp_path / "in.parquet")
        run(tmp_path / "model.safetensors", tmp_path / "in.parquet", tmp_path / "out.csv", "--hop", 1, "--gaps", "null")
        lines = (tmp_path / "out.csv").read_text().splitlines()[1:]
        assert [number for number, line in enumerate(lines) if line.endswith("," * 6)] == [20, 21, 22]


@pytest.mark.parametrize("gaps", ["interpolate", "null"])
def test_what_is_not_missing_but_wrong_is_refused_all_the_same(model, tmp_path, gaps):
    for value, message in (
        ("inf", "is inf; put a finite number there, or none and give --gaps interpolate or --gaps null"),
        ("1e39", "is 1e+39, beyond float32's 3.4e+38; scale the signal"),
        ("x", "is 'x', which is not a number"),
        ("N/A", "is 'N/A', which is not a number"),
    ):
        (tmp_path / "in.csv").write_text("\n".join(["input,b", *["1,2"] * 30, ",", f"{value},2"]))
        with pytest.raises(DataError) as caught:
            run(model, tmp_path / "in.csv", tmp_path / "out.csv", "--hop", 3, "--gaps", gaps)
        assert str(caught.value) == f"{tmp_path}/in.csv, row 32: input {message}"
    (tmp_path / "short.csv").write_text("\n".join(["input,b", *[",2"] * 9]))
    with pytest.raises(DataError, match="holds a signal of 9 samples; the model reads windows of 10"):
        run(model, tmp_path / "short.csv", tmp_path / "out.csv", "--hop", 3, "--gaps", gaps)


def test_a_table_with_no_sample_at_all_has_no_estimate_at_all(model, tmp_path):
    (tmp_path / "in.csv").write_text("\n".join([HEADER, *["," * (LENGTH - 1)] * 30]))
    run(model, tmp_path / "in.csv", tmp_path / "out.parquet", "--gaps", "interpolate")
    assert pq.read_table(tmp_path / "out.parquet")["prediction_3"].null_count == 30
    assert pq.read_schema(tmp_path / "out.parquet").field("prediction_3").type == pa.float32()
    run(model, tmp_path / "out.parquet", tmp_path / "again.csv", "--hop", 1, "--column", "phase_0", "--gaps", "null")
    assert np.isnan(read(tmp_path / "again.csv")["prediction"].astype(np.float64)).all()
