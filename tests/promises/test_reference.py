"""docs/reference.md says what the models of the parameters and the parsers of the commands say."""

import re

import pytest
import yaml

from benchmarks.studies import reference
from quadrature.runtime.settings import flatten
from tests.checkout import OWN_PARAMETERS

PAGE = reference.PAGE.read_text()


def section(name):
    return re.search(rf"<!-- {name} -->\n\n(.*?)\n\n<!-- end of {name} -->", PAGE, re.DOTALL)[1]


def test_the_table_of_parameters_is_that_of_their_models():
    assert section("parameters") == reference.parameters(), "run `python -m benchmarks.studies.reference`"


@pytest.mark.parametrize(
    ("parameter", "stage"), [("generate.length", "generate"), ("model.cell", "train"), ("plot.bins", "plot")]
)
def test_the_last_column_is_the_first_stage_that_makes_something_new(parameter, stage):
    (row,) = re.findall(rf"^\| `{re.escape(parameter)}` \|.*\| (.*) \|$", section("parameters"), re.MULTILINE)
    assert row == f"from {stage}"


def test_every_parameter_has_a_row_with_its_values():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| .*? \| (.*?) \|", section("parameters"), re.MULTILINE))
    assert all(rows.values())
    for path in flatten(yaml.safe_load(OWN_PARAMETERS.read_text())):
        assert any(path == row or path.startswith(f"{row}.") for row in rows), path


def test_the_commands_options_are_those_of_their_parsers():
    assert section("commands") == reference.commands(), "run `python -m benchmarks.studies.reference`"
