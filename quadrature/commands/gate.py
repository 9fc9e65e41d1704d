"""`python -m quadrature gate`: checks the metrics in the working tree against the rules in gates.yaml.

A rule compares a metric with a reference: a number, or the same metric at a revision. The bound is the reference plus
or minus the larger of `absolute_tolerance` and `relative_tolerance` times the reference's magnitude, as math.isclose
takes it: as much at -2 as at 2, and at 0 no relative tolerance at all. A value within 1e-12 of the bound, relative to
its magnitude, is at the bound: 0.8 is at 0.7 + 0.1, although that sum is less than 0.8 in floating point.

| the metric in this run | the reference | outcome |
|---|---|---|
| a number at the bound or better | a number | pass |
| a number beyond the bound | a number | FAIL, and by how much |
| missing, or its file is; null; NaN, infinite or too large for a float; a text, true, a list ... | any | FAIL |
| a number | missing at the revision, or its file is: the metric is new | pass |
| a number | null at the revision: it had no meaning there | pass |
| a number | NaN, infinite or not a number at the revision | FAIL |
| | no such revision, or a mistake in the rules | none: exit code 2 |
| | a metrics file, here or at the revision, that is not a JSON object | none: exit code 65 |
| | git refuses to answer | none: exit code 69 |
"""

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator

from quadrature.experiments.revisions import metrics_of
from quadrature.experiments.text_tables import markdown_table, text_table
from quadrature.runtime.errors import ParameterError, QuadratureError
from quadrature.runtime.lifecycle import standard
from quadrature.runtime.settings import Section, describe, lines, parse

HEADER = ("outcome", "metric", "value", "reference", "allowed", "reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--rules", type=Path, default=Path("gates.yaml"), metavar="FILE", help="default: %(default)s")
    parser.add_argument("--against", metavar="REVISION", help="replaces each revision in the rules")
    parser.add_argument("--markdown", action="store_true", help="print a table of Markdown")


def main(arguments: argparse.Namespace) -> None:
    """Prints a row for each rule. Raises QuadratureError if a metric fails its rule."""
    rules = load_rules(arguments.rules)
    if arguments.against is not None:
        named = {"against": arguments.against}
        rules = [rule.model_copy(update=named) if isinstance(rule.against, str) else rule for rule in rules]
    outcomes = []
    for rule in rules:
        reference = metrics_of(rule.path, rule.against) if isinstance(rule.against, str) else None
        outcomes.append(judge(rule, metrics_of(rule.path), reference))
    rows = [("pass" if outcome.passed else "FAIL", *outcome[1:]) for outcome in outcomes]
    with standard("output") as output:
        output.write(markdown_table(HEADER, rows) if arguments.markdown else text_table(HEADER, rows))
    if failed := sum(not outcome.passed for outcome in outcomes):
        raise QuadratureError(f"{failed} of {len(outcomes)} gates failed; docs/ci.md says how to read them")


Metrics = Mapping[str, object] | None
"""The content of a metrics file; None if there is no such file."""

Tolerance = Annotated[float, Field(ge=0.0)]


class Rule(Section):
    """A rule in gates.yaml."""

    metric: str  # FILE:NAME, the name dotted
    better: Literal["lower", "higher"]
    against: float | str  # a number, or a revision
    absolute_tolerance: Tolerance = 0.0
    relative_tolerance: Tolerance = 0.0  # of the reference's magnitude

    @field_validator("metric")
    @classmethod
    def _names_a_file_and_a_metric(cls, metric: str) -> str:
        file, _, name = metric.rpartition(":")
        if not (file and name):
            raise ValueError("it should be FILE:NAME, as metrics/test.json:baselines.zero")
        return metric

    @field_validator("against", mode="plain")
    @classmethod
    def _is_a_number_or_a_revision(cls, against: object) -> object:
        if isinstance(_number(against), float) or (isinstance(against, str) and against and against.isprintable()):
            return against
        raise ValueError("it should be a finite number, or a revision: a branch, tag, commit or experiment")

    @property
    def path(self) -> Path:
        """The file that holds the metric."""
        return Path(self.metric.rpartition(":")[0])

    @property
    def name(self) -> str:
        """The metric's dotted name in the file."""
        return self.metric.rpartition(":")[2]


class Outcome(NamedTuple):
    """The result of a rule, in words."""

    passed: bool
    metric: str
    value: str
    reference: str
    allowed: str
    reason: str


class _Gates(Section):
    rules: Annotated[list[dict[str, object]], Field(min_length=1)]


def load_rules(path: Path) -> list[Rule]:
    """Returns the rules of a file, read as strictly as parameters.

    Raises ParameterError with a line for each unknown, missing, duplicate, mistyped or out-of-range setting.
    """
    tree, found = parse(path)
    problems = lines(found)
    rules: list[Rule] = []
    try:
        entries = _Gates.model_validate(tree).rules
    except ValidationError as error:
        entries = []
        problems += lines(list(describe(_Gates, error, path)))
    for number, entry in enumerate(entries, start=1):
        try:
            rules.append(Rule.model_validate(entry))
        except ValidationError as error:
            problems += [f"rule {number}: {line}" for line in lines(list(describe(Rule, error, path)))]
    if problems:
        raise ParameterError(*problems)
    return rules


def judge(rule: Rule, metrics: Metrics, reference: Metrics) -> Outcome:
    """Returns a rule's outcome. `reference` is the metrics file at the rule's revision; unused if it has a number."""
    value = _find(metrics, rule.name)
    against = _find(reference, rule.name) if isinstance(rule.against, str) else _number(rule.against)
    side = f" at {rule.against}" if isinstance(rule.against, str) else ""
    passed, allowed, reason = False, "", ""
    if isinstance(against, float):
        tolerance = max(rule.absolute_tolerance, rule.relative_tolerance * abs(against))
        bound = against + tolerance if rule.better == "lower" else against - tolerance
        allowed = f"{'at most' if rule.better == 'lower' else 'at least'} {_show(bound)}"
    if isinstance(value, str):
        reason = f"{value} here"
    elif isinstance(against, float):
        beyond = value - bound if rule.better == "lower" else bound - value
        passed = beyond <= 0.0 or math.isclose(value, bound, rel_tol=1e-12, abs_tol=0.0)
        reason = "" if passed else f"{_show(beyond)} too {'high' if rule.better == 'lower' else 'low'}"
    else:
        passed = against in (_MISSING, _NULL)
        reason = f"new: {against}{side}" if against == _MISSING else f"{against}{side}"
    return Outcome(passed, rule.metric, _show(value), f"{_show(against)}{side}", allowed, reason)


_MISSING, _NULL = "missing", "null"


def _find(metrics: Metrics, name: str) -> float | str:
    """Returns the number at a dotted name, or a phrase that says why there is none."""
    value: object = metrics
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return _number(value)


def _number(value: object) -> float | str:
    if value is None:
        return _NULL
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not a number"
    return float(value) if abs(value) <= sys.float_info.max else "not finite"


def _show(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.7g}"
