"""`python -m quadrature compare`: prints runs with the parameters that differ and their metrics, best first."""

import argparse
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

from quadrature.experiments import curves
from quadrature.experiments.comparison import Difference, Setting, Statistic, compare
from quadrature.experiments.runs import WORKSPACE, experiment_names, read_run, read_tables
from quadrature.experiments.text_tables import markdown_table, text_table
from quadrature.reporting import page
from quadrature.runtime.errors import ParameterError
from quadrature.runtime.lifecycle import standard
from quadrature.storage.files import write_bytes

METRICS = ("mse", "excess")


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
        help=f"a dotted name in metrics/test.json or metrics/train.json; repeatable; default: {', '.join(METRICS)}",
    )  # fmt: skip
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--markdown", action="store_true", help="print a table of Markdown")
    printed.add_argument("--json", action="store_true", help="print JSON, with the metrics of every run")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with the runs' curves")


def main(arguments: argparse.Namespace) -> None:
    """Prints the comparison, and writes a page if --html names one."""
    if arguments.html is not None and arguments.html.exists() and not arguments.html.is_file():
        raise ParameterError(f"--html {arguments.html} is not a file; name a file to write")
    names = list(dict.fromkeys(choose_runs(arguments.runs, all_commits=arguments.all_commits)))
    reference = arguments.reference or names[0]
    if reference not in names:
        names.insert(0, reference)
    metrics = list(dict.fromkeys(arguments.metric or METRICS))
    settings = compare([read_run(name) for name in names], metrics, reference)

    header, rows = table(settings, metrics)
    if arguments.html is not None:
        write_bytes(arguments.html, make_page(settings, header, rows))
    if arguments.json:
        text = to_json(settings, metrics)
    else:
        text = markdown_table(header, rows) if arguments.markdown else text_table(header, rows)
    with standard("output") as output:
        output.write(text)


def choose_runs(named: Sequence[str], *, all_commits: bool) -> list[str]:
    """Returns the named runs, or the default ones; with `all_commits`, the experiments of every commit too."""
    if named and not all_commits:
        return [*named]
    found, elsewhere = experiment_names(all_commits=all_commits)
    if elsewhere:
        commits = "another commit" if elsewhere == 1 else f"{elsewhere} other commits"
        logging.info("experiments of %s are not shown; --all-commits adds them", commits)
    return [*(named or [WORKSPACE]), *found]


def to_json(settings: Sequence[Setting], metrics: Sequence[str]) -> str:
    """Returns the comparison as JSON, with the metrics of every run. Dates among the parameters become text."""
    found = {"metrics": metrics, "settings": [described(each) for each in settings]}
    return json.dumps(found, indent=2, default=str) + "\n"


def table(settings: Sequence[Setting], metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Returns a header and a row for each setting, as text."""
    header = ["run", *settings[0].varied, "n"]
    for metric in metrics:
        header += [metric, "difference"] if len(settings) > 1 else [metric]
    rows = []
    for setting in settings:
        row = [run_names(setting), *map(page.spelled, setting.varied.values()), str(len(setting.runs))]
        for metric in metrics:
            row.append(figure(setting.figures[metric]))
            if len(settings) > 1:
                row.append("reference" if setting.is_reference else difference(setting.differences[metric]))
        rows.append(row)
    return header, rows


def run_names(setting: Setting) -> str:
    """Returns the name of a setting's first run and the number of its other runs."""
    more = len(setting.runs) - 1
    return f"{setting.name} and {more} more" if more else setting.name


def figure(statistic: Statistic) -> str:
    """Returns a mean, with the standard deviation over seeds if there is one."""
    return "none" if statistic.mean is None else with_error(statistic.mean, statistic.standard_deviation)


def difference(paired: Difference) -> str:
    """Returns a mean difference, with its standard error if there is one; none if no seed has the metric in both."""
    return "no seed has both" if paired.mean is None else with_error(paired.mean, paired.standard_error, "+")


def with_error(value: float, error: float | None, sign: str = "") -> str:
    """Returns a value rounded to the second digit of its error; without an error, to four digits."""
    if not error:
        return f"{value:{sign}.4g}" + (" ± 0" if error == 0.0 else "")
    exponent = math.floor(math.log10(max(abs(value), error)))
    if not -4 <= exponent <= 5:
        return f"({with_error(value / 10.0**exponent, error / 10.0**exponent, sign)})e{exponent:+03}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:{sign}.{decimals}f} ± {error:.{decimals}f}"


def described(setting: Setting) -> dict[str, object]:
    """Returns a setting as in the JSON output."""
    return {
        "reference": setting.is_reference,
        "parameters": dict(setting.varied),
        "metrics": {
            metric: {
                **statistic._asdict(),
                "runs": {run.name: run.metrics.get(metric) for run in setting.runs},
                "difference": None if setting.is_reference else setting.differences[metric]._asdict(),
            }
            for metric, statistic in setting.figures.items()
        },
    }


def make_page(settings: Sequence[Setting], header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """Returns a page with the table and the curves of the best settings."""
    shown = curves.choose(settings)
    tables = [[read_tables(run.name) for run in setting.runs] for setting in shown]
    pictures = [page.encode_svg(*picture) for picture in curves.draw(shown, tables)]
    values = {"header": header, "rows": rows, "settings": settings, "shown": len(shown), "pictures": pictures}
    return page.render("comparison.html", values)
