"""`python -m quadrature gate`: the metrics in the working tree, held to the rules in gates.yaml."""

import argparse
from pathlib import Path

from quadrature.commands.gates import judge, load_rules
from quadrature.experiments.revisions import read_metrics
from quadrature.experiments.text_tables import markdown_table, text_table
from quadrature.runtime.errors import QuadratureError
from quadrature.runtime.lifecycle import standard

HEADER = ("outcome", "metric", "value", "reference", "allowed", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--rules", type=Path, default=Path("gates.yaml"), metavar="FILE", help="default: %(default)s")
    parser.add_argument("--against", metavar="REVISION", help="instead of each revision that the rules name")
    parser.add_argument("--markdown", action="store_true", help="print a table of Markdown")


def main(arguments: argparse.Namespace) -> None:
    """Prints a row for each rule; fails if one of them does."""
    rules = load_rules(arguments.rules)
    if arguments.against is not None:
        named = {"against": arguments.against}
        rules = [rule.model_copy(update=named) if isinstance(rule.against, str) else rule for rule in rules]
    outcomes = []
    for rule in rules:
        reference = read_metrics(rule.path, rule.against) if isinstance(rule.against, str) else None
        outcomes.append(judge(rule, read_metrics(rule.path), reference))
    rows = [("pass" if outcome.passed else "FAIL", *outcome[1:]) for outcome in outcomes]
    output = standard("output")
    output.write(markdown_table(HEADER, rows) if arguments.markdown else text_table(HEADER, rows))
    output.flush()
    if failed := sum(not outcome.passed for outcome in outcomes):
        raise QuadratureError(f"{failed} of {len(outcomes)} gates failed; docs/ci.md says how to read them")
