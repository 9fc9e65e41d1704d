"""metrics/report.html in a real browser: it describes the run, fetches nothing, runs no script, and is accessible."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from quadrature.network.model_file import load_model
from quadrature.reporting.page import with_error
from quadrature.storage.windows import TARGET_COLUMNS, Split
from stages.report import version_of
from tests.checkout import PROJECT, Checkout, git
from tests.torture.strange import relist

HOSTILE = [
    *(f"{quote}{bracket}<{element}>" for quote in ("", '"', "'") for bracket in ("", ">", "/>") for element in (
        "script>pwned=1</script", "img src=x onerror=pwned=1", "svg onload=pwned=1", "/td></table><b", "/style><iframe",
    )),
    "{{ 7 * 7 }}", "{% raw %}", '" onmouseover="pwned=1', "javascript:pwned=1", "<!--", "]]>",
    "&lt;script&gt;&#60;b&#62;",
]  # fmt: skip
"""Strings that add an element or an attribute to a page that does not escape them."""


def look(browser, path, width=1280, scheme="light"):
    """Returns a page that shows a file, with its console messages and the addresses it requested."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri(), wait_until="load")
    return page, said, asked


def assert_page_stands_alone(browser, path):
    """Asserts that a page requests only itself and data: addresses, logs nothing, and runs no script."""
    page, said, asked = look(browser, path)
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert said == []
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'pwned = 1'; document.body.append(s) }"
    )
    assert page.evaluate("typeof pwned") == "undefined"
    assert "Content Security Policy" in said[0]
    page.close()


def assert_page_can_be_read(browser, path, width, scheme):
    """Asserts that a page fits its width and paper, its pictures have words, and axe-core finds no fault."""
    page, _, _ = look(browser, path, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.query_selector_all("svg") == []
    for picture in page.query_selector_all("img"):
        words = picture.get_attribute("alt")
        assert words
        assert len(words.split()) > 4
        assert picture.evaluate("image => image.naturalWidth") > 0
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert "color-contrast" in {rule["id"] for rule in found.response["passes"]}
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 960})  # A4 without the margins
    wide = "all => all.filter(each => each.scrollWidth > each.clientWidth).map(each => each.innerText)"
    assert page.eval_on_selector_all(".scroll, html", wide) == []
    page.close()


def outline(browser, path):
    """Returns the page's number of elements and attributes by name, and its text."""
    page, said, _ = look(browser, path)
    counts = page.evaluate("""() => {
        const counts = {};
        for (const element of document.querySelectorAll('*')) {
            for (const name of [element.localName, ...element.getAttributeNames().map(name => '@' + name)])
                counts[name] = (counts[name] || 0) + 1;
        }
        return counts;
    }""")
    unfold(page)
    text = page.inner_text("body")
    assert page.evaluate("typeof pwned") == "undefined"
    assert said == []
    page.close()
    return counts, text


def test_the_report_stands_alone(browser, report):
    assert_page_stands_alone(browser, report)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_can_be_read(browser, report, width, scheme):
    assert_page_can_be_read(browser, report, width, scheme)


def unfold(page):
    """Opens what a reader may open."""
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")


