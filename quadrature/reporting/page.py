"""Pages in one file: Jinja2 templates, pictures within, nothing fetched and no script.

Whatever a template is given is escaped; what it is given as a picture is taken apart and put together again
from the elements and attributes that matplotlib writes, so that no picture brings anything else along.
"""

import base64
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from quadrature.runtime.errors import DataError
from quadrature.storage.digest import DigestList

TEMPLATES = Path(__file__).parent / "templates"

_REMEDY = "remove it and run `dvc repro plot`"
_ELEMENTS = {"svg", "g", "defs", "path", "use", "clipPath", "rect"}
_ATTRIBUTES = {"id", "d", "style", "transform", "clip-path", "x", "y", "width", "height", "href", "viewBox"}
_COLORS = {
    "#000000": "currentColor",
    "#ffffff": "var(--paper)",
    "#0072b2": "var(--blue)",
    "#d55e00": "var(--orange)",
    "#009e73": "var(--green)",
    "#767676": "var(--grey)",
    "#b0b0b0": "var(--grid)",
}
"""matplotlib's ink, paper and grid, and the project's colours, by their names in the page's style sheet."""


def render(template: str, values: Mapping[str, object]) -> bytes:
    """Returns a page; the same values give the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    return environment.get_template(template).render(values).encode()


def number(value: object) -> str:
    """Returns a value as a table shows it: four digits of a float, thousands apart, true and null as in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def spelled(value: object) -> str:
    """Returns a parameter's value as params.yaml spells it."""
    if isinstance(value, str | date):  # YAML makes a date of 2024-01-01
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


class MovingPicture(NamedTuple):
    """An animation, and its last frame for those who would rather have no motion, as addresses a page can carry."""

    animation: str
    still: str


def moving_picture(path: Path, digests: DigestList) -> MovingPicture:
    """Returns a GIF. Raises DataError when the file is missing, changed or no picture."""
    content, still = digests.read(path), io.BytesIO()
    try:
        # Left to itself, Pillow also takes PostScript, and runs Ghostscript on it.
        with Image.open(io.BytesIO(content), formats=("GIF",)) as image:
            image.seek(getattr(image, "n_frames", 1) - 1)
            image.convert("RGB").save(still, "PNG", optimize=True)
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_REMEDY}") from None
    return MovingPicture(_data_uri(content, "image/gif"), _data_uri(still.getvalue(), "image/png"))


def inline_svg(path: Path, digests: DigestList, alternative: str) -> Markup:
    """Returns a picture of matplotlib's as an element of a page; alternative says in words what it shows.

    Raises DataError when the file is missing, changed or no SVG of matplotlib's.
    """
    try:
        return embed_svg(path.stem, digests.read(path), alternative)
    except ValueError as error:
        raise DataError(f"{path} is no SVG of this project ({error}); {_REMEDY}") from None


def embed_svg(name: str, content: bytes, alternative: str) -> Markup:
    """Returns an SVG of matplotlib's in the page's colours; name, a word, tells its ids from those of others.

    Raises ValueError when it holds what matplotlib does not write.
    """
    try:
        root = ET.fromstring(content)  # noqa: S314, expat refuses entities that grow, and opens no files
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    for parent in root.iter():
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        if element.tag not in _ELEMENTS:
            raise ValueError(f"it holds the element {element.tag}")
        attributes = {_local(key): value for key, value in element.attrib.items()}
        element.attrib = {key: _adapted(key, value, name) for key, value in attributes.items() if key in _ATTRIBUTES}
        element.text = element.tail = None
    for size in ("width", "height"):  # the page's width decides; the proportions stand in viewBox
        root.attrib.pop(size, None)
    root.attrib |= {"role": "img", "aria-label": alternative, "fill": "currentColor"}
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704, known elements; ElementTree escapes values


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _local(tag: str) -> str:
    """Returns a name without its namespace."""
    return tag.rpartition("}")[2]


def _adapted(key: str, value: str, name: str) -> str:
    """Returns an attribute's value with the picture's name before ids, and its colours those of the page."""
    match key:
        case "id":
            return f"{name}-{value}"
        case "href":
            return f"#{name}-{value.removeprefix('#')}"
        case "clip-path":
            return value.replace("url(#", f"url(#{name}-")
        case "style":
            return re.sub("#[0-9a-f]{6}", lambda color: _COLORS.get(color[0], color[0]), value)
        case _:
            return value
