"""The windows against `math`, their random streams, and the article's own windows."""

import math

import numpy as np
import pytest
import scipy.stats
from pydantic import ValidationError

from quadrature.signals.params import MAX_ANGLE, GenerateParams
from quadrature.signals.waves import draw_shard, shard_count, sine_and_cosine


def settings(**changes):
    base = {
        "source": None,
        "hop": None,
        "seed": 0,
        "windows": {"train": 1000, "validation": 50, "test": 50},
        "shard_windows": 300,
        "length": 10,
        "span": math.pi,
        "rate": None,
        "phase": "uniform",
        "frequency": {"low": 0.5, "high": 2.0},
        "amplitude": {"low": 0.8, "high": 1.5},
        "noise_std": 0.1,
        "noise_color": 0.0,
        "offset_std": 0.0,
        "drift_std": 0.0,
        "harmonics": [],
        "chirp": 0.0,
    }
    return GenerateParams.model_validate({**base, **changes})


@pytest.mark.parametrize(
    ("most", "shard_windows", "message"),
    [
        (10**12, 2**17, "should be less than or equal to 1000000000000"),
        (100 * 2**24, 100, "it makes 16,777,217 shards of windows.train; at most 16,777,216 are allowed"),
    ],
)
def test_windows_and_shards_have_a_limit(most, shard_windows, message):
    windows = {"train": most, "validation": 1, "test": 1}
    assert settings(windows=windows, shard_windows=shard_windows).windows.train == most
    with pytest.raises(ValidationError, match=message):
        settings(windows={**windows, "train": most + 1}, shard_windows=shard_windows)


def draw(params, split="train"):
    shards = [draw_shard(params, split, shard) for shard in range(shard_count(params, split))]
    return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}


ARTICLE = settings(
    windows={"train": 100, "validation": 100, "test": 100},
    phase="consecutive",
    frequency={"low": 1.0, "high": 1.0},
    amplitude={"low": 1.0, "high": 1.0},
    noise_std=0.0,
)


def test_each_sample_is_the_sine_and_cosine_that_math_computes():
    windows = draw(settings(noise_std=0.0))
    for k in range(0, 1000, 37):
        for i in range(10):
            angle = windows["phase"][k] + windows["frequency"][k] * math.pi * i / 9
            amplitude = windows["amplitude"][k]
            assert windows["input"][k, i] == pytest.approx(amplitude * math.sin(angle), abs=1e-7)
            assert windows["target"][k, i] == pytest.approx(amplitude * math.cos(angle), abs=1e-7)
            assert windows["in_phase"][k, i] == windows["input"][k, i]


def test_sine_and_cosine_have_the_documented_shapes():
    sine, cosine = sine_and_cosine(np.zeros(3), np.ones(3), 4, math.pi)
    assert sine.shape == cosine.shape == (3, 4)
    np.testing.assert_allclose(sine[0], [0.0, math.sqrt(3) / 2, math.sqrt(3) / 2, 0.0], atol=1e-15)
    np.testing.assert_allclose(cosine[0], [1.0, 0.5, -0.5, -1.0], atol=1e-15)


def test_with_a_rate_frequency_is_in_periods_a_second():
    changes = {"span": None, "rate": 1000.0, "frequency": {"low": 45.0, "high": 55.0}, "noise_std": 0.0}
    windows = draw(settings(**changes))
    assert 45.0 <= windows["frequency"].min() < 45.1
    assert 54.9 < windows["frequency"].max() <= 55.0
    for k in range(0, 1000, 37):
        for i in range(10):
            angle = windows["phase"][k] + 2.0 * math.pi * windows["frequency"][k] * i / 1000.0
            assert windows["input"][k, i] == pytest.approx(windows["amplitude"][k] * math.sin(angle), abs=1e-6)


def test_a_rate_and_the_span_that_it_makes_are_the_same_task():
    by_rate = settings(span=None, rate=18.0)
    assert by_rate.unit_angle == math.pi  # ten samples in half a second
    by_span = settings()
    assert all((values == draw(by_span)[name]).all() for name, values in draw(by_rate).items())


def test_consecutive_windows_are_counted_in_spans():
    with pytest.raises(ValidationError, match="set span in place of rate, or choose uniform"):
        settings(span=None, rate=18.0, phase="consecutive")


def test_the_starts_of_consecutive_windows_are_resolved():
    params = settings(phase="consecutive")
    windows = max(size for _, size in params.windows)
    assert settings(span=MAX_ANGLE / windows / 2.0, phase="consecutive")
    with pytest.raises(ValidationError, match=r"the last window then starts at .* radians; at most 1e\+12 are allowed"):
        settings(span=2.0 * MAX_ANGLE / windows, phase="consecutive", frequency={"low": 1e-9, "high": 1e-9})


