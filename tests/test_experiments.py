"""DVC experiments, for real: however a run is started its lock is the same; a queue drains; runs are compared."""

import json
import re
import subprocess
import sys
import time

import pytest
import yaml

from tests.checkout import Checkout, git
from tests.test_report import HOSTILE, assert_page_can_be_read, assert_page_stands_alone, outline

pytestmark = pytest.mark.xdist_group("experiments")  # in one process, where the six are run once
CHANGE = ("--set-param", "train.seed=1")
QUADRATURE = ("python", "-m", "quadrature")


def lock(checkout, name=None):
    """Returns the dvc.lock of an experiment, or the one in the files."""
    if name is None:
        return checkout.yaml("dvc.lock")
    (ref,) = git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}", cwd=checkout.path).split()
    return yaml.safe_load(git("show", f"{ref}:dvc.lock", cwd=checkout.path))


def wait_for_queue(checkout, seconds=400):
    """Waits until every queued experiment has ended; returns how many ended in which way."""
    deadline = time.monotonic() + seconds
    while True:
        lines = checkout.run("dvc", "queue", "status").stdout.splitlines()
        states = [line.split()[-1] for line in lines[1:] if line.strip() and not line.startswith("Worker")]
        if not {"Queued", "Running"} & set(states):
            return {state: states.count(state) for state in states}
        assert time.monotonic() < deadline, lines
        time.sleep(4)  # to ask takes a second or two of a core


@pytest.fixture(scope="module")
def queued(tmp_path_factory):
    """A finished checkout with six experiments, run by two workers from the queue: two cells, three seeds."""
    checkout = Checkout(tmp_path_factory.mktemp("queued"))
    checkout.repro()
    checkout.commit()
    sweep = ("--set-param", "model.cell=rnn,gru", "--set-param", "train.seed=0,1,2")
    checkout.run("dvc", "exp", "run", "--queue", "--name", "sweep", *sweep)
    checkout.run("dvc", "queue", "start", "--jobs", "2")
    checkout.states = wait_for_queue(checkout)
    return checkout


@pytest.mark.slow
def test_a_queue_of_six_drains_as_six(queued):
    assert queued.states == {"Success": 6}
    assert len(git("for-each-ref", "refs/exps/*/*/sweep-*", cwd=queued.path).splitlines()) == 6


@pytest.mark.slow
def test_however_a_run_is_started_its_lock_is_the_same(queued, make_checkout):
    """Each in a checkout and with a cache of its own, so that none takes another's results."""
    repro = make_checkout("repro")
    repro.set(**{"train.seed": 1})
    repro.repro()

    run = make_checkout("run")
    run.run("dvc", "exp", "run", "--name", "direct", *CHANGE)
    temp = make_checkout("temp")
    temp.run("dvc", "exp", "run", "--temp", "--name", "apart", *CHANGE)

    golden = lock(repro)
    assert len(golden["stages"]) == 5
    assert lock(run) == golden
    assert lock(run, "direct") == golden
    assert lock(temp, "apart") == golden
    assert lock(queued, "sweep-5") == golden  # the choices' product, in order: gru with seed 1


@pytest.mark.slow
def test_the_experiments_are_compared_as_two_settings_of_three_seeds(queued):
    found = json.loads(queued.run(*QUADRATURE, "compare", "--json").stdout)
    assert [len(each["metrics"]["mse"]["runs"]) for each in found["settings"]] == [3, 3]
    gru = next(each for each in found["settings"] if each["parameters"] == {"model.cell": "gru"})
    assert gru["reference"]
    assert next(iter(gru["metrics"]["mse"]["runs"])) == "workspace"  # which is sweep-4 too
    here = json.loads((queued.path / "metrics/test.json").read_text())
    assert gru["metrics"]["mse"]["runs"]["workspace"] == here["mse"]

    lines = queued.run(*QUADRATURE, "compare", "HEAD", "sweep-1", "sweep-2").stdout.splitlines()
    assert lines[0].split() == ["run", "model.cell", "n", "mse", "difference", "excess", "difference"]
    assert sorted(line.split("  ")[0] for line in lines[2:]) == ["HEAD", "sweep-1 and 1 more"]

    table = queued.run(
        *QUADRATURE, "compare", "--markdown", "--metric", "baselines.zero", "--reference", "sweep-1"
    ).stdout
    assert table.splitlines()[0].replace(" ", "") == "|run|model.cell|n|baselines.zero|difference|"
    assert "| sweep-1 and 2 more" in table


@pytest.mark.slow
def test_what_cannot_be_compared_is_told_in_one_line(queued):
    for arguments, code, message in (
        (["nowhere"], 2, "there is no revision 'nowhere' here"),
        (["--metric", "mes"], 2, "no run has the metric mes; there are baselines.hilbert, "),
        (["HEAD", "--reference", "nowhere"], 2, "there is no revision 'nowhere' here"),
    ):
        result = queued.run(*QUADRATURE, "compare", *arguments, check=False)
        assert (result.returncode, result.stdout) == (code, "")
        assert result.stderr.startswith(message)
        assert result.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_the_page_of_a_comparison_stands_alone_and_can_be_read(queued, browser, tmp_path, width, scheme):
    page = tmp_path / "comparison.html"
    queued.run(*QUADRATURE, "compare", "--html", str(page))
    assert_page_stands_alone(browser, page)
    assert_page_can_be_read(browser, page, width, scheme)
    counts, text = outline(browser, page)
    assert counts["svg"] == 4
    assert "sweep-1 and 2 more" in text


@pytest.mark.slow
def test_hostile_names_of_branches_and_parameters_add_no_element_and_no_attribute(queued, browser, tmp_path):
    """Branches carry what git lets a name hold; the parameters, everything."""

    def page(strings, kind):
        names = []
        for number, words in enumerate(strings):
            name = f"{kind}{number}" + re.sub(r"[ ~^:?*\[\]\\{}]|\.\.|[./]+$", "", words)
            git("checkout", "--quiet", "-b", name, "main", cwd=queued.path)
            params = queued.yaml("params.yaml")
            params["train"][f"{words}a"] = words
            (queued.path / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True))
            git("commit", "--quiet", "--all", "--message", "odd", cwd=queued.path)
            names.append(name)
        git("checkout", "--quiet", "main", cwd=queued.path)
        queued.run(*QUADRATURE, "compare", "main", *names, "--html", str(tmp_path / f"{kind}.html"))
        return outline(browser, tmp_path / f"{kind}.html")

    tame, _ = page([f"word{number}" for number in range(len(HOSTILE))], "tame")
    hostile, text = page(HOSTILE, "odd")
    drawn = {
        "path",
        "use",
        "g",
        "defs",
        "@d",
        "@id",
        "@href",
        "@style",
        "@transform",
        "@x",
        "@y",
        "clipPath",
        "@clip-path",
    }
    assert {key: n for key, n in hostile.items() if key not in drawn} == {
        key: n for key, n in tame.items() if key not in drawn
    }  # a label drawn has a path for each letter
    assert set(hostile) == set(tame)
    assert "<script>pwned=1</script>" in text


def test_compare_imports_no_torch():
    program = "import sys, quadrature.commands.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
