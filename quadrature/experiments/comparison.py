"""Runs set side by side: gathered into settings, averaged over seeds, each held against a reference. Pure figures.

A setting is all that a run was made with but its seeds. Its figure is the mean over its seeds with their standard
deviation. Two settings are compared seed by seed, where both have the seed: what a seed makes easy or hard is so
for both, and the standard error of the mean of such differences is smaller than what the two means alone would say.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from quadrature.experiments.runs import Run
from quadrature.runtime.errors import ParameterError

Seeds = tuple[tuple[str, object], ...]
"""The parameters that only choose random numbers, with their values: what runs are paired by."""


class Statistic(NamedTuple):
    """A metric over a setting's seeds; no mean where no run has the metric, no deviation of fewer than two."""

    mean: float | None
    standard_deviation: float | None
    n: int


class Difference(NamedTuple):
    """A metric's mean difference to the reference over the seeds both have; no standard error of fewer than two."""

    mean: float | None
    standard_error: float | None
    n: int


class Setting(NamedTuple):
    """Runs alike in all but their seeds, with each metric's figures by name; the reference has no differences."""

    runs: Sequence[Run]
    varied: Mapping[str, object]  # of the parameters that differ between settings, its values
    figures: Mapping[str, Statistic]
    differences: Mapping[str, Difference]
    is_reference: bool

    @property
    def name(self) -> str:
        """The name of its first run."""
        return self.runs[0].name


def compare(runs: Sequence[Run], metrics: Sequence[str], reference: str) -> list[Setting]:
    """Returns the runs' settings, best first: with the lowest mean of the first metric, those without one last.

    `reference` names the run whose setting the others are held against. Runs of the same setting and seeds are one
    run told twice; the first counts. Raises ParameterError when a metric is no run's.
    """
    known = {name for run in runs for name in run.metrics}
    for metric in metrics:
        if metric not in known:
            raise ParameterError(f"no run has the metric {metric}; there are {', '.join(sorted(known))}")
    groups: dict[tuple[object, ...], dict[Seeds, Run]] = {}
    for run in runs:
        groups.setdefault(_setting(run), {}).setdefault(_seeds(run), run)
    against = next(key for run in runs if run.name == reference for key in [_setting(run)])
    varied = _varied([next(iter(group.values())) for group in groups.values()])
    settings = [
        Setting(
            list(group.values()),
            {name: _value(next(iter(group.values())), name) for name in varied},
            {metric: _statistic(list(_numbers(group, metric).values())) for metric in metrics},
            {} if key == against else {metric: _difference(group, groups[against], metric) for metric in metrics},
            key == against,
        )
        for key, group in groups.items()
    ]
    return sorted(settings, key=lambda setting: _rank(setting.figures[metrics[0]]))


CODE = "code"
"""The name under which runs of different code are told apart, beside the parameters."""


def _is_seed(name: str) -> bool:
    return name.rpartition(".")[2] == "seed"


def _setting(run: Run) -> tuple[object, ...]:
    return run.code, *sorted((name, repr(value)) for name, value in run.params.items() if not _is_seed(name))


def _seeds(run: Run) -> Seeds:
    return tuple(sorted((name, value) for name, value in run.params.items() if _is_seed(name)))


def _value(run: Run, name: str) -> object:
    return run.code if name == CODE else run.params.get(name)


def _varied(runs: Sequence[Run]) -> list[str]:
    """Returns the parameters on which runs of different settings differ, in the order of params.yaml."""
    names = [CODE, *dict.fromkeys(name for run in runs for name in run.params if not _is_seed(name))]
    return [name for name in names if len({repr(_value(run, name)) for run in runs}) > 1]


def _numbers(group: Mapping[Seeds, Run], metric: str) -> dict[Seeds, float]:
    """Returns the metric of each run that has one, a finite number."""
    found = {seeds: run.metrics.get(metric) for seeds, run in group.items()}
    return {
        seeds: float(value)
        for seeds, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _statistic(values: Sequence[float]) -> Statistic:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Statistic(statistics.fmean(values) if values else None, deviation, len(values))


def _difference(group: Mapping[Seeds, Run], reference: Mapping[Seeds, Run], metric: str) -> Difference:
    ours, theirs = _numbers(group, metric), _numbers(reference, metric)
    mean, deviation, n = _statistic([ours[seeds] - theirs[seeds] for seeds in ours if seeds in theirs])
    return Difference(mean, None if deviation is None else deviation / math.sqrt(n), n)


def _rank(figure: Statistic) -> tuple[bool, float]:
    return figure.mean is None, figure.mean or 0.0
