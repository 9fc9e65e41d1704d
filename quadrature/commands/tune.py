"""`python -m quadrature tune`: searches ranges of parameters for the lowest validation error, an experiment each."""

import argparse
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from quadrature.experiments.comparison import compare, metrics_found
from quadrature.experiments.comparison_page import write_page
from quadrature.experiments.dvc_command import dvc, refuse_shallow
from quadrature.experiments.git import git
from quadrature.experiments.revisions import commit_of
from quadrature.experiments.search import Trial, parse_ranges, recall, suggest
from quadrature.experiments.search_figure import draw
from quadrature.experiments.setting_tables import as_text, by_task
from quadrature.reporting.page import spelled
from quadrature.runtime.arguments import whole_number
from quadrature.runtime.errors import ParameterError, QuadratureError
from quadrature.runtime.lifecycle import standard

METRIC = "validation_mse"
"""The metric by default. The test windows take no part, so their errors remain those of unseen windows."""

FAILURES = 3
"""Trials that fail one after another before the search stops."""

SHOWN = 10
"""Rows of the table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "ranges", nargs="+", metavar="PARAMETER=LOW..HIGH|VALUE,VALUE",
        help="a parameter in params.yaml and its range, or its choices",
    )  # fmt: skip
    parser.add_argument(
        "-n", "--trials", type=whole_number(1, 10_000), default=20, metavar="N",
        help="trials in all, with those of an earlier call; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--name", default="tune", help="of the search: its experiments are NAME-1, NAME-2 ...; default: %(default)s"
    )
    parser.add_argument("--metric", default=METRIC, metavar="NAME", help="to minimize; default: %(default)s")


def main(arguments: argparse.Namespace) -> None:
    """Runs the trials that are missing, and shows all. Raises QuadratureError if several fail one after another."""
    name, metric, wanted = arguments.name, arguments.metric, arguments.trials
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise ParameterError(
            f"--name {name} cannot name experiments; begin with a letter, then letters, digits, - or _"
        )
    ranges = parse_ranges(arguments.ranges)
    refuse_shallow()
    memory, failures = recall(name, metric, ranges), 0
    number = memory.last
    if len(memory.trials) >= wanted:
        logging.info("%s trials within these ranges are there; raise --trials, or choose another --name", wanted)
    while len(memory.trials) < wanted and failures < FAILURES:
        number, failures = number + 1, failures + 1
        refuse_moved_head()
        params, before = suggest(ranges, memory.trials, number), len(memory.trials)
        try:
            run(f"{name}-{number}", params)
        except QuadratureError as error:
            logging.warning("%s-%d failed (%s): %s", name, number, in_words(params), error)
            continue
        memory = recall(name, metric, ranges)
        if len(memory.trials) == before:
            logging.warning("%s-%d has no %s", name, number, metric)
        else:
            failures = 0
            logging.info(
                "%s-%d: %s %.4g (%s); best of %d: %s, %.4g",
                name, number, metric, memory.trials[-1].value, in_words(params),
                len(memory.trials), memory.best.run.name, memory.best.value,
            )  # fmt: skip
    if memory.trials:
        show(name, memory.trials, metric, [*ranges])
    if failures:
        raise QuadratureError(
            f"{failures} trials failed one after another, or have no {metric}; their lines above say why"
        )


def refuse_moved_head() -> None:
    """Raises QuadratureError if HEAD is not where the search began: its experiments begin there."""
    begun, now = commit_of("HEAD"), git("rev-parse", "HEAD").decode().strip()
    if now != begun:
        raise QuadratureError(
            f"HEAD has moved from {begun[:7]} to {now[:7]}; go back to continue the search, or start another one here"
        )


def run(name: str, params: Mapping[str, object]) -> None:
    """Runs an experiment with some parameters. Raises QuadratureError if it fails."""
    changes = [f"--set-param={parameter}={spelled(value)}" for parameter, value in params.items()]
    dvc("exp", "run", "--temp", f"--name={name}", *changes, captured=True)


def in_words(params: Mapping[str, object]) -> str:
    """Returns parameters in one line."""
    return ", ".join(f"{name} {spelled(value)}" for name, value in params.items())


def show(name: str, found: Sequence[Trial], metric: str, parameters: Sequence[str]) -> None:
    """Prints the best trials, and writes a page with all."""
    runs = [trial.run for trial in sorted(found, key=lambda trial: trial.value)]
    metrics = list(dict.fromkeys([metric, *metrics_found(runs)]))
    settings = compare(runs, metrics, runs[0].name)
    page = Path(f"comparison/{name}.html")
    write_page(page, settings, metrics, draw(found, metric, parameters))
    with standard("output") as output:
        output.write("\n" + "\n".join(map(as_text, by_task(settings[:SHOWN], metrics))))
        output.write(
            f"\nAll {len(found)} trials: {page}\nThe best one, into your files: dvc exp apply {runs[0].name}\n"
        )
