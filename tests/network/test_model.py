"""The network against torch's own layers, and its file: byte-stable, enough to build it again, checked when read."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from quadrature.network.model import QuadratureNetwork, analytic_signal, initialize, predict
from quadrature.network.model_file import load_model, save_model
from quadrature.network.params import ModelParams
from quadrature.runtime.errors import DataError
from quadrature.storage import digest


def make_params(**changes):
    base = {
        "cell": "gru",
        "nonlinearity": "tanh",
        "hidden_size": 5,
        "num_layers": 1,
        "bias": True,
        "bidirectional": False,
        "dropout": 0.0,
        "execution": "sequence",
        "head": "last",
        "output": "quadrature",
    }
    return ModelParams.model_validate({**base, **changes})


def make_network(seed=0, **changes):
    network = QuadratureNetwork(make_params(**changes), window_length=7)
    initialize(network, seed)
    return network


FAMILY = [
    {"cell": cell, "num_layers": layers, "bidirectional": ways, "head": head, "bias": bias, "execution": execution}
    for cell, layers, ways, head, bias, execution in itertools.product(
        ("rnn", "lstm", "gru"), (1, 2), (False, True), ("last", "every"), (True, False), ("sequence", "stepwise")
    )
]
FAMILY += [
    {**changes, "output": "analytic"} for changes in FAMILY if (changes["num_layers"], changes["bias"]) == (1, True)
]


def of_components(outputs, head):
    """Returns what the linear layer gives, arranged by component, as the network's docstring says."""
    parts = outputs.split(7, dim=1) if head == "last" else outputs.unbind(2)
    return torch.stack(parts, dim=1) if len(parts) == 2 else parts[0]


@pytest.mark.parametrize("output", ["quadrature", "analytic"])
def test_head_last_reads_the_last_output_as_the_article_does(output):
    network = make_network(num_layers=2, output=output)
    windows = torch.randn(3, 7, 1, generator=torch.Generator().manual_seed(0))
    out, _ = network.recurrent(windows)
    # Close, not equal: the same numbers at another address are added in another order on some processors.
    torch.testing.assert_close(network(windows), of_components(network.linear(out[:, -1, :]), "last"))


@pytest.mark.parametrize("output", ["quadrature", "analytic"])
def test_head_last_reads_both_directions_final_states(output):
    network = make_network(bidirectional=True, output=output)
    windows = torch.randn(3, 7, 1, generator=torch.Generator().manual_seed(0))
    out, _ = network.recurrent(windows)
    final = torch.cat([out[:, -1, :5], out[:, 0, 5:]], dim=1)  # forward ends at the last sample, backward at the first
    torch.testing.assert_close(network(windows), of_components(network.linear(final), "last"))


