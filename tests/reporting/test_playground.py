"""metrics/playground.html in a real browser: its numbers are torch's, and its sliders move it."""

import itertools

import numpy as np
import pytest
import torch

from quadrature.network.model import QuadratureNetwork, initialize, predict
from quadrature.network.model_file import save_model
from quadrature.network.params import ModelParams
from quadrature.reporting.model_file import Blueprint, read_model
from quadrature.reporting.playground import affine_map, playground, sliders
from quadrature.runtime.params import load_params
from quadrature.scoring.baselines import LeastSquares, hilbert
from quadrature.storage.windows import ESTIMATE_COLUMNS, WINDOW_COLUMNS, read_windows
from stages.report import Params
from tests.checkout import OWN_PARAMETERS
from tests.reporting.test_report import assert_page_can_be_read, assert_page_stands_alone, look

WINDOWS, LENGTH = 1000, 10
PARAMS = {
    "cell": "gru", "nonlinearity": "tanh", "hidden_size": 7, "num_layers": 1, "bias": True, "bidirectional": False,
    "dropout": 0.0, "execution": "sequence", "head": "last", "output": "analytic",
}  # fmt: skip
NETWORKS = [
    *(
        {"cell": cell, "head": head, "output": output, "bidirectional": both}
        for cell, head, output, both in itertools.product(
            ("rnn", "lstm", "gru"), ("last", "every"), ("analytic", "quadrature"), (False, True)
        )
    ),
    {"cell": "rnn", "nonlinearity": "relu"},
    {"cell": "lstm", "num_layers": 3, "bidirectional": True},
    {"cell": "gru", "num_layers": 2, "bias": False, "execution": "stepwise"},
]


@pytest.fixture(scope="module")
def page(finished):
    return finished.path / "metrics/playground.html"


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(3).standard_normal((WINDOWS, LENGTH)).astype(np.float32)


@pytest.fixture
def make_page(tmp_path, windows):
    """Returns a function that writes the page of a network with random weights; least squares is a random map."""

    def make(network, windows=windows, most=10**6):
        initialize(network, 1)
        with torch.no_grad():
            network.linear.weight *= 3.0
        save_model(network, tmp_path / "model.safetensors")
        length = network.window_length
        task = load_params(Params, OWN_PARAMETERS).generate.model_copy(update={"length": length})
        linear = windows @ np.random.default_rng(4).standard_normal((length, length)).astype(np.float32)
        rows = {"input": windows, "least_squares": linear}
        (tmp_path / "page.html").write_bytes(playground(read_model(tmp_path / "model.safetensors", most), task, rows))
        return tmp_path / "page.html"

    return make


@pytest.mark.slow
@pytest.mark.parametrize("changes", NETWORKS, ids=lambda changes: " ".join(map(str, changes.values())))
def test_the_pages_network_computes_torchs_numbers(browser, windows, changes, make_page):
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS | changes), LENGTH, scale=3.0)
    shown, said, _ = look(browser, make_page(network))
    found = shown.evaluate("windows => windows.map(quadrature.estimate)", windows.tolist())
    shown.close()
    expected = predict(network, windows, WINDOWS)
    if network.params.output == "quadrature":
        assert all(in_phase is None for in_phase, _ in found)
        found = [quadrature for _, quadrature in found]
    assert np.abs(expected).mean() > 0.1
    assert np.abs(np.array(found) - expected).max() < 1e-5
    assert said == []


def test_the_pages_baselines_are_those_of_the_scores(browser, page, finished):
    rows = read_windows(finished.path / "data/predictions.parquet", (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS))
    shown, _, _ = look(browser, page)
    for name, script in (
        ("least_squares", "quadrature.leastSquares"),
        ("hilbert", "quadrature.hilbert"),
        ("prediction", "window => quadrature.estimate(window)[1]"),
    ):
        found = shown.evaluate(f"windows => windows.map({script})", rows["input"].tolist())
        assert np.abs(np.array(found) - rows[name]).max() < 1e-5, name
    shown.close()


