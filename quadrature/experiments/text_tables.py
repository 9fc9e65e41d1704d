"""Tables for terminals and Markdown, in which no cell breaks a line, a column or a page."""

from collections.abc import Sequence

from tabulate import tabulate

_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|~#$"} | {"&": "&amp;"})


def one_line(value: object) -> str:
    """Returns a value as text in one line, with what no one can see spelled out."""
    text = " ".join(str(value).split())
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a table for a terminal, a line a row."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    return tabulate(cells, header, tablefmt="simple", disable_numparse=True) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Returns a table of Markdown, as GitHub and GitLab read it; what would be markup in a cell is escaped."""
    cells = [[one_line(cell).translate(_MARKDOWN) for cell in row] for row in [header, *rows]]
    return tabulate(cells[1:], cells[0], tablefmt="pipe", disable_numparse=True) + "\n"
