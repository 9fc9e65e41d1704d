"""Formats tables for terminals and Markdown. No content of a cell breaks the table."""

from collections.abc import Sequence

from tabulate import tabulate

from quadrature.runtime.errors import printable

_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|~#$"} | {"&": "&amp;"})


def one_line(value: object) -> str:
    """Returns a value as text in one line, with unprintable characters as escapes."""
    return printable(" ".join(str(value).split()))


def markdown(value: object) -> str:
    """Returns a value as text in one line of Markdown, its markup escaped."""
    return one_line(value).translate(_MARKDOWN)


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a table for a terminal, with a line for each row."""
    cells = [[one_line(cell) for cell in row] for row in [header, *rows]]
    return tabulate(cells[1:], cells[0], tablefmt="simple", disable_numparse=True) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a Markdown table for GitHub and GitLab. Markup in cells is escaped."""
    cells = [[markdown(cell) for cell in row] for row in [header, *rows]]
    return tabulate(cells[1:], cells[0], tablefmt="pipe", disable_numparse=True) + "\n"
