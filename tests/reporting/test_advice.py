"""The report's advice: settings that a run does not have, with the effect that docs/accuracy.md reports."""

import re

import pytest

from quadrature.reporting.advice import next_trials
from quadrature.reporting.metrics import TrainMetrics
from quadrature.runtime.settings import flatten
from tests.checkout import PROJECT, Checkout
from tests.reporting.test_verdict import WELL

TRAINED = TrainMetrics(
    epochs=32, steps=16_384, parameters=14_164, train_mse=5e-6, train_target="posterior_mean", validation_mse=0.0025
)


def advised(test=WELL, train=TRAINED, **changes):
    params = flatten(Checkout(PROJECT).yaml("params.yaml"))
    return list(next_trials(test, train, params | {name.replace("__", "."): each for name, each in changes.items()}))


@pytest.mark.parametrize(
    ("changes", "train", "first"),
    [
        ({}, {}, "model.hidden_size=96"),
        ({"model__hidden_size": 96}, {}, "train.epochs=64"),
        ({"targets__kind": "clean"}, {}, "targets.kind=posterior_mean"),
        ({"train__optimizer": "adam"}, {}, "train.optimizer=soap"),
        ({}, {"epochs": 4, "steps": 2048}, "train.epochs=8"),
        ({"model__hidden_size": 16}, {}, "model.hidden_size=32"),
    ],
)
def test_a_run_is_advised_to_try_what_it_lacks(changes, train, first):
    assert advised(train=TRAINED.model_copy(update=train), **changes)[0].change == first


def test_windows_of_ones_own_are_not_advised_to_train_on_a_posterior_mean():
    unknown = WELL.model_copy(update={"floor_mse": None, "excess": None, "excess_standard_error": None})
    found = advised(unknown, generate__source="mine.parquet", targets__kind="clean")
    assert "targets.kind=posterior_mean" not in {trial.change for trial in found}


def test_every_figure_of_the_advice_is_in_the_page_of_trials():
    page = (PROJECT / "docs/accuracy.md").read_text()
    few = TRAINED.model_copy(update={"epochs": 4, "steps": 2048})
    found = advised(train=few, targets__kind="clean", train__optimizer="adam", model__hidden_size=16)
    assert len(found) == 4
    assert not advised(train=TRAINED.model_copy(update={"steps": 32_768}), model__hidden_size=96)
    for trial in [*found, *advised()]:
        for figure in re.findall(r"\d[\d,.]*\d", trial.effect):
            assert figure in page, trial
