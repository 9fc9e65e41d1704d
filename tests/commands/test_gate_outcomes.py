"""Gate outcomes: one for each case in the table, at the bound and on both sides of it."""

import json

import pytest

from quadrature.commands.gate import Rule, judge

ABSENT = "absent"  # no file


def rule(better="lower", against="main", absolute=0.0, relative=0.0, name="mse"):
    return Rule(
        metric=f"metrics/test.json:{name}",
        better=better,
        against=against,
        absolute_tolerance=absolute,
        relative_tolerance=relative,
    )


def metrics(text):
    return None if text == ABSENT else json.loads(text)


def of(value):
    return f'{{"mse": {value}}}'


@pytest.mark.parametrize(
    ("rule", "here", "there", "passed", "reason"),
    [
        # Inside, at and beyond the bound.
        (rule(against=0.02), "0.0199", None, True, ""),
        (rule(against=0.02), "0.02", None, True, ""),
        (rule(against=0.02), "0.020000000000000004", None, True, ""),  # the next float
        (rule("higher", against=0.02), "0.0201", None, True, ""),
        (rule("higher", against=0.02), "0.02", None, True, ""),
        (rule("higher", against=0.02), "0.0199", None, False, "0.0001 too low"),
        (rule(absolute=0.1), "0.79", "0.7", True, ""),
        (rule(absolute=0.1), "0.8", "0.7", True, ""),
        (rule(absolute=0.1), "0.81", "0.7", False, "0.01 too high"),
        (rule("higher", absolute=0.1), "0.61", "0.7", True, ""),
        (rule("higher", absolute=0.1), "0.6", "0.7", True, ""),
        (rule("higher", absolute=0.1), "0.59", "0.7", False, "0.01 too low"),
        (rule(relative=0.05), "2.0", "2.0", True, ""),
        (rule(relative=0.05), "2.1", "2.0", True, ""),
        (rule(relative=0.05), "2.11", "2.0", False, "0.01 too high"),
        (rule("higher", relative=0.05), "1.9", "2.0", True, ""),
        (rule("higher", relative=0.05), "1.89", "2.0", False, "0.01 too low"),
        # The larger of the two tolerances counts.
        (rule(absolute=0.5, relative=0.05), "2.5", "2.0", True, ""),
        (rule(absolute=0.01, relative=0.05), "2.1", "2.0", True, ""),
        (rule(absolute=0.01, relative=0.05), "2.11", "2.0", False, "0.01 too high"),
        # A relative tolerance is relative to the magnitude: it never makes a rule stricter, and at 0 it allows nothing.
        (rule(relative=0.05), "-1.9", "-2.0", True, ""),
        (rule(relative=0.05), "-1.89", "-2.0", False, "0.01 too high"),
        (rule("higher", relative=0.05), "-2.1", "-2.0", True, ""),
        (rule("higher", relative=0.05), "-2.11", "-2.0", False, "0.01 too low"),
        (rule(relative=0.5), "0.0", "0.0", True, ""),
        (rule(relative=0.5), "1e-300", "0.0", False, "1e-300 too high"),
        (rule("higher", relative=0.5), "-1e-300", "0", False, "1e-300 too low"),
        (rule(absolute=0.5), "0.5", "0", True, ""),
        # Whole numbers. One too large for a float is not finite.
        (rule("higher", against=8192), "8192", None, True, ""),
        (rule("higher", against=8192), "8191", None, False, "1 too low"),
        (rule(against=10**12), "1000000000000.5", None, True, ""),  # relatively 5e-13
        (rule(against=10**12), "1000000000002", None, False, "2 too high"),
        (rule(), f"1{'0' * 400}", "1", False, "not finite here"),
        (rule(), f"-1{'0' * 400}", "1", False, "not finite here"),
        (rule(), "0.1", f"1{'0' * 400}", False, "not finite at main"),
        (rule(), "1.7e308", "1", False, "1.7e+308 too high"),
        # The value here is not a number: it fails with any reference.
        (rule(), ABSENT, "1", False, "missing here"),
        (rule(), "{}", "1", False, "missing here"),
        (rule(), "null", "1", False, "null here"),
        (rule(), "NaN", "1", False, "not finite here"),
        (rule(), "-Infinity", "1", False, "not finite here"),
        (rule(), "1e999", "1", False, "not finite here"),
        (rule(), '"0.1"', "1", False, "not a number here"),
        (rule(), "true", "1", False, "not a number here"),
        (rule(), "[0.1]", "1", False, "not a number here"),
        (rule(against=1), "null", None, False, "null here"),
        (rule(), "null", "null", False, "null here"),
        (rule(), ABSENT, ABSENT, False, "missing here"),
        # The reference is not a number.
        (rule(), "0.1", ABSENT, True, "new: missing at main"),
        (rule(), "0.1", "{}", True, "new: missing at main"),
        (rule(), "0.1", "null", True, "null at main"),
        (rule(), "0.1", "NaN", False, "not finite at main"),
        (rule(), "0.1", "Infinity", False, "not finite at main"),
        (rule(), "0.1", '"0.1"', False, "not a number at main"),
        (rule(), "0.1", "false", False, "not a number at main"),
    ],
)
def test_each_outcome_is_the_defined_one(rule, here, there, passed, reason):
    sides = [metrics(text if text in (None, ABSENT, "{}") else of(text)) if text else None for text in (here, there)]
    outcome = judge(rule, *sides)
    assert (outcome.passed, outcome.reason) == (passed, reason)


def test_a_dotted_name_leads_into_sections():
    nested = {"baselines": {"zero": 0.5}, "mse": 0.1}
    assert judge(rule(against=0.5, name="baselines.zero"), nested, None).passed
    for name in ("baselines.one", "mse.zero", "baselines.zero.more"):
        assert judge(rule(against=0.5, name=name), nested, None).reason == "missing here"
    assert judge(rule(against=0.5, name="baselines"), nested, None).reason == "not a number here"


def test_the_bound_is_that_of_the_decimals_as_written():
    """Compares tenths with the same numbers as integers; plain floating point errs on some of them."""
    wrong_in_floats = 0
    for reference in range(-12, 13):
        for tolerance in range(4):
            for value in range(-16, 17):
                lower = judge(rule(absolute=tolerance / 10), {"mse": value / 10}, {"mse": reference / 10})
                higher = judge(rule("higher", absolute=tolerance / 10), {"mse": value / 10}, {"mse": reference / 10})
                assert lower.passed == (value <= reference + tolerance)
                assert higher.passed == (value >= reference - tolerance)
                wrong_in_floats += lower.passed != (value / 10 <= reference / 10 + tolerance / 10)
    assert wrong_in_floats > 0