def test_the_report_tells_this_runs_figures_and_parameters(browser, report, finished):
    page, _, _ = look(browser, report)
    assert "snapshot_windows" not in page.inner_text("main")  # parameters are folded
    unfold(page)
    text = page.inner_text("body")
    test, train = (json.loads((finished.path / f"metrics/{name}.json").read_text()) for name in ("test", "train"))
    assert page.inner_text(".verdict").startswith(
        f"On 300 windows that training has not seen, the network's mean squared error is {test['mse']:.3g}: "
    )
    assert page.inner_text("h1").startswith("The quarter turn, learned: ")
    tiles = [tile.inner_text().split("\n")[1:3] for tile in page.query_selector_all(".tiles li")]
    found = [(test["mse"], test["mse_standard_error"]), (test["floor_mse"], test["floor_standard_error"])]
    found += [
        (test["baselines"][name], test["baselines_standard_error"][name]) for name in ("least_squares", "hilbert")
    ]
    assert tiles == [[f"{mse:.4g}", f"± {with_error(mse, error).partition(' ± ')[2]}"] for mse, error in found]
    for link in page.query_selector_all("nav a[href^='#']"):
        assert page.query_selector(link.get_attribute("href")).inner_text().lower() == link.inner_text()
    for figure in (test["mse"], test["floor_mse"], *test["baselines"].values(), test["rmse"]):
        assert f"{figure:.4g}" in text
    assert f"{train['parameters']:,} parameters" in text
    rows = dict(line.split("\t") for line in text.splitlines() if line.count("\t") == 1)
    params = finished.yaml("params.yaml")
    assert rows["hidden_size"] == str(params["model"]["hidden_size"])
    assert rows["windows.train"] == str(params["generate"]["windows"]["train"])
    assert rows["learning_rate"] == str(params["train"]["learning_rate"])
    assert "gru.weight_hh_l0\t24 × 8\t192" in text
    assert len(page.query_selector_all("figure img")) == 9  # the animation, and its last frame for print
    page.close()


def test_the_report_names_the_data_the_model_and_the_commit(browser, again, report):
    page, _, _ = look(browser, report)
    rows = dict(line.split("\t") for line in page.inner_text("[aria-label=Digests] table").splitlines()[1:])
    data = again.path / "data"
    model = load_model(again.path / "models/model.safetensors")
    expected = {
        "windows/train": Split(data / "windows/train").digest(),
        "windows/validation": Split(data / "windows/validation").digest(),
        "targets/train": Split(data / "targets/train", leading=TARGET_COLUMNS).digest(),
    }
    assert model.trained_on == expected
    assert {name: digest for name, digest in rows.items() if name != "the model"} == expected
    assert rows["the model"] in (again.path / "models/model.safetensors").read_bytes().decode("latin-1")
    command = next(each for each in page.locator("code").all_inner_texts() if each.startswith("git log"))
    assert again.run(*command.split()).stdout == git("log", "--oneline", "-1", cwd=again.path)
    page.close()


def photograph(page, selector="figure img"):
    """Returns the pixels of the first picture on a page, (height, width, 3)."""
    content = page.query_selector(selector).screenshot(animations="disabled")
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_pictures_are_dark_on_a_dark_page_and_keep_their_colours_apart(browser, report):
    colors = {}
    for scheme in ("light", "dark"):
        page, _, _ = look(browser, report, scheme=scheme)
        pixels = photograph(page)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == f"rgb({', '.join(map(str, pixels[5, 5]))})"
        colors[scheme] = set(map(tuple, pixels.reshape(-1, 3).tolist()))
        page.close()
    for light, dark in ((0x0072B2, 0x56B4E9), (0x767676, 0x9AA2AB), (0x000000, 0xE6E8EB)):
        assert tuple(light.to_bytes(3)) in colors["light"]
        assert tuple(dark.to_bytes(3)) in colors["dark"]
        assert tuple(light.to_bytes(3)) not in colors["dark"]


def test_the_report_prints_without_loss_on_white_paper(browser, report):
    page, _, _ = look(browser, report)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert photograph(page)[5, 5].tolist() == [255, 255, 255]
    page.set_viewport_size({"width": 700, "height": 1000})  # about the inside of an A4 sheet
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(box => box.scrollWidth <= box.clientWidth)")
    page.close()


def test_print_has_the_folded_tables_and_the_last_frame_of_the_animation(browser, report):
    page, _, _ = look(browser, report)

    def visible(selector):
        return page.evaluate(f"document.querySelector('{selector}').checkVisibility({{contentVisibilityAuto: true}})")

    things = (".animation", ".still", "details table", "nav")
    assert [visible(each) for each in things] == [True, False, False, True]
    page.emulate_media(media="print")
    assert [visible(each) for each in things] == [False, True, True, False]
    page.emulate_media(media="screen", reduced_motion="reduce")
    assert [visible(each) for each in things] == [False, True, False, True]
    page.close()


