"""Pictures as addresses: what counts as an SVG, and dark colours that are the page's."""

import base64
import re
import xml.etree.ElementTree as ET

import pytest

from quadrature.reporting import page

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><path style="fill: #ffffff"/></svg>'
ENTITIES = "".join(f"<!ENTITY a{number} '{f'&a{number - 1};' * 10}'>" for number in range(1, 20))


def decode(picture):
    """Returns the bytes of a picture's address."""
    prefix, _, content = picture.source.partition(",")
    assert prefix == "data:image/svg+xml;base64"
    return base64.b64decode(content, validate=True)


@pytest.mark.parametrize("begin", ["", '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE svg>\n', "\n<!-- é -->"])
def test_a_picture_keeps_all_its_elements_and_gets_one_style_sheet(begin):
    picture = page.encode_svg(f"{begin}{SVG}\n".encode(), "A white path.")
    assert picture.alternative == "A white path."
    root = ET.fromstring(decode(picture))  # noqa: S314
    assert [element.tag.rpartition("}")[2] for element in root.iter()] == ["svg", "path", "style"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not XML"),
        (SVG.encode()[:-3], "not XML"),
        (SVG.encode() + b"<svg/>", "not XML"),
        (b"GIF89a", "not XML"),
        (b"\xff\xfe", "codec can't decode"),
        (SVG.encode("utf-16"), "codec can't decode"),
        (f"<!DOCTYPE svg [<!ENTITY a0 'a'>{ENTITIES}]>{SVG.replace('<path', '&a19;<path')}".encode(), "not XML"),
        (b"<svg></svg>", "root element should be"),  # of no namespace, so that browsers do not draw it
        (f"<html>{SVG}</html>".encode(), "root element should be"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "root element should be"),
        (f"{SVG}<!-- after it -->".encode(), "root element should be"),
    ],
)
def test_other_bytes_than_an_svg_are_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        page.encode_svg(content, "Nothing.")


def test_dark_ink_and_paper_are_those_of_the_page():
    css = (page.TEMPLATES / "page.html").read_text()
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6});", part)) for part in css.split("prefers-color-scheme: dark"))
    rules = dict(re.findall(r"fill: (#\w{6})\"\] {fill: (#\w{6}) ", decode(page.encode_svg(SVG.encode(), "")).decode()))
    assert rules[light["paper"]] == dark["paper"]
    assert rules["#000000"] == dark["ink"]
