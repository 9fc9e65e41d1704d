"""Compares runs: groups them by setting, averages over seeds, subtracts the reference. Reads no file.

Two runs are of one setting if they differ in their seeds only. A setting's figures are means over its seeds, with
standard deviations. Settings are compared seed by seed, over the seeds that both have: a seed that is hard for one
setting is hard for the other too, so the paired differences vary less than the difference of the two means.
"""

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from quadrature.experiments.runs import Run
from quadrature.runtime.errors import ParameterError

CODE = "code"
"""Name of the digest of a run's code, listed with its parameters."""


class Statistic(NamedTuple):
    """A metric over a setting's seeds: no mean without a value, no standard deviation with fewer than two."""

    mean: float | None
    standard_deviation: float | None
    n: int


class Difference(NamedTuple):
    """A metric's mean difference from the reference over n common seeds: no standard error with fewer than two."""

    mean: float | None
    standard_error: float | None
    n: int


class Setting(NamedTuple):
    """Runs that differ in their seeds only, with figures by metric; the reference has no differences."""

    runs: Sequence[Run]
    varied: Mapping[str, object]  # its values of the parameters in which the settings differ
    figures: Mapping[str, Statistic]
    differences: Mapping[str, Difference]
    is_reference: bool

    @property
    def name(self) -> str:
        """The name of the first run."""
        return self.runs[0].name


def compare(runs: Sequence[Run], metrics: Sequence[str], reference: str) -> list[Setting]:
    """Returns the runs' settings, lowest mean of the first metric first, those without a mean last.

    The setting of the run named `reference` is the reference. Of several runs with the same setting and seeds, only
    the first counts. Raises ParameterError if no run has a metric.
    """
    _check(metrics, runs)
    params = _params_table(runs)
    seeds = params.filter(regex=r"(^|\.)seed$")
    others = params.drop(columns=seeds.columns)
    varied = [str(name) for name in others if others[name].fillna(repr(None)).unique().size > 1]
    values = pd.DataFrame(
        [[_number(run.metrics.get(metric)) for metric in metrics] for run in runs],
        index=[str(row) for row in seeds.to_numpy().tolist()],
        columns=list(metrics),
    )

    numbers = others.groupby(list(others), sort=False, dropna=False).ngroup()  # of settings, in order of appearance
    reference_number = int(numbers[[run.name for run in runs].index(reference)])
    counted = numbers[~params.duplicated()]
    rows_of = counted.groupby(counted).groups
    settings = []
    for number, rows in rows_of.items():
        own = values.iloc[rows]
        paired = own - values.iloc[rows_of[reference_number]]  # by seeds, NaN where only one has them
        is_reference = number == reference_number
        setting = Setting(
            [runs[row] for row in rows],
            {name: _value(runs[rows[0]], name) for name in varied},
            {metric: _statistic(own[metric]) for metric in metrics},
            {} if is_reference else {metric: _difference(paired[metric]) for metric in metrics},
            is_reference,
        )
        settings.append(setting)
    return sorted(settings, key=lambda setting: _rank(setting.figures[metrics[0]].mean))


def _check(metrics: Sequence[str], runs: Sequence[Run]) -> None:
    known = {name for run in runs for name in run.metrics}
    for metric in metrics:
        if metric not in known:
            raise ParameterError(f"no run has the metric {metric}; there are {', '.join(sorted(known))}")


def _params_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Returns a row a run with its code and parameters, NaN where it lacks a parameter.

    Values are text, because 1 == True and lists cannot be grouped.
    """
    return pd.DataFrame([{CODE: run.code} | {name: repr(run.params[name]) for name in run.params} for run in runs])


def _value(run: Run, name: str) -> object:
    return run.code if name == CODE else run.params.get(name)


def _number(value: object) -> float:
    """Returns a metric's value, NaN unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return math.nan
    return float(value)


def _statistic(values: "pd.Series[float]") -> Statistic:
    # Not by pandas: the standard library rounds correctly, so no version of pandas changes a digit.
    found = values.dropna().tolist()
    deviation = statistics.stdev(found) if len(found) > 1 else None
    return Statistic(statistics.fmean(found) if found else None, deviation, len(found))


def _difference(values: "pd.Series[float]") -> Difference:
    mean, deviation, n = _statistic(values)
    return Difference(mean, None if deviation is None else deviation / math.sqrt(n), n)


def _rank(mean: float | None) -> float:
    return math.inf if mean is None else mean
