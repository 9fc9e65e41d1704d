"""Compares runs: groups them by setting, averages over seeds, subtracts the reference. Reads no file.

Two runs are of one setting if they differ in their seeds only. A setting's figures are means over its seeds, with
standard deviations. Settings are compared seed by seed, over the seeds that both have: a seed that is hard for one
setting is hard for the other too, so the paired differences vary less than the difference of the two means.

Settings have one task if their windows are drawn in the same way. Errors of different tasks are not compared: with more
noise, the best network has a larger error. The excess over the floor is.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from quadrature.experiments.runs import Run
from quadrature.runtime.errors import ParameterError

CODE = "code"
"""Name of the digest of a run's code, listed with its parameters."""

METRICS = ("excess", "mse")
"""The metrics to compare by default, those that a run has."""

RELATIVE = ("excess",)
"""Metrics that are compared across tasks."""

WITHOUT_EFFECT = frozenset(
    {"train.processes", "train.threads", "train.snapshots", "train.snapshot_windows", "plot.windows", "plot.bins"}
)
"""Parameters that change no metric."""

SAME_TASK = ("generate.shard_windows", "generate.windows")
"""The parameters of `generate` that leave a single window as it is."""

LARGEST = 1e300
"""The largest metric that is compared: sums and per cents of such numbers are finite."""


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
    differences: Mapping[str, Difference]  # no metric that cannot be compared with the reference's, of another task
    is_reference: bool

    @property
    def name(self) -> str:
        """The name of the first run."""
        return self.runs[0].name

    @property
    def task(self) -> dict[str, object]:
        """Its values of the parameters in which the settings' tasks differ."""
        return _task(self.varied)


def metrics_found(runs: Sequence[Run]) -> list[str]:
    """Returns the metrics of METRICS of which a run has a number; all of them if there is no number."""
    found = [name for name in METRICS if any(not math.isnan(finite(run.metrics.get(name))) for run in runs)]
    return found or [*METRICS]


def compare(runs: Sequence[Run], metrics: Sequence[str], reference: str) -> list[Setting]:
    """Returns the runs' settings by task, the reference's first, and within a task the lowest first.

    They are ordered by the mean of the first metric, then of the next ones; a setting without a mean comes last. The
    setting of the run named `reference` is the reference. Of several runs with the same setting and seeds, only the
    first counts. Raises ParameterError if no run has a metric.
    """
    _check(metrics, runs)
    params = _params_table(runs)
    seeds = params.filter(regex=r"(^|\.)seed$")
    others = params.drop(columns=seeds.columns)
    varied = [str(name) for name in others if others[name].fillna(repr(None)).unique().size > 1]
    values = _values(runs, metrics, seeds)

    numbers = others.groupby(list(others), sort=False, dropna=False).ngroup()  # of settings, in order of appearance
    reference_number = int(numbers[[run.name for run in runs].index(reference)])
    counted = numbers[~params.duplicated()]
    rows_of = counted.groupby(counted).groups
    reference_values = values.iloc[rows_of[reference_number]]
    reference_task = _task(_chosen(runs[rows_of[reference_number][0]], varied))
    settings = []
    for number, rows in rows_of.items():
        own, parameters = values.iloc[rows], _chosen(runs[rows[0]], varied)
        is_reference = number == reference_number
        paired = own - reference_values  # by seeds, NaN where only one has them
        comparable = [metric for metric in metrics if metric in RELATIVE or _task(parameters) == reference_task]
        setting = Setting(
            [runs[row] for row in rows],
            parameters,
            {metric: _statistic(own[metric]) for metric in metrics},
            {} if is_reference else {metric: _difference(paired[metric]) for metric in comparable},
            is_reference,
        )
        settings.append(setting)
    tasks = [reference_task, *(each.task for each in settings)]
    return sorted(settings, key=lambda each: (tasks.index(each.task), *map(_rank, each.figures.values())))


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Returns each parameter's name without its section, or in full where two would be the same."""
    without = {name: name.partition(".")[2] or name for name in names}
    counts = Counter(without.values())
    return {name: short if counts[short] == 1 else name for name, short in without.items()}


def _check(metrics: Sequence[str], runs: Sequence[Run]) -> None:
    known = {name for run in runs for name in run.metrics}
    for metric in metrics:
        if metric not in known:
            raise ParameterError(f"no run has the metric {metric}; there are {', '.join(sorted(known))}")


def _params_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Returns a row a run with its code and parameters, NaN where it lacks a parameter.

    Values are text, because 1 == True and lists cannot be grouped.
    """
    rows = ({name: repr(value) for name, value in run.params.items() if name not in WITHOUT_EFFECT} for run in runs)
    return pd.DataFrame([{CODE: run.code} | row for run, row in zip(runs, rows, strict=True)])


def _values(runs: Sequence[Run], metrics: Sequence[str], seeds: pd.DataFrame) -> pd.DataFrame:
    """Returns a row a run with its metrics, by its seeds."""
    rows = [[finite(run.metrics.get(metric)) for metric in metrics] for run in runs]
    return pd.DataFrame(rows, index=[str(row) for row in seeds.to_numpy().tolist()], columns=list(metrics))


def _chosen(run: Run, names: Sequence[str]) -> dict[str, object]:
    """Returns a run's values of some parameters, None for one that it lacks."""
    return {name: run.code if name == CODE else run.params.get(name) for name in names}


def _task(varied: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value for name, value in varied.items() if name.startswith("generate.") and not name.startswith(SAME_TASK)
    }


def finite(value: object) -> float:
    """Returns a metric as a float, NaN unless it is a number within LARGEST."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
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


def _rank(figure: Statistic) -> float:
    return math.inf if figure.mean is None else figure.mean