@pytest.mark.parametrize("output", ["quadrature", "analytic"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_head_every_reads_each_output_by_itself(bidirectional, output):
    network = make_network(head="every", bidirectional=bidirectional, output=output)
    windows = torch.randn(3, 7, 1, generator=torch.Generator().manual_seed(0))
    out, _ = network.recurrent(windows)
    torch.testing.assert_close(network(windows), of_components(network.linear(out), "every"))


@pytest.mark.parametrize("output", ["quadrature", "analytic"])
def test_head_every_never_waits_for_later_samples(output):
    network = make_network(head="every", output=output)
    windows = torch.randn(3, 7, 1, generator=torch.Generator().manual_seed(0))
    later = windows.clone()
    later[:, 4:] = 9.0
    torch.testing.assert_close(network(windows)[..., :4], network(later)[..., :4])
    assert (network(windows)[..., 4:] != network(later)[..., 4:]).all()


@pytest.mark.parametrize("changes", FAMILY)
def test_estimates_have_the_windows_shape_for_each_component(changes):
    shape = (3, 2, 7) if "output" in changes else (3, 7)
    assert make_network(**changes)(torch.zeros(3, 7, 1)).shape == shape


@pytest.mark.parametrize("changes", FAMILY)
def test_a_model_is_built_again_from_its_file_alone(tmp_path, changes):
    network = make_network(**changes)
    save_model(network, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.params, loaded.window_length) == (network.params, 7)
    windows = torch.randn(3, 7, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(windows), network(windows))
    assert all(weights.data_ptr() % 64 == 0 for weights in loaded.state_dict().values())  # the bits depend on it
    assert not loaded.training


def test_the_same_network_gives_the_same_bytes_with_one_metadata_key(tmp_path):
    paths = [tmp_path / name for name in ("first", "second")]
    for path in paths:
        save_model(make_network(num_layers=2), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with safe_open(paths[0], framework="pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["quadrature"]
    sha256 = json.loads(metadata["quadrature"])["sha256"]
    blueprint = {"model": make_params(num_layers=2).model_dump(), "sha256": sha256, "window_length": 7}
    assert metadata["quadrature"] == json.dumps(blueprint, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("changes", FAMILY)
def test_windows_and_estimates_are_in_units_of_the_scale(tmp_path, changes):
    """A power of two makes no rounding: the bits of the estimates are the same."""
    network = make_network(**changes)
    windows = torch.randn(3, 7, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(windows)
    estimates = predict(network, windows[..., 0].numpy(), 3)
    network.scale = 2.0**-40
    save_model(network, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.scale == 2.0**-40
    assert loaded.state_dict().keys() == make_network(**changes).state_dict().keys()
    with torch.no_grad():
        assert torch.equal(loaded(2.0**-40 * windows), 2.0**-40 * expected)
    assert (predict(loaded, 2.0**-40 * windows[..., 0].numpy(), 3) == 2.0**-40 * estimates).all()


def test_a_model_from_before_there_was_an_output_estimates_the_quadrature_component_as_it_did(tmp_path):
    network, path = make_network(num_layers=2), tmp_path / "model.safetensors"
    model = network.params.model_dump()
    del model["output"]
    blueprint = {"model": model, "window_length": 7, "sha256": digest.ZEROS}
    save_file(network.state_dict(), path, {"quadrature": json.dumps(blueprint)})
    digest.write(path)
    loaded = load_model(path)
    assert loaded.params == network.params
    assert loaded.params.output == "quadrature"
    windows = np.random.default_rng(0).standard_normal((20, 7)).astype(np.float32)
    assert (predict(loaded, windows, 20) == predict(network, windows, 20)).all()
    save_model(loaded, path)
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["quadrature"])["model"]["output"] == "quadrature"


def test_a_model_from_before_there_was_a_scale_has_scale_1(tmp_path):
    forge(tensors(), tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").scale == 1.0


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-200, 1e200, math.nan])
def test_a_scale_that_float32_does_not_hold_is_refused(tmp_path, scale):
    content = {"model": make_params().model_dump(), "window_length": 7, "sha256": digest.ZEROS, "scale": scale}
    save_file(tensors(), tmp_path / "model.safetensors", {"quadrature": json.dumps(content)})
    digest.write(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="is not a model of this project"):
        load_model(tmp_path / "model.safetensors")


def test_initial_weights_are_torchs_distribution_drawn_from_the_seed_alone():
    torch.manual_seed(1)
    first = make_network(hidden_size=64)
    torch.manual_seed(2)
    again, other = make_network(hidden_size=64), make_network(seed=1, hidden_size=64)
    for weights, same, different in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(weights, same)
        assert not torch.equal(weights, different)
        bound = 1.0 / math.sqrt(64)
        assert 0.5 * bound < weights.abs().max() <= bound
    torchs_own = QuadratureNetwork(make_params(hidden_size=64), 7).recurrent.weight_hh_l0
    assert first.recurrent.weight_hh_l0.std().item() == pytest.approx(torchs_own.std().item(), rel=0.05)


@pytest.mark.parametrize(("output", "shape"), [("quadrature", (20, 7)), ("analytic", (20, 2, 7))])
def test_predict_gives_the_same_estimates_whatever_the_batch(output, shape):
    network = make_network(output=output)
    windows = np.random.default_rng(0).standard_normal((20, 7)).astype(np.float32)
    whole = predict(network, windows, 20)
    assert whole.shape == shape
    np.testing.assert_allclose(predict(network, windows, 3), whole, atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(network(torch.tensor(windows)[:, :, None]).numpy(), whole, atol=1e-6)


def test_the_in_phase_component_is_the_samples_where_no_network_estimates_it():
    windows, estimates = np.random.default_rng(0).standard_normal((2, 20, 7))
    signal = analytic_signal(windows, estimates)
    assert signal.shape == (20, 2, 7)
    assert (signal[:, 0] == windows).all()
    assert (signal[:, 1] == estimates).all()
    assert analytic_signal(windows, signal) is signal


def tensors():
    return {name: tensor.clone() for name, tensor in make_network().state_dict().items()}


def forge(tensors, path, **changes):
    """Writes a model file whose digest is right, whatever else is wrong with it."""
    blueprint = {"model": make_params().model_dump() | changes, "window_length": 7, "sha256": digest.ZEROS}
    save_file(tensors, path, {"quadrature": json.dumps(blueprint)})
    digest.write(path)


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


FOREIGN = {
    "text": lambda path: path.write_text("not a model"),
    "nothing": lambda path: path.write_bytes(b""),
    "truncated": lambda path: (forge(tensors(), path), path.write_bytes(path.read_bytes()[:-9])),
    "a flipped bit of a weight": lambda path: (forge(tensors(), path), flip(path, -31)),
    "another project's": lambda path: save_file(tensors(), path),
    "another network's": lambda path: forge(tensors(), path, hidden_size=6),
    "of another output": lambda path: forge(tensors(), path, output="analytic"),
    "of an unknown output": lambda path: forge(tensors(), path, output="cosine"),
    "huge": lambda path: forge(tensors(), path, hidden_size=8192, num_layers=64),
    "unknown parameters": lambda path: forge(tensors(), path, colour="red"),
    "a tensor missing": lambda path: forge(dict(list(tensors().items())[1:]), path),
    "half precision": lambda path: forge({k: v.half() for k, v in tensors().items()}, path),
    "not finite": lambda path: forge({k: v / 0 for k, v in tensors().items()}, path),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_model_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    FOREIGN[kind](path)
    with pytest.raises(DataError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path} is not a model of this project (")
    assert "\n" not in str(caught.value)


def test_a_missing_model_is_told_so(tmp_path):
    with pytest.raises(DataError, match="is missing; run `dvc repro train`"):
        load_model(tmp_path / "model.safetensors")
