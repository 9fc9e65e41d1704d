"""Both executions of the whole recurrent family against torch's own layers: values, gradients, states, names."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from quadrature.network.model import LAYERS, QuadratureNetwork, initialize
from quadrature.network.model_file import load_model, save_model
from tests.network.test_model import make_network, make_params

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
FAMILY = [
    {"cell": cell, "nonlinearity": nonlinearity, "num_layers": layers, "bidirectional": bidirectional, "bias": bias}
    for (cell, nonlinearity), layers, bidirectional, bias in itertools.product(
        CELLS, (1, 2, 3), (False, True), (True, False)
    )
]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
KINDS = [
    *itertools.product(TOLERANCE, ("last", "every"), ("quadrature",)),
    *((torch.float64, head, "analytic") for head in ("last", "every")),
]
"""Types of numbers, heads and outputs."""


def name(changes):
    words = [changes["cell"], changes["nonlinearity"], f"{changes['num_layers']} layers"]
    words += ["two ways"] * changes["bidirectional"] + ["no bias"] * (not changes["bias"])
    return " ".join(words)


def draw(*shape, dtype, seed=0):
    """Returns numbers that require a gradient."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def torchs_own(params):
    """Returns the layer as torch's documentation makes it, sequence first."""
    options = {"nonlinearity": params.nonlinearity} if params.cell == "rnn" else {}
    return getattr(nn, params.cell.upper())(
        1, params.hidden_size, params.num_layers, bias=params.bias, bidirectional=params.bidirectional, **options
    )


def gradients(loss, *leaves):
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "lengths", [(1, 5), pytest.param((2, 10, 100), marks=pytest.mark.nightly)], ids=["short", "long"]
)
@pytest.mark.parametrize("execution", ["sequence", "stepwise"])
@pytest.mark.parametrize("changes", FAMILY, ids=name)
def test_estimates_and_gradients_are_those_of_torchs_own_layers(changes, execution, lengths):
    """For both heads; the loss weighs each estimate and each number of the final state by a draw of its own."""
    for dtype, head, output in KINDS:
        network = make_network(**changes, execution=execution, head=head, output=output).to(dtype)
        params = network.params
        reference = torchs_own(params).to(dtype)
        reference.load_state_dict(network.recurrent.state_dict())
        linear = nn.Linear(network.linear.in_features, network.linear.out_features).to(dtype)
        linear.load_state_dict(network.linear.state_dict())
        states = params.num_layers * network.directions
        for length, batch in itertools.product(lengths, (1, 7)):
            window = draw(batch, length, 1, dtype=dtype)
            state = draw(states, batch, 5, dtype=dtype, seed=1)
            given = (state, state) if params.cell == "lstm" else state

            outputs, final = reference(window.transpose(0, 1), given)
            hidden = final[0] if params.cell == "lstm" else final
            if head == "every":
                expected = linear(outputs).permute(1, 2, 0)
            else:
                expected = linear(torch.cat(list(hidden[-network.directions :]), dim=1)).unflatten(1, (-1, 7))
            expected = expected if output == "analytic" else expected.squeeze(1)
            estimate, after = network.advance(window, given)
            after = after if params.cell == "lstm" else (after,)
            final = final if params.cell == "lstm" else (final,)

            weigh = draw(*expected.shape, dtype=dtype, seed=2).detach()
            weigh_state = draw(states, batch, 5, dtype=dtype, seed=3).detach()
            theirs = (expected * weigh).mean() + sum((part * weigh_state).mean() for part in final)
            ours = (estimate * weigh).mean() + sum((part * weigh_state).mean() for part in after)
            torch.testing.assert_close(
                [estimate, *after, *gradients(ours, window, state, *network.parameters())],
                [expected, *final, *gradients(theirs, window, state, *reference.parameters(), *linear.parameters())],
                rtol=TOLERANCE[dtype],
                atol=TOLERANCE[dtype],
            )


@pytest.mark.parametrize("execution", ["sequence", "stepwise"])
@pytest.mark.parametrize("changes", [changes for changes in FAMILY if changes["num_layers"] == 2], ids=name)
def test_without_a_state_it_begins_from_zeros(changes, execution):
    network = make_network(**changes, execution=execution)
    window = draw(3, 7, 1, dtype=torch.float32)
    zeros = torch.zeros(2 * network.directions, 3, 5)
    given = (zeros, zeros) if network.params.cell == "lstm" else zeros
    assert torch.equal(network(window), network(window, given))
    assert not torch.equal(
        network(window), network(window, (zeros + 1, zeros) if isinstance(given, tuple) else zeros + 1)
    )


@pytest.mark.parametrize("output", ["quadrature", "analytic"])
@pytest.mark.parametrize("execution", ["sequence", "stepwise"])
@pytest.mark.parametrize("cell", LAYERS)
def test_a_window_read_in_two_halves_is_the_window_read_at_once(cell, execution, output):
    network = make_network(cell=cell, num_layers=2, head="every", execution=execution, output=output)
    window = draw(3, 7, 1, dtype=torch.float32)
    first, state = network.advance(window[:, :4])
    second, state = network.advance(window[:, 4:], state)
    whole, after = network.advance(window)
    torch.testing.assert_close((torch.cat([first, second], dim=-1), state), (whole, after))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", LAYERS)
