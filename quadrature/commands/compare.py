"""`python -m quadrature compare`: prints runs with the parameters that differ and their metrics, best first."""

import argparse
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from quadrature.experiments.comparison import METRICS, Setting, compare, metrics_found
from quadrature.experiments.comparison_page import write_page
from quadrature.experiments.runs import WORKSPACE, Run, experiment_names, read_here, read_run, readable
from quadrature.experiments.setting_tables import as_markdown, as_text, by_task
from quadrature.runtime.errors import ParameterError
from quadrature.runtime.lifecycle import standard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "runs", nargs="*", metavar="REVISION|EXPERIMENT",
        help=f"branches, tags, commits, experiments, or {WORKSPACE} for the files here; "
        f"default: {WORKSPACE} and every finished experiment of this commit",
    )  # fmt: skip
    parser.add_argument("--all-commits", action="store_true", help="add the finished experiments of every commit")
    parser.add_argument("--reference", metavar="NAME", help="the run to compare the others with; default: the first")
    parser.add_argument(
        "--metric", action="append", metavar="NAME",
        help=f"a dotted name in metrics/test.json or metrics/train.json; repeatable; default: {', '.join(METRICS)}; "
        "the first orders the runs",
    )  # fmt: skip
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--markdown", action="store_true", help="print a table of Markdown")
    printed.add_argument("--json", action="store_true", help="print JSON, with the metrics of every run")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with the runs' curves")


def main(arguments: argparse.Namespace) -> None:
    """Prints the comparison, and writes a page if --html names one."""
    if arguments.html is not None and arguments.html.exists() and not arguments.html.is_file():
        raise ParameterError(f"--html {arguments.html} is not a file; name a file to write")
    runs = read_runs(arguments.runs, arguments.reference, all_commits=arguments.all_commits)
    metrics = list(dict.fromkeys(arguments.metric or metrics_found(runs)))
    settings = compare(runs, metrics, arguments.reference or runs[0].name)

    if arguments.html is not None:
        write_page(arguments.html, settings, metrics)
    if arguments.json:
        text = to_json(settings, metrics)
    else:
        tables = by_task(settings, metrics)
        text = "\n".join(map(as_markdown if arguments.markdown else as_text, tables))
    with standard("output") as output:
        output.write(text)


def read_runs(named: Sequence[str], reference: str | None, *, all_commits: bool) -> list[Run]:
    """Returns the named runs, or the default ones; with `all_commits`, the experiments of every commit too.

    An experiment that was not named and cannot be compared is left out with a note. Raises the errors of runs.read_run
    for a named run, and for the files here if the last commit cannot take their place.
    """
    runs = [read_run(name) for name in dict.fromkeys([*named, *([reference] if reference else [])])]
    if not named:
        runs.append(read_here())
    if not named or all_commits:
        found, elsewhere = experiment_names(all_commits=all_commits)
        runs += readable(found)
        if elsewhere:
            commits = "another commit" if elsewhere == 1 else f"{elsewhere} other commits"
            logging.info("experiments of %s are not shown; --all-commits adds them", commits)
    return [*{run.name: run for run in runs}.values()]


def to_json(settings: Sequence[Setting], metrics: Sequence[str]) -> str:
    """Returns the comparison as JSON, with the metrics of every run. Dates among the parameters become text."""
    found = {"metrics": metrics, "settings": [described(each) for each in settings]}
    return json.dumps(found, indent=2, default=str) + "\n"


def _as_json(value: object) -> object:
    """Returns a metric, None if JSON has no such number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def described(setting: Setting) -> dict[str, object]:
    """Returns a setting as in the JSON output."""
    return {
        "reference": setting.is_reference,
        "parameters": dict(setting.varied),
        "metrics": {
            metric: {
                **statistic._asdict(),
                "runs": {run.name: _as_json(run.metrics.get(metric)) for run in setting.runs},
                "difference": setting.differences[metric]._asdict() if metric in setting.differences else None,
            }
            for metric, statistic in setting.figures.items()
        },
    }
