"""The pictures of metrics/report.html: each whole by itself, and each fits a phone."""

import numpy as np

from tests.reporting.test_report import look, photograph


def test_each_reference_in_a_picture_finds_its_id_and_no_other_picture_has_a_part_in_it(browser, report):
    page, _, _ = look(browser, report)
    assert all(heading.get_attribute("id").isalpha() for heading in page.query_selector_all("[id]"))
    pictures = page.evaluate("""() => [...document.querySelectorAll("img[src^='data:image/svg']")].map(image => {
        const bytes = Uint8Array.from(atob(image.src.split(",")[1]), letter => letter.charCodeAt(0));
        const svg = new DOMParser().parseFromString(new TextDecoder().decode(bytes), "image/svg+xml");
        const link = use => use.getAttributeNS("http://www.w3.org/1999/xlink", "href") || use.getAttribute("href");
        return {
            ids: [...svg.querySelectorAll("[id]")].map(element => element.id),
            wanted: [
                ...[...svg.querySelectorAll("use")].map(use => link(use).slice(1)),
                ...[...svg.querySelectorAll("[clip-path]")].map(each => each.getAttribute("clip-path").slice(5, -1)),
            ],
        };
    })""")
    assert len(pictures) == 7
    for picture in pictures:
        assert len(picture["ids"]) > 20
        assert len(set(picture["ids"])) == len(picture["ids"])
        assert picture["wanted"]
        assert set(picture["wanted"]) <= set(picture["ids"])
    page.close()


def test_on_a_phone_every_picture_fits_and_its_panels_are_one_below_the_other(browser, report):
    """Only tables are scrolled."""
    shapes = {}
    for width in (390, 1280):
        page, _, _ = look(browser, report, width)
        boxes = [image.bounding_box() for image in page.query_selector_all("figure img:not(.still)")]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
        assert min(box["width"] for box in boxes) > 340
        shapes[width] = [box["height"] / box["width"] for box in boxes]
        page.close()
    taller = [narrow > 1.5 * wide for narrow, wide in zip(shapes[390], shapes[1280], strict=True)]
    # The small run's predictions are two windows, the worst ones four. The others have a column of panels at any width.
    assert taller == [True, False, True, False, False, False, True, False]


def test_the_animation_is_dark_on_a_dark_page(browser, report):
    """So is its last frame."""
    for still in (False, True):
        page, _, _ = look(browser, report, scheme="dark")
        page.emulate_media(color_scheme="dark", reduced_motion="reduce" if still else "no-preference")
        pixels = photograph(page, ".still" if still else ".animation")
        assert pixels[2, 2].max() < 40
        assert np.median(pixels, axis=(0, 1)).max() < 40
        assert pixels.max() > 200  # its text
        page.close()