def test_dropout_acts_between_layers_by_the_same_draws_in_both_executions(cell, bidirectional):
    changes = {"cell": cell, "num_layers": 3, "dropout": 0.5, "bidirectional": bidirectional}
    window = draw(3, 7, 1, dtype=torch.float32)
    estimates = []
    for execution in ("sequence", "stepwise", "stepwise"):
        torch.manual_seed(len(estimates) // 2)
        estimates.append(make_network(**changes, execution=execution)(window))
    torch.testing.assert_close(estimates[0], estimates[1])
    assert not torch.allclose(estimates[1], estimates[2])
    still = [make_network(**changes, execution=execution).eval()(window) for execution in ("sequence", "stepwise")]
    torch.testing.assert_close(*still)
    assert not torch.allclose(still[1], estimates[1])


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize("states", [1, 3])
@pytest.mark.parametrize("cell", LAYERS)
def test_a_state_of_other_layers_is_refused(cell, states):
    network = make_network(cell=cell, num_layers=2, execution="stepwise")
    state = torch.zeros(states, 3, 5)
    with pytest.raises(ValueError, match=f"the state has {states} layers and directions, not 2"):
        network(torch.zeros(3, 7, 1), (state, state) if cell == "lstm" else state)


def equations(cell, weights, x, h, c):
    """One step of torch's documented equations; weights are (weight_ih, weight_hh, bias_ih, bias_hh).

    https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html, LSTM.html and GRU.html.
    """
    w_i, w_h, b_i, b_h = weights
    from_input, from_state = w_i[:, 0] * x + b_i, w_h @ h + b_h
    match cell:
        case "rnn tanh":
            return np.tanh(from_input + from_state), c
        case "rnn relu":
            return np.maximum(from_input + from_state, 0.0), c
        case "lstm":
            i, f, g, o = np.split(from_input + from_state, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            return sigmoid(o) * np.tanh(c), c
        case "gru":
            (r_i, z_i, n_i), (r_h, z_h, n_h) = np.split(from_input, 3), np.split(from_state, 3)
            z = sigmoid(z_i + z_h)
            return (1 - z) * np.tanh(n_i + sigmoid(r_i + r_h) * n_h) + z * h, c


@pytest.mark.parametrize("execution", ["sequence", "stepwise"])
@pytest.mark.parametrize("cell", ["rnn tanh", "rnn relu", "lstm", "gru"])
def test_a_step_is_the_one_in_torchs_documentation(cell, execution):
    kind, _, nonlinearity = cell.partition(" ")
    network = make_network(cell=kind, nonlinearity=nonlinearity or "tanh", execution=execution).double()
    weights = [tensor.numpy() for tensor in network.recurrent.state_dict().values()]
    window = np.sin(np.arange(7.0))
    h = c = np.zeros(5)
    for x in window:
        h, c = equations(cell, weights, x, h, c)
    expected = network.linear.weight.detach().numpy() @ h + network.linear.bias.detach().numpy()
    estimate = network(torch.tensor(window).reshape(1, 7, 1)).detach().numpy()
    np.testing.assert_allclose(estimate[0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("changes", FAMILY, ids=name)
def test_both_executions_have_the_same_weights_by_the_same_names_and_load_each_others_files(changes, tmp_path):
    networks = {execution: make_network(**changes, execution=execution) for execution in ("sequence", "stepwise")}
    weights = {execution: network.state_dict() for execution, network in networks.items()}
    assert list(weights["sequence"]) == list(weights["stepwise"])
    assert all(torch.equal(weights["sequence"][key], weights["stepwise"][key]) for key in weights["sequence"])

    window = draw(3, 7, 1, dtype=torch.float32)
    path = tmp_path / "model.safetensors"
    for execution, other in (("sequence", "stepwise"), ("stepwise", "sequence")):
        save_model(networks[execution], path)
        assert load_model(path).params.execution == execution
        loaded = load_model(path, execution=other)
        assert loaded.params == networks[other].params
        assert torch.equal(loaded(window), networks[other](window))


class ArticlesModule(nn.Module):
    """As the article writes it."""

    def __init__(self, cell, num_layers):
        super().__init__()
        layer = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
        setattr(self, cell, layer(input_size=1, hidden_size=5, num_layers=num_layers, batch_first=True))
        self.linear = nn.Linear(5, 7)
        self.cell = cell

    def forward(self, x):
        out, _ = getattr(self, self.cell)(x)
        return self.linear(out[:, -1, :])


@pytest.mark.parametrize("execution", ["sequence", "stepwise"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", LAYERS)
def test_weights_go_to_the_articles_module_and_come_from_it_to_the_bit(cell, num_layers, execution):
    network = make_network(cell=cell, num_layers=num_layers, execution=execution)
    module = ArticlesModule(cell, num_layers)
    module.load_state_dict(network.state_dict())
    window = draw(3, 7, 1, dtype=torch.float32)
    torch.testing.assert_close(module(window), network(window))

    theirs = ArticlesModule(cell, num_layers)
    ours = QuadratureNetwork(make_params(cell=cell, num_layers=num_layers, execution=execution), window_length=7)
    initialize(ours, 1)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(window), theirs(window))
    for given, taken in ((network, module), (theirs, ours)):
        given, taken = given.state_dict(), taken.state_dict()
        assert list(given) == list(taken)
        assert all(torch.equal(given[key], taken[key]) for key in given)
