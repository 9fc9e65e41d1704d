"""What to try next, for the report: settings that this run does not have, with their effect in measured trials."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from quadrature.reporting.metrics import TestMetrics, TrainMetrics
from quadrature.runtime.settings import flatten

STEPS, UNITS = 16_384, 64
"""Optimizer steps and units of the default run."""


class Trial(NamedTuple):
    """A change to params.yaml, and the excess with which trials of the default task ended: docs/accuracy.md."""

    change: str
    effect: str


def next_trials(test: TestMetrics, train: TrainMetrics, params: Mapping[str, object]) -> Iterator[Trial]:
    """Yields trials of settings that this run does not have, those with the largest effect first."""
    values = flatten(params)
    units = values["model.hidden_size"]
    if values["targets.kind"] == "clean" and test.floor_mse is not None:
        yield Trial("targets.kind=posterior_mean", "from 1.4 % to 0.23 to 0.26 %")
    if values["train.optimizer"] != "soap":
        yield Trial("train.optimizer=soap", "from 4.4 to 1.4 %, with clean targets")
    if train.steps < STEPS:
        yield Trial(f"train.epochs={2 * train.epochs}", "0.82, 0.48 and 0.30 % after 2,048, 4,096 and 8,192 steps")
    if isinstance(units, int) and units < UNITS:
        yield Trial(f"model.hidden_size={2 * units}", "from 2.6 to 1.6 % for 32 and 64 units, with clean targets")
    elif units == UNITS:
        yield Trial("model.hidden_size=96", "from 0.24 to 0.14 % for 64 and 96 units")
    if STEPS <= train.steps < 2 * STEPS:
        yield Trial(f"train.epochs={2 * train.epochs}", "from 0.24 to 0.16 % after 16,384 and 32,768 steps")
