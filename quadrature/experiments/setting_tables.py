"""Puts compared settings into tables: a row each, with the parameters that vary and the metrics."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from quadrature.experiments.comparison import Setting, Statistic, short_names
from quadrature.experiments.text_tables import markdown, markdown_table, one_line, text_table
from quadrature.reporting.page import spelled, with_error

PERCENT = ("excess", "excess_standard_error")
"""Metrics that are shown in per cent."""


class Table(NamedTuple):
    """The settings of one task, a row each, as text."""

    title: str  # the parameters of the task; empty if all settings have one task
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    settings: Sequence[Setting]


def by_task(settings: Sequence[Setting], metrics: Sequence[str]) -> list[Table]:
    """Returns a table for each task. Its columns are the parameters that vary, and the metrics.

    The first metric, by which settings are ordered, has its difference from the reference's beside it.
    """
    names = short_names([*settings[0].varied])
    shown = {name: short for name, short in names.items() if name not in settings[0].task}
    first, *others = map(heading, metrics)
    header = [*shown.values(), "n", first, *(["difference"] if len(settings) > 1 else []), *others, "runs"]
    tables = []
    for _, group in groupby(settings, key=lambda setting: setting.task):
        same_task = [*group]
        title = ", ".join(f"{names[name]} {spelled(value)}" for name, value in same_task[0].task.items())
        rows = [row(setting, [*shown], metrics, alone=len(settings) == 1) for setting in same_task]
        tables.append(Table(title, header, rows, same_task))
    return tables


def row(setting: Setting, names: Sequence[str], metrics: Sequence[str], *, alone: bool) -> list[str]:
    """Returns a setting's cells; without a difference if it is alone."""
    first, *others = (mean_in_words(setting.figures[metric], percent(metric)) for metric in metrics)
    between = [] if alone else ["reference" if setting.is_reference else difference(setting, metrics[0])]
    parameters = [spelled(setting.varied[name]) for name in names]
    return [*parameters, str(len(setting.runs)), first, *between, *others, run_names(setting)]


def heading(metric: str) -> str:
    """Returns a metric's name with its unit."""
    return f"{metric} (%)" if metric in PERCENT else metric


def percent(metric: str) -> float:
    """Returns the factor from a metric to its figure in a table."""
    return 100.0 if metric in PERCENT else 1.0


def as_text(table: Table) -> str:
    """Returns a table for a terminal."""
    title = f"{one_line(table.title)}\n\n" if table.title else ""
    return title + text_table(table.header, table.rows)


def as_markdown(table: Table) -> str:
    """Returns a table in Markdown."""
    title = f"**{markdown(table.title)}**\n\n" if table.title else ""
    return title + markdown_table(table.header, table.rows)


def run_names(setting: Setting) -> str:
    """Returns the name of a setting's first run and the number of its other runs."""
    more = len(setting.runs) - 1
    return f"{setting.name} and {more} more" if more else setting.name


def mean_in_words(statistic: Statistic, factor: float = 1.0) -> str:
    """Returns a mean times a factor, with the standard deviation over seeds if there is one."""
    return "none" if statistic.mean is None else scaled(statistic.mean, statistic.standard_deviation, factor)


def difference(setting: Setting, metric: str) -> str:
    """Returns a mean difference with its standard error if there is one, or why there is no difference."""
    if metric not in setting.differences:
        return "another task"
    paired = setting.differences[metric]
    if paired.mean is None:
        return "no seed has both"
    return scaled(paired.mean, paired.standard_error, percent(metric), "+")


def scaled(value: float, error: float | None, factor: float, sign: str = "") -> str:
    """Returns a value and its error, both times a factor."""
    return with_error(factor * value, None if error is None else factor * error, sign)