def copy_tree(finished, folder):
    """Returns a copy of the finished tree with all files that the stage reads."""
    shutil.copytree(finished.path, folder, ignore=shutil.ignore_patterns(".git", ".dvc", "windows"))
    return Checkout(folder)


def make_report(finished, folder, change):
    """Runs the stage in a copy of the finished tree with changed parameters. Returns the page's path."""
    tree, params = copy_tree(finished, folder), finished.yaml("params.yaml")
    change(params)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True))
    tree.stage("report")
    return folder / "metrics/report.html"


def test_hostile_names_and_values_of_parameters_add_no_element_and_no_attribute(browser, finished, tmp_path):
    """The train stage refuses such parameters before; the page does not rely on that."""
    assert len(HOSTILE) >= 50

    def add(names):
        def change(params):
            params["train"] |= {f"{name}a": name for name in names}
            params["model"]["cell"] = names[0]

        return change

    tame, _ = outline(browser, make_report(finished, tmp_path / "tame", add([f"word{i}" for i in range(len(HOSTILE))])))
    hostile, text = outline(browser, make_report(finished, tmp_path / "hostile", add(HOSTILE)))
    assert hostile == tame
    for words in HOSTILE:
        assert " ".join(words.split()) in text


SCRIPT = "pwned = 1; document.documentElement.style.display = 'none'"
HARM = (
    f"<script>{SCRIPT}</script>"
    f'<g onclick="{SCRIPT}"><animate onbegin="{SCRIPT}" attributeName="x" dur="1s"/></g>'
    '<image href="http://example.invalid/x.png" width="9" height="9"/>'
    '<style>@import "http://example.invalid/x.css";</style>'
    '<foreignObject width="9" height="9"><iframe xmlns="http://www.w3.org/1999/xhtml" src="http://example.invalid/"/>'
    "</foreignObject>"
)
"""Parts of an SVG that run a script, which hides the picture, or fetch something."""


def test_nothing_in_a_picture_runs_or_is_fetched(browser, finished, tmp_path):
    tree = copy_tree(finished, tmp_path / "tree")
    picture, report = tree.path / "metrics/plots/task.svg", tree.path / "metrics/report.html"
    page, _, _ = look(browser, report)
    expected = photograph(page)
    page.close()

    picture.write_text(
        picture.read_text().replace("</svg>", f"{HARM}</svg>").replace("<svg ", f'<svg onload="{SCRIPT}" ')
    )
    relist(tree.path)  # the list of digests is changed too
    page, _, asked = look(browser, picture)
    assert page.evaluate("pwned") == 1  # on its own, the picture runs its script and fetches
    assert any("example.invalid" in url for url in asked)
    page.close()

    report.unlink()
    tree.stage("report")
    assert_page_stands_alone(browser, report)
    page, _, asked = look(browser, report)
    page.click("figure img")
    assert np.array_equal(photograph(page)[30:], expected[30:])  # above it is the empty frame's border
    assert page.evaluate("typeof pwned") == "undefined"
    assert not any("example.invalid" in url for url in asked)
    page.close()


def test_a_picture_that_is_not_svg_is_refused(finished, tmp_path):
    tree = copy_tree(finished, tmp_path / "tree")
    (tree.path / "metrics/plots/task.svg").write_text("<html></html>")
    relist(tree.path)
    done = tree.stage("report", check=False)
    assert done.returncode == 65
    assert done.stderr == (
        "metrics/plots/task.svg is not an SVG picture (its root element should be <svg>...</svg>); "
        "remove it and run `dvc repro plot`\n"
    )


@pytest.mark.slow
def test_the_report_imports_neither_torch_nor_matplotlib():
    program = "import sys, stages.report; sys.exit(not sys.modules.keys().isdisjoint({'torch', 'matplotlib', 'scipy'}))"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == 0


def test_a_version_that_cannot_be_read_is_an_error_and_not_an_empty_cell(tmp_path, monkeypatch):
    (tmp_path / "some-1.0.dist-info/METADATA").mkdir(parents=True)  # importlib.metadata passes over it
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PermissionError, match=r"Permission denied: 'metadata of some'"):
        version_of("some")
