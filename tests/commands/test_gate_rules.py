"""Rules in gates.yaml: mistakes are reported, numbers and revisions are told apart."""

import pytest

from quadrature.commands.gate import load_rules
from quadrature.runtime.errors import ParameterError

GOOD = "rules:\n  - metric: metrics/test.json:mse\n    better: lower\n    against: main\n    relative_tolerance: 0.05\n"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("better", "beter", "rule 1: beter in gates.yaml is not a parameter; did you mean better?"),
        (": lower", ": lowr", "rule 1: better in gates.yaml is the text 'lowr'; did you mean lower?"),
        ("relative_tolerance", "tolerance", "rule 1: tolerance in gates.yaml is not a parameter; did you mean "),
        (": main", ": true", "rule 1: against in gates.yaml is true; it should be a finite number, or a revision: "),
        (": main", ": .nan", "rule 1: against in gates.yaml is nan; it should be a finite number, or a revision: "),
        (
            ": main",
            ": ''",
            "rule 1: against in gates.yaml is the text ''; it should be a finite number, or a revision: ",
        ),
        (": main", ":", "rule 1: against in gates.yaml is null; it should be a finite number, or a revision: "),
        ("    against: main\n", "", "rule 1: against is missing from gates.yaml"),
        ("0.05", "-0.05", "rule 1: relative_tolerance in gates.yaml is -0.05; it should be greater than or equal to 0"),
        ("0.05", ".inf", "rule 1: relative_tolerance in gates.yaml is inf; it should be a finite number"),
        ("0.05", "5 %", "rule 1: relative_tolerance in gates.yaml is the text '5 %'; it should be a valid number"),
        (":mse", "", "rule 1: metric in gates.yaml is the text 'metrics/test.json'; it should be FILE:NAME, as "),
        ("rules:", "rulez:", "rulez in gates.yaml is not a parameter; did you mean rules?"),
        (GOOD, "rules: []", "rules in gates.yaml is []; "),
        (GOOD, "rules: [7]", "rules.0 in gates.yaml is 7; it should be a valid dictionary"),
        (GOOD, "rules: [", "gates.yaml is not valid YAML: "),
        (GOOD, "", "rules is missing from gates.yaml"),
        ("against: main", "against: main\n    against: HEAD", "rules.0.against is in gates.yaml twice; remove one"),
        (GOOD, GOOD * 2, "rules is in gates.yaml twice; remove one"),
    ],
)
def test_a_mistake_in_the_rules_is_told_in_a_line(tmp_path, before, after, message):
    path = tmp_path / "gates.yaml"
    path.write_text(GOOD.replace(before, after))
    with pytest.raises(ParameterError) as caught:
        load_rules(path)
    lines = str(caught.value).replace(str(path), "gates.yaml").splitlines()
    assert lines[0].startswith(message)
    assert len(lines) == 1


def test_a_bound_is_read_as_dvc_reads_a_number_and_a_quoted_commit_as_a_revision(tmp_path):
    path = tmp_path / "gates.yaml"
    for text, against in (("1e-3", 0.001), ("7", 7), ('"1234567"', "1234567"), ("v1.0", "v1.0")):
        path.write_text(GOOD.replace(": main", f": {text}"))
        assert [each.against for each in load_rules(path)] == [against]
