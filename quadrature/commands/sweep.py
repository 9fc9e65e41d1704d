"""`python -m quadrature sweep`: runs a grid of experiments, says which failed and why, and compares the others."""

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from quadrature.experiments.comparison import compare, metrics_found
from quadrature.experiments.comparison_page import write_page
from quadrature.experiments.dvc_command import dvc, refuse_shallow
from quadrature.experiments.revisions import commit_of
from quadrature.experiments.runs import Run, experiment_names, readable
from quadrature.experiments.setting_tables import as_text, by_task
from quadrature.runtime.arguments import whole_number
from quadrature.runtime.errors import ParameterError, QuadratureError
from quadrature.runtime.lifecycle import standard

PAGE = Path("comparison/sweep.html")

_QUEUED = re.compile("^Queued experiment '(.+)' for future execution", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "values", nargs="+", metavar="PARAMETER=VALUE[,VALUE ...]",
        help="a parameter in params.yaml and its values; one experiment for each combination",
    )  # fmt: skip
    parser.add_argument(
        "-j", "--jobs", type=whole_number(1, 1024), default=1, metavar="N",
        help="experiments at a time; with several, also set train.threads=1; default: %(default)s",
    )  # fmt: skip


def main(arguments: argparse.Namespace) -> None:
    """Runs the grid and compares its runs. Raises QuadratureError if an experiment failed."""
    refuse_shallow()
    commit_of("HEAD")  # where the experiments begin: it stays the same if a commit is made meanwhile
    for value in arguments.values:
        if not re.match(r"[\w.]+=.", value):
            raise ParameterError(f"{value} is not a parameter with values; write train.seed=0,1")
    changes = [f"--set-param={value}" for value in arguments.values]
    dvc("repro", "targets", captured=True)  # once, so that no two experiments make the same windows
    names = _QUEUED.findall(dvc("exp", "run", "--queue", *changes, captured=True))
    if not names:
        raise QuadratureError("DVC queued no experiment; `dvc queue status` shows its queue")
    dvc("exp", "run", "--run-all", f"--jobs={arguments.jobs}")

    ended, _ = experiment_names()
    if runs := readable([name for name in names if name in ended]):
        show(runs)
    reasons = {name: reason_of(name) for name in names if name not in ended}
    for name, reason in reasons.items():
        logging.error("%s failed: %s", name, reason)
    if reasons:
        raise QuadratureError(
            f"{len(reasons)} of {len(names)} experiments failed; `dvc queue logs NAME` has all of a log"
        )
    logging.info("all %d experiments finished", len(names))


def show(runs: Sequence[Run]) -> None:
    """Prints a comparison of experiments and writes its page."""
    metrics = metrics_found(runs)
    settings = compare(runs, metrics, runs[0].name)
    write_page(PAGE, settings, metrics)
    with standard("output") as output:
        output.write("\n" + "\n".join(map(as_text, by_task(settings, metrics))))
        output.write(f"\nThe runs' curves: {PAGE}\n")


def reason_of(name: str) -> str:
    """Returns the last line that a failed experiment wrote before DVC's own."""
    try:
        log = dvc("queue", "logs", name, captured=True)
    except QuadratureError:
        return "DVC has no log of it, and says why above"
    lines = [line for line in log.splitlines() if line.strip()]
    own = next(
        (number for number, line in enumerate(lines) if line.startswith("ERROR: failed to reproduce")), len(lines)
    )
    return lines[own - 1] if own else "its log is empty"