@pytest.mark.parametrize("length", [2, 7, 12])
def test_the_transform_is_right_for_windows_of_any_length(browser, length, make_page):
    windows = np.random.default_rng(1).standard_normal((30, length)).astype(np.float32)
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS), length)
    shown, _, _ = look(browser, make_page(network, windows))
    found = shown.evaluate("windows => windows.map(quadrature.hilbert)", windows.tolist())
    shown.close()
    assert np.allclose(found, hilbert(windows)[:, 1], rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_least_squares_is_found_again_by_its_estimates(noise):
    """Without noise many maps fit; any of them gives the same estimates."""
    random = np.random.default_rng(2)
    angle = random.uniform(0.0, 6.0, (500, 1)) + np.linspace(0.0, 3.0, LENGTH)
    windows = (5.0 * np.sin(angle) + noise * random.standard_normal(angle.shape)).astype(np.float32)
    fitted = LeastSquares(LENGTH, 5.0)
    fitted.add(windows, 5.0 * np.stack([np.sin(angle), np.cos(angle)], axis=1) + 0.2)
    expected = fitted.estimate(windows)[:, 1]
    found = affine_map(windows[:200], expected[:200].astype(np.float32), 5.0)
    estimates = found[:, 0] + windows.astype(np.float64) @ found[:, 1:].T
    assert np.abs(estimates - expected).max() < 1e-5 * 5.0


def test_the_sliders_reach_ranges_below_zero():
    """As of recordings with a bias, and with a target that turns the other way."""
    task = load_params(Params, OWN_PARAMETERS).generate.model_copy(update={"source": "data/source/own.parquet"})
    ranges = {"frequency": (-0.7, -0.2), "amplitude": (0.8, 1.2), "noise": (0.0, 0.1), "offset": (-5.1, -4.9)}
    blueprint = Blueprint(model={}, window_length=10, sha256="", ranges=ranges)
    for slider in sliders(blueprint, task):
        assert slider.low <= slider.value <= slider.high
        if slider.seen is not None:
            assert slider.low <= slider.seen[0] <= slider.seen[1] <= slider.high, slider.id


def test_the_page_stands_alone(browser, page):
    assert_page_stands_alone(browser, page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_can_be_read(browser, page, width, scheme):
    assert_page_can_be_read(browser, page, width, scheme)


def drawn(shown, name):
    return shown.evaluate(f"document.getElementById('{name}').toDataURL()")


def test_the_sliders_move_the_pictures_and_tell_what_was_not_in_training(browser, page):
    shown, said, _ = look(browser, page)
    before, error = {name: drawn(shown, name) for name in ("given", "asked")}, shown.inner_text("#network-error")
    assert shown.query_selector_all("output.unseen") == []
    shown.fill("#frequency", "2.9")
    assert shown.inner_text("#frequency-value") == "2.90"
    assert [output.get_attribute("id") for output in shown.query_selector_all("output.unseen")] == ["frequency-value"]
    assert all(drawn(shown, name) != before[name] for name in before)
    assert shown.inner_text("#network-error") != error
    shown.click("#reset")
    assert {name: drawn(shown, name) for name in before} == before
    shown.click("#redraw")
    assert all(drawn(shown, name) != before[name] for name in before)
    shown.click("#move")
    while float(shown.input_value("#phase")) < 65.0:
        shown.evaluate("() => new Promise(requestAnimationFrame)")
    shown.click("#move")
    stopped = drawn(shown, "given")
    assert shown.inner_text("#move") == "Move"
    shown.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert drawn(shown, "given") == stopped
    assert said == []
    shown.close()


def test_the_pictures_have_room_for_all_values(browser, page):
    shown, _, _ = look(browser, page)
    for name in ("amplitude", "noise", "offset"):
        shown.fill(f"#{name}", shown.get_attribute(f"#{name}", "max"))
    for name in ("given", "asked"):  # a value beyond the axis would be drawn at the edge
        edge = shown.evaluate(f"[...{name}.getContext('2d').getImageData(0, 0, {name}.width, 5).data]")
        assert not any(edge)
    shown.close()


def test_paper_does_not_stretch_the_pictures(browser, page):
    """They were drawn for the screen's width."""
    page, _, _ = look(browser, page, 1280)
    page.emulate_media(media="print")
    for name in ("given", "asked"):
        box = page.query_selector(f"#{name}").bounding_box()
        drawn = page.evaluate(f"[{name}.width, {name}.height]")
        assert box["height"] / box["width"] == pytest.approx(drawn[1] / drawn[0], rel=0.02)
        assert box["width"] > drawn[0]
    page.close()


def test_a_network_too_large_for_a_page_is_told(browser, make_page):
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS), LENGTH)
    shown, said, _ = look(browser, make_page(network, most=100))
    assert "too many to run in a page" in shown.inner_text("main")
    assert said == []
    shown.close()
