"""Summarises the measurements of `make bench`: each framework's best settings, medians and ratios to this project."""

import json
import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks.frameworks.tasks import Cell

Row = dict[str, Any]
"""A measurement: its round, framework, settings and figures."""

OURS = "ours"


def select(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """Returns the measurements that have all the given values."""
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def better_threads(throughput: list[Row], framework: str, size: str) -> int | None:
    """Returns the thread count with which a framework was fastest in the first round, None if it was not measured."""
    tried = select(throughput, round=0, framework=framework, size=size)
    return max(tried, key=lambda row: row["windows_per_second"])["threads"] if tried else None


def best_cell(target: list[Row], framework: str, task: str) -> Cell:
    """Returns the cell with which a peer reached the target first in the first round, or came closest to it."""
    tried = select(target, round=0, framework=framework, task=task)
    reached = select(tried, reached=True)
    best = min(reached, key=lambda row: row["seconds"]) if reached else min(tried, key=lambda row: row["mse"])
    return Cell(*(best[field] for field in Cell._fields))


def summarise(throughput: list[Row], target: list[Row]) -> dict[str, dict[str, dict[str, Row]]]:
    """Returns the medians and their ratios to this project's, by size or task and by framework.

    Runs that missed the target are left out of the median; `reached` is the number of the others.
    """
    sizes, tasks = (
        list(dict.fromkeys(row[key] for row in rows)) for rows, key in ((throughput, "size"), (target, "task"))
    )
    return {
        "throughput": {size: with_ratios(speeds(throughput, size), "windows_per_second") for size in sizes},
        "target": {task: with_ratios(times(target, task), "seconds", "peak_mb") for task in tasks},
    }


def speeds(throughput: list[Row], size: str) -> dict[str, Row]:
    """Returns each framework's median windows a second at a size, with its better thread count."""
    medians = {}
    for framework in dict.fromkeys(row["framework"] for row in select(throughput, size=size)):
        threads = better_threads(throughput, framework, size)
        rows = select(throughput, framework=framework, size=size, threads=threads)
        medians[framework] = {"threads": threads, "windows_per_second": median(rows, "windows_per_second")}
    return medians


def times(target: list[Row], task: str) -> dict[str, Row]:
    """Returns each framework's median time to a task's target, in the cell chosen in the first round."""
    medians = {}
    for framework in dict.fromkeys(row["framework"] for row in select(target, task=task)):
        cell = {} if framework == OURS else best_cell(target, framework, task)._asdict()
        rows = select(target, framework=framework, task=task, **cell)
        reached = select(rows, reached=True)
        medians[framework] = {
            **cell,
            "threads": rows[-1]["threads"],
            "runs": len(rows),
            "reached": len(reached),
            "seconds": median(reached, "seconds"),
            "peak_mb": median(reached, "peak_mb"),
        }
    return medians


def median(rows: list[Row], figure: str) -> float | None:
    """Returns the median of a figure, None if there are no rows."""
    return statistics.median(row[figure] for row in rows) if rows else None


def with_ratios(medians: dict[str, Row], *figures: str) -> dict[str, Row]:
    """Adds the ratios of the figures to this project's."""
    for row in medians.values():
        for figure in figures:
            ours = medians.get(OURS, {}).get(figure)
            row[f"{figure}_ratio"] = row[figure] / ours if ours and row[figure] is not None else None
    return medians


def to_json(value: object, indent: str = "") -> str:
    """Returns JSON in which each item of a list is one line, so that a changed measurement is a changed line."""
    inner = f"{indent} "
    match value:
        case dict() if value:
            lines = [f"{json.dumps(name)}: {to_json(item, inner)}" for name, item in value.items()]
            opening, closing = "{}"
        case list() | tuple() if value:
            lines = [json.dumps(item) for item in value]
            opening, closing = "[]"
        case _:
            return json.dumps(value)
    return f"{opening}\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}{closing}"
