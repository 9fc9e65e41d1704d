"""argparse's number types say what they accept."""

import argparse

import pytest

from quadrature.runtime.arguments import Parser, seconds, whole_number


@pytest.mark.parametrize(("text", "value"), [("3", 3), ("12", 12)])
def test_a_whole_number_within_the_bounds_is_taken(text, value):
    assert whole_number(3, 12)(text) == value


@pytest.mark.parametrize("text", ["2", "13", "-3", "3.0", "", "two", "²", "9" * 400])
def test_any_other_text_is_refused_in_a_line(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"^.* ?is not a whole number from 3 to 12$"):
        whole_number(3, 12)(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1e6", 1e6), ("2.5", 2.5)])
def test_seconds_are_taken(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["-0.1", "1000000.1", "nan", "inf", "", "soon"])
def test_no_seconds_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number of seconds from 0 to 1,000,000"):
        seconds(text)


@pytest.mark.parametrize("arguments", [["--number=\x1b[2J\x07"], ["\x1b[2J\n\x07"]])
def test_an_argument_cannot_move_the_cursor_by_its_refusal(arguments, capsys):
    parser = Parser()
    parser.add_argument("--number", type=whole_number(3, 12))
    with pytest.raises(SystemExit):
        parser.parse_args(arguments)
    said = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert "\\x1b[2J" in said[-1]
    assert all(line.isprintable() for line in said)
