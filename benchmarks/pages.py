"""Writes sections of docs/ and README.md that scripts generate."""

from pathlib import Path


def write_section(page: Path, name: str, text: str) -> None:
    """Replaces the text between a page's marks `<!-- name -->` and `<!-- end of name -->`."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, begun, rest = page.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    assert begun, f"{page} has no {begin}"
    assert ended, f"{page} has no {end}"
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
