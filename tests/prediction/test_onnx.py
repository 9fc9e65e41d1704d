"""The exported graph in ONNX's own runtime: the same estimates as torch, of every kind of network."""

import re
from itertools import product

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from quadrature.network.model import QuadratureNetwork, initialize
from quadrature.network.model_file import load_model
from quadrature.network.params import ModelParams
from quadrature.prediction.onnx_graph import make_graph
from tests.checkout import PROJECT
from tests.prediction.running import PARAMS

LENGTH, WINDOWS, SCALE = 12, 1000, 230.0
KINDS = [
    {"cell": cell, "head": head, "output": output, "bidirectional": bidirectional, "num_layers": layers}
    for cell, head, output, bidirectional, layers in product(
        ("rnn", "lstm", "gru"), ("last", "every"), ("analytic", "quadrature"), (False, True), (1, 2)
    )
]
OTHERS = [
    {"cell": "rnn", "nonlinearity": "relu"},
    {"cell": "gru", "bias": False},
    {"cell": "gru", "num_layers": 3, "dropout": 0.5},
    {"cell": "lstm", "execution": "stepwise"},
    {"cell": "gru", "hidden_size": 1},
]


def make(changes, scale=SCALE):
    network = QuadratureNetwork(ModelParams.model_validate(PARAMS | {"hidden_size": 7} | changes), LENGTH, scale)
    initialize(network, 3)
    return network.eval()


def runtime(content):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def zeros(network, count):
    """Returns the inputs of a state that begins a signal."""
    if network.params.sees_whole_window:
        return {}
    shape = (network.params.num_layers, count, network.params.hidden_size)
    names = ("state", "cell_state") if network.params.cell == "lstm" else ("state",)
    return {name: np.zeros(shape, np.float32) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [*KINDS, *OTHERS], ids=str)
def test_the_runtimes_estimates_are_torchs(changes):
    network = make(changes)
    windows = SCALE * np.random.default_rng(0).standard_normal((WINDOWS, LENGTH), np.float32)
    session = runtime(make_graph(network))
    found = session.run(None, {"window": windows, **zeros(network, WINDOWS)})[: network.params.components]
    with torch.inference_mode():
        expected = network(torch.from_numpy(windows)[..., None]).numpy().reshape(WINDOWS, -1, LENGTH)
    names = ["in_phase", "quadrature"] if network.params.output == "analytic" else ["quadrature"]
    assert [output.name for output in session.get_outputs()][: len(names)] == names
    assert np.stack(found, axis=1) == pytest.approx(expected, abs=1e-5 * SCALE)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_state_that_is_handed_on_follows_a_signal_of_any_length(cell):
    network = make({"cell": cell, "head": "every", "num_layers": 2})
    signal = SCALE * np.random.default_rng(0).standard_normal((3, 50), np.float32)
    session = runtime(make_graph(network))
    (whole, *_) = session.run(["quadrature"], {"window": signal, **zeros(network, 3)})
    state, parts = zeros(network, 3), []
    for part in np.split(signal, [1, 20, 21], axis=1):
        outputs = ["quadrature", *(f"{name}_after" for name in state)]
        estimates, *after = session.run(outputs, {"window": part, **state})
        state = dict(zip(state, after, strict=True))
        parts.append(estimates)
    assert np.concatenate(parts, axis=1) == pytest.approx(whole, abs=1e-5 * SCALE)


def test_the_command_writes_the_same_bytes_and_says_what_they_take_and_give(finished, tmp_path):
    model, files = finished.path / "models/model.safetensors", [tmp_path / name for name in ("a.onnx", "b.onnx")]
    for file in files:
        done = finished.run("python", "-m", "quadrature", "export", "--model", str(model), "--onnx", str(file))
    assert done.stderr == f"{file}: window (batch, 10) -> in_phase (batch, 10), quadrature (batch, 10)\n"
    assert files[0].read_bytes() == files[1].read_bytes() == make_graph(load_model(model))
    onnx.checker.check_model(onnx.load(file), full_check=True)
    refused = finished.run(
        "python", "-m", "quadrature", "export", "--model", str(model), "--onnx", str(tmp_path), check=False
    )
    assert (refused.returncode, refused.stderr) == (2, f"--onnx {tmp_path} is not a file; name a file to write\n")


def test_the_pages_example_runs(finished, monkeypatch, capsys):
    page = (PROJECT / "docs/predict.md").read_text()
    section = page.partition("## In another runtime")[2].partition("\n## ")[0]
    monkeypatch.chdir(finished.path)
    content = make_graph(load_model(finished.path / "models/model.safetensors"))
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert 'InferenceSession("model.onnx")' in code
    exec(code.replace('"model.onnx"', "content"), {"content": content})  # noqa: S102
    assert len(re.findall(r"-?\d\.\d*", capsys.readouterr().out)) == 10
