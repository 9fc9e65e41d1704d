"""metrics/report.html in a real browser: it says what the run is, fetches nothing, and can be read by everyone."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe

from tests.checkout import PROJECT, Checkout
from tests.torture.strange import relist

HOSTILE = [
    *(f"{quote}{bracket}<{element}>" for quote in ("", '"', "'") for bracket in ("", ">", "/>") for element in (
        "script>pwned=1</script", "img src=x onerror=pwned=1", "svg onload=pwned=1", "/td></table><b", "/style><iframe",
    )),
    "{{ 7 * 7 }}", "{% raw %}", '" onmouseover="pwned=1', "javascript:pwned=1", "<!--", "]]>",
    "&lt;script&gt;&#60;b&#62;",
]  # fmt: skip
"""Strings that would add an element or an attribute to a page that let them."""


def look(browser, path, width=1280, scheme="light"):
    """Returns a page that shows a file, with what it said to the console and what it asked for."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri(), wait_until="load")
    return page, said, asked


def assert_page_stands_alone(browser, path):
    """It asks for nothing beyond itself and what it carries, the console stays silent, and no script runs."""
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
    """Nothing is cut off at the side, every picture has words, and axe-core finds nothing, contrast included."""
    page, _, _ = look(browser, path, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for picture in page.query_selector_all("svg, img"):
        words = picture.get_attribute("alt") or picture.get_attribute("aria-label")
        assert words
        assert len(words.split()) > 4
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert "color-contrast" in {rule["id"] for rule in found.response["passes"]}
    page.close()


def outline(browser, path):
    """Returns how many elements of each kind and how many attributes of each name the parsed page has."""
    page, said, _ = look(browser, path)
    counts = page.evaluate("""() => {
        const counts = {};
        for (const element of document.querySelectorAll('*')) {
            for (const name of [element.localName, ...element.getAttributeNames().map(name => '@' + name)])
                counts[name] = (counts[name] || 0) + 1;
        }
        return counts;
    }""")
    text = page.inner_text("body")
    assert page.evaluate("typeof pwned") == "undefined"
    assert said == []
    page.close()
    return counts, text


@pytest.fixture(scope="module")
def report(finished):
    return finished.path / "metrics/report.html"


def test_the_report_stands_alone(browser, report):
    assert_page_stands_alone(browser, report)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_can_be_read(browser, report, width, scheme):
    assert_page_can_be_read(browser, report, width, scheme)


def test_the_report_tells_this_runs_figures_and_parameters(browser, report, finished):
    page, _, _ = look(browser, report)
    text = page.inner_text("body")
    test, train = (json.loads((finished.path / f"metrics/{name}.json").read_text()) for name in ("test", "train"))
    assert page.inner_text(".verdict").startswith(
        f"On 300 windows that training has not seen, the network's mean squared error is {test['mse']:.3g}: "
    )
    for figure in (test["mse"], test["floor_mse"], *test["baselines"].values(), test["rmse"]):
        assert f"{figure:.4g}" in text
    assert f"{train['parameters']:,} parameters" in text
    rows = dict(line.split("\t") for line in text.splitlines() if line.count("\t") == 1)
    params = finished.yaml("params.yaml")
    assert rows["hidden_size"] == str(params["model"]["hidden_size"])
    assert rows["windows.train"] == str(params["generate"]["windows"]["train"])
    assert rows["learning_rate"] == str(params["train"]["learning_rate"])
    assert "gru.weight_hh_l0\t24 × 8\t192" in text
    assert len(page.query_selector_all("figure svg")) == 5
    page.close()


def test_each_id_on_the_report_is_the_only_one_and_each_reference_finds_its_own(browser, report):
    page, _, _ = look(browser, report)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)
    wanted = page.evaluate("""() => [
        ...[...document.querySelectorAll('use')].map(use => use.getAttribute('href').slice(1)),
        ...[...document.querySelectorAll('[clip-path]')].map(clipped => clipped.getAttribute('clip-path').slice(5, -1)),
    ]""")
    assert set(wanted) <= set(ids)
    assert wanted
    page.close()


def test_the_report_prints_without_loss(browser, report):
    page, _, _ = look(browser, report)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 700, "height": 1000})  # about the inside of an A4 sheet
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(box => box.scrollWidth <= box.clientWidth)")
    page.close()


def copy_tree(finished, folder):
    """Returns a copy of the finished tree with all that the stage reads."""
    shutil.copytree(finished.path, folder, ignore=shutil.ignore_patterns(".git", ".dvc", "windows"))
    return Checkout(folder)


def make_report(finished, folder, change):
    """Runs the stage in a copy of the finished tree whose parameters were changed; returns the page."""
    tree, params = copy_tree(finished, folder), finished.yaml("params.yaml")
    change(params)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True))
    tree.stage("report")
    return folder / "metrics/report.html"


def test_hostile_names_and_values_of_parameters_add_no_element_and_no_attribute(browser, finished, tmp_path):
    """In a section whose stage has refused them long before; the page does not rely on that."""
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


def test_a_picture_that_brings_a_script_along_is_refused(finished, tmp_path):
    tree = copy_tree(finished, tmp_path / "tree")
    picture = tree.path / "metrics/plots/task.svg"
    picture.write_text(picture.read_text().replace("</svg>", "<script>pwned = 1</script></svg>"))
    relist(tree.path)  # as one who means harm would
    done = tree.stage("report", check=False)
    assert done.returncode == 65
    assert done.stderr == (
        "metrics/plots/task.svg is no SVG of this project (it holds the element script); "
        "remove it and run `dvc repro plot`\n"
    )


@pytest.mark.slow
def test_the_report_imports_neither_torch_nor_matplotlib():
    program = "import sys, stages.report; sys.exit(not sys.modules.keys().isdisjoint({'torch', 'matplotlib', 'scipy'}))"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == 0
