"""A search over ranges of parameters. Each trial is an experiment of DVC, and the experiments are the search's memory.

So a search that was stopped goes on where it stopped, `dvc exp push` shares it, and nothing else is kept.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from quadrature.experiments.comparison import finite
from quadrature.experiments.runs import Run, experiment_names, readable
from quadrature.runtime.errors import ParameterError

LOGARITHMIC = 10.0
"""A range is searched by its logarithm if its end is so many times its beginning."""

DIGITS = 3
"""Significant digits of a number that is tried: more would say nothing, and are hard to read."""

Ranges = Mapping[str, BaseDistribution]
"""The parameters to search, by dotted name."""


class Trial(NamedTuple):
    """A finished experiment of a search."""

    number: int
    run: Run
    value: float  # of the metric


def parse_ranges(texts: Sequence[str]) -> dict[str, BaseDistribution]:
    """Returns the ranges of NAME=LOW..HIGH and NAME=VALUE,VALUE. Raises ParameterError for another text."""
    ranges = [_parse_range(text) for text in texts]
    for name, count in Counter(name for name, _ in ranges).items():
        if count > 1:
            raise ParameterError(f"{name} is given {count} times; give it one range")
    return dict(ranges)


def _parse_range(text: str) -> tuple[str, BaseDistribution]:
    match = re.fullmatch(r"([\w.]+)=(.+)", text)
    if not match:
        raise ParameterError(f"{text} is not a range; write train.learning_rate=0.01..0.1 or model.cell=gru,lstm")
    name, values = match.groups()
    if ".." not in values:
        return name, CategoricalDistribution([_value(text, each) for each in values.split(",")])
    low, high = (_value(text, each) for each in values.split("..", 1))
    if (
        isinstance(low, bool | str | None)
        or isinstance(high, bool | str | None)
        or not -math.inf < low < high < math.inf
    ):
        raise ParameterError(f"{text} is not a range; write its lower end first, as in 0.01..0.1")
    log = low > 0 and high >= LOGARITHMIC * low
    if isinstance(low, int) and isinstance(high, int):
        return name, IntDistribution(low, high, log=log)
    return name, FloatDistribution(low, high, log=log)


def _value(text: str, value: str) -> bool | int | float | str | None:
    """Returns a value as params.yaml has it."""
    if not value.strip():
        raise ParameterError(f"{text} has an empty value; write null for none")
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError:
        found = []
    if isinstance(found, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value):
        return float(value)  # PyYAML takes 1e-3 for text
    if not isinstance(found, bool | int | float | str | None):
        raise ParameterError(f"{text} has a value that params.yaml cannot hold: {value}")
    return found


class Memory(NamedTuple):
    """The experiments of a search that began at this commit."""

    trials: Sequence[Trial]  # those within the ranges that have the metric, by number
    last: int  # the highest number of an experiment, 0 without any

    @property
    def best(self) -> Trial:
        """The trial with the lowest value."""
        return min(self.trials, key=lambda trial: trial.value)


def recall(name: str, metric: str, ranges: Ranges) -> Memory:
    """Returns what a search has found so far."""
    names, _ = experiment_names()
    pattern = re.compile(rf"(?:refs/.*/)?{re.escape(name)}-(\d+)")
    numbers = {each: int(match[1]) for each in names if (match := pattern.fullmatch(each))}
    found = [Trial(numbers[run.name], run, finite(run.metrics.get(metric))) for run in readable([*numbers])]
    within = [
        trial
        for trial in found
        if not math.isnan(trial.value)
        and all(_is_within(trial.run.params.get(parameter), values) for parameter, values in ranges.items())
    ]
    return Memory(sorted(within), max(numbers.values(), default=0))


def suggest(ranges: Ranges, found: Sequence[Trial], number: int) -> dict[str, object]:
    """Returns the parameters to try next, the same for the same finished trials and number.

    The first ten are random, the others by the tree-structured Parzen estimator (Bergstra et al., Algorithms for
    Hyper-Parameter Optimization, NIPS 2011). The trials are within the ranges.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=number))
    for trial in found:
        params = {name: trial.run.params.get(name) for name in ranges}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(ranges), value=trial.value))
    asked = study.ask(dict(ranges))
    return {name: _rounded(value, ranges[name]) for name, value in asked.params.items()}


def _is_within(value: object, distribution: BaseDistribution) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)  # noqa: S101, as parse_ranges makes them
    return isinstance(value, int | float) and distribution.low <= value <= distribution.high


def _rounded(value: object, distribution: BaseDistribution) -> object:
    if not isinstance(distribution, FloatDistribution):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), distribution.low), distribution.high)
