"""`python -m quadrature show`: prints this run's errors beside those of other estimates, and how to go on.

`make repro` ends with it.
"""

import argparse
from pathlib import Path

from quadrature.experiments.text_tables import text_table
from quadrature.reporting.metrics import TestMetrics, read_metrics
from quadrature.reporting.verdict import error_rows, excess_in_words
from quadrature.runtime.lifecycle import standard
from quadrature.storage.digest import DigestList

HEADER = ("estimate", "mean squared error", "in-phase", "phase (degrees)", "amplitude")

NEXT = """
The whole run on one page: metrics/report.html
A variation, with your files unchanged: dvc exp run --temp --name slower --set-param train.learning_rate=0.005
All runs side by side: python -m quadrature compare
"""


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Declares no argument."""


def main(_arguments: argparse.Namespace) -> None:
    """Prints the table."""
    test = read_metrics(TestMetrics, Path("metrics/test.json"), DigestList(Path("data/digests/evaluate.sha256")))
    rows = [[name, *map(_figure, figures)] for name, figures in error_rows(test)]
    above = "" if test.excess is None else f", {excess_in_words(test)} the floor"
    with standard("output") as output:
        output.write(f"\nErrors on {test.windows:,} test windows (phase and amplitude: root mean square):\n\n")
        output.write(text_table(HEADER, rows))
        output.write(f"\nThe network: {_figure(test.mse)}{above}.\n{NEXT}")


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