def test_columns_have_the_contracts_shapes_and_types():
    shard = draw_shard(settings(), "train", 0)
    assert {name: (values.shape, values.dtype.name) for name, values in shard.items()} == {
        "input": ((300, 10), "float32"),
        "target": ((300, 10), "float32"),
        "phase": ((300,), "float64"),
        "frequency": ((300,), "float64"),
        "amplitude": ((300,), "float64"),
        "in_phase": ((300, 10), "float32"),
    }
    assert list(shard)[-1] == "in_phase"  # windows of one's own, which may lack it, have the others before it


def test_phase_frequency_and_amplitude_are_uniform_on_their_ranges_and_noise_is_normal():
    windows = draw(settings(windows={"train": 20_000, "validation": 1, "test": 1}, shard_windows=20_000))
    clean = draw(settings(windows={"train": 20_000, "validation": 1, "test": 1}, shard_windows=20_000, noise_std=0.0))
    noise = (windows["input"].astype(float) - clean["input"]) / 0.1
    for values, low, width in (
        (windows["phase"], 0.0, 2 * math.pi),
        (windows["frequency"], 0.5, 1.5),
        (windows["amplitude"], 0.8, 0.7),
    ):
        assert scipy.stats.kstest(values, "uniform", (low, width)).pvalue > 1e-3
    assert scipy.stats.kstest(noise.ravel()[::7], "norm").pvalue > 1e-3
    assert (windows["target"] == clean["target"]).all()
    assert (windows["in_phase"] == clean["input"]).all()


def test_phase_frequency_amplitude_and_noise_are_independent_of_each_other():
    sizes = {"windows": {"train": 20_000, "validation": 1, "test": 1}, "shard_windows": 20_000}
    windows, clean = draw(settings(**sizes)), draw(settings(**sizes, noise_std=0.0))
    noise = windows["input"].astype(float) - clean["input"]
    quantities = [windows["phase"], windows["frequency"], windows["amplitude"], noise[:, 0], noise[:, 1]]
    correlations = np.corrcoef(quantities) - np.eye(5)
    assert np.abs(correlations).max() < 5 / math.sqrt(20_000)


def test_the_articles_windows_are_within_two_hundred_thousandths_of_its_own():
    windows = draw(ARTICLE)
    for k in range(100):
        steps = np.linspace(k * np.pi, (k + 1) * np.pi, 10, dtype=np.float32)  # as in the article
        np.testing.assert_allclose(windows["input"][k], np.sin(steps), atol=2e-5)
        np.testing.assert_allclose(windows["target"][k], np.cos(steps), atol=2e-5)


def test_consecutive_windows_are_the_same_in_every_split_and_shard():
    assert (draw(ARTICLE)["input"] == draw(ARTICLE, "test")["input"]).all()
    whole = ARTICLE.model_copy(update={"shard_windows": 100})
    assert (draw(ARTICLE)["phase"] == draw(whole)["phase"]).all()


def test_a_larger_split_begins_with_the_windows_of_a_smaller_one():
    large, small = draw(settings()), draw(settings(windows={"train": 437, "validation": 7, "test": 9}))
    for name in large:
        assert (large[name][:437] == small[name]).all()


def test_another_splits_size_changes_no_window_and_splits_share_none():
    params, grown = settings(), settings(windows={"train": 5000, "validation": 50, "test": 9})
    assert (draw(params, "validation")["input"] == draw(grown, "validation")["input"]).all()
    assert not np.isin(draw(params, "validation")["phase"], draw(grown)["phase"]).any()


def test_seeds_shards_and_splits_have_streams_of_their_own():
    params = settings(windows={"train": 600, "validation": 600, "test": 600})
    firsts = [
        draw_shard(changed, split, shard)["phase"][0]
        for changed in (params, params.model_copy(update={"seed": 1}))
        for split in ("train", "validation", "test")
        for shard in (0, 1)
    ]
    assert len(set(firsts)) == len(firsts)


def test_equal_ends_of_a_range_give_that_value_exactly():
    assert (draw(settings(frequency={"low": 1.3, "high": 1.3}))["frequency"] == 1.3).all()


@pytest.mark.parametrize("block", [1, 7, 30, 1000, 2999])
def test_how_many_samples_are_computed_at_a_time_changes_no_bit(monkeypatch, block):
    expected = draw(settings())
    monkeypatch.setattr("quadrature.signals.waves._BLOCK", block)
    assert all((values == expected[name]).all() for name, values in draw(settings()).items())
