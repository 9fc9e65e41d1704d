"""Writes HTML pages that are one file each: Jinja2 templates with the pictures inside, nothing fetched.

Only the playground has a script, its own. Templates escape all other values. A picture is the address of an `<img>`,
where a browser runs no script and fetches nothing, so a picture needs no cleaning.
"""

import base64
import io
import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image, UnidentifiedImageError

from quadrature.runtime.errors import DataError
from quadrature.storage.digest import DigestList

TEMPLATES = Path(__file__).parent / "templates"

_REMEDY = "remove it and run `dvc repro plot`"
_INK = "#e6e8eb"
_DARK = {
    "#000000": _INK,
    "#ffffff": "#14171b",  # ink and paper are those of templates/page.html
    "#b0b0b0": "#5b6570",
    "#0072b2": "#56b4e9",
    "#d55e00": "#f0883e",
    "#009e73": "#2fc79a",
    "#767676": "#9aa2ab",
}
"""matplotlib's ink, paper and grid, then the project's colours, each with its colour on a dark page."""

_DARK_RULES = "".join(
    f'[style*="{name}: {light}"] {{{name}: {dark} !important}}'  # matplotlib writes colours as inline styles
    for name in ("fill", "stroke")
    for light, dark in _DARK.items()
)
_STYLE = f"<style>@media (prefers-color-scheme: dark) {{svg {{fill: {_INK}}}{_DARK_RULES}}}</style>"


def render(template: str, values: Mapping[str, object]) -> bytes:
    """Returns a page as UTF-8. The same values give the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = number
    environment.filters["with_error"] = with_error
    return environment.get_template(template).render(values).encode()


def number(value: object) -> str:
    """Returns a value for a table: floats with four digits, integers with thousands separators, others as in YAML."""
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


def with_error(value: float, error: float | None, sign: str = "") -> str:
    """Returns a value rounded to the second digit of its error; without an error, to four digits."""
    if not error:
        return f"{value:{sign}.4g}" + (" ± 0" if error == 0.0 else "")
    exponent = math.floor(math.log10(max(abs(value), error)))
    if not -4 <= exponent <= 5:
        return f"({with_error(value / 10.0**exponent, error / 10.0**exponent, sign)})e{exponent:+03}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:{sign}.{decimals}f} ± {error:.{decimals}f}"


class Picture(NamedTuple):
    """A picture: an address that contains all of it, its content in words, and a picture for narrow pages, if any."""

    source: str
    alternative: str
    narrow: str | None = None


class MovingPicture(NamedTuple):
    """An animation, and its last frame for readers who prefer no motion, as addresses that contain all of them."""

    animation: str
    still: str


def read_svg(path: Path, digests: DigestList, alternative: str, narrow: Path | None = None) -> Picture:
    """Returns an SVG file of matplotlib's, and the file of the same name in the folder `narrow`, if it is listed.

    Raises DataError if one is missing, changed or not an SVG.
    """
    try:
        picture = encode_svg(digests.read(path), alternative)
    except ValueError as error:
        raise DataError(f"{path} is not an SVG picture ({error}); {_REMEDY}") from None
    if narrow is not None and narrow / path.name in digests:
        picture = picture._replace(narrow=read_svg(narrow / path.name, digests, alternative).source)
    return picture


def encode_svg(content: bytes, alternative: str) -> Picture:
    """Returns an SVG of matplotlib's, with other colours where the page is dark. Raises ValueError if it is not SVG."""
    text = content.decode().rstrip()
    try:
        root = ET.fromstring(content)  # noqa: S314, expat refuses entities that grow, and opens no files
    except ET.ParseError as error:
        raise ValueError(f"not XML: {error}") from None
    if root.tag != "{http://www.w3.org/2000/svg}svg" or not text.endswith("</svg>"):
        raise ValueError("its root element should be <svg>...</svg>")
    styled = f"{text.removesuffix('</svg>')}{_STYLE}</svg>"
    return Picture(_data_uri(styled.encode(), "image/svg+xml"), alternative)


def moving_picture(path: Path, digests: DigestList) -> MovingPicture:
    """Returns a GIF file. Raises DataError if it is missing, changed or not a GIF."""
    content, still = digests.read(path), io.BytesIO()
    try:
        # With other formats allowed, Pillow would also take PostScript and run Ghostscript on it.
        with Image.open(io.BytesIO(content), formats=("GIF",)) as image:
            image.seek(getattr(image, "n_frames", 1) - 1)
            image.convert("RGB").save(still, "PNG", optimize=True)
    except UnidentifiedImageError:
        raise DataError(f"{path} is not a GIF; {_REMEDY}") from None
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read ({error}); {_REMEDY}") from None
    return MovingPicture(_data_uri(content, "image/gif"), _data_uri(still.getvalue(), "image/png"))


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
