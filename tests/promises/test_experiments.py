"""DVC experiments with the real dvc: every way to start a run gives the same lock; queues drain; runs are compared."""

import json
import re
import time

import pytest
import yaml

from quadrature.storage.windows import ESTIMATE_COLUMNS
from tests.checkout import SMALL, Checkout, git
from tests.forked_python.server import forking
from tests.processes import rest_of
from tests.reporting.test_report import HOSTILE, assert_page_can_be_read, assert_page_stands_alone, outline
from tests.torture.runs import remaining, start

QUADRATURE = ("python", "-m", "quadrature")


def lock(checkout, name=None):
    """Returns the dvc.lock of an experiment, or that of the working tree."""
    if name is None:
        return checkout.yaml("dvc.lock")
    (ref,) = git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}", cwd=checkout.path).split()
    return yaml.safe_load(git("show", f"{ref}:dvc.lock", cwd=checkout.path))


def wait_for_queue(checkout, name, count, seconds=400):
    """Waits until `count` experiments of a name have succeeded or one has failed; returns the counts by state.

    Polls git's references, as `dvc queue status` takes a second of processor time.
    """
    deadline = time.monotonic() + seconds
    while True:
        refs = git("for-each-ref", "--format=%(refname)", "refs/exps", cwd=checkout.path).split()
        done = [ref for ref in refs if ref.rpartition("/")[2].startswith(f"{name}-")]
        if len(done) == count or "refs/exps/celery/failed" in refs:
            break
        assert time.monotonic() < deadline, refs
        time.sleep(1)
    while True:  # the last worker has yet to record its end
        lines = checkout.run("dvc", "queue", "status").stdout.splitlines()
        states = [line.split()[-1] for line in lines[1:] if line.strip() and not line.startswith("Worker")]
        if not {"Queued", "Running"} & set(states):
            return {state: states.count(state) for state in states}
        assert time.monotonic() < deadline, lines


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.nightly)], ids="{} seeds".format)
def seeds(request):
    """The number of seeds for each of two cells: four experiments, or six."""
    return request.param


@pytest.fixture(scope="module")
def queued(finished, tmp_path_factory, seeds):
    """A finished checkout with experiments run from the queue by two workers: two cells, several seeds.

    Each experiment runs all stages, even those with cached results.
    """
    checkout = forking(finished.copy(tmp_path_factory.mktemp("queued") / "checkout"))
    sweep = ("--set-param", "model.cell=rnn,gru", "--set-param", f"train.seed={','.join(map(str, range(seeds)))}")
    checkout.run("dvc", "exp", "run", "--queue", "--force", "--name", "sweep", *sweep)
    checkout.run("dvc", "queue", "start", "--jobs", "2")
    checkout.states = wait_for_queue(checkout, "sweep", 2 * seeds)
    return checkout


def test_a_queue_drains_as_what_was_queued(queued, seeds):
    assert queued.states == {"Success": 2 * seeds}
    assert len(git("for-each-ref", "refs/exps/*/*/sweep-*", cwd=queued.path).splitlines()) == 2 * seeds


def test_however_a_run_is_started_its_lock_is_the_same(finished, queued, seeds, make_checkout):
    """Each run has its own cache or is forced, so that none takes another one's results."""
    other = {**SMALL, "train.seed": 7}
    run, temp = (forking(make_checkout(name, other)) for name in ("run", "temp"))
    run.run("dvc", "exp", "run", "--name", "direct", "--set-param", "train.seed=0")
    temp.run("dvc", "exp", "run", "--temp", "--name", "apart", "--set-param", "train.seed=0")

    golden = lock(finished)
    assert len(golden["stages"]) == 7
    assert run.yaml("params.yaml") == finished.yaml("params.yaml")
    assert lock(run) == golden
    assert lock(run, "direct") == golden
    assert lock(temp, "apart") == golden
    assert lock(queued, f"sweep-{seeds + 1}") == golden  # the product of the choices in order: gru with seed 0


@pytest.mark.parametrize("command", [(*QUADRATURE, "sweep", "train.seed=0"), ("bash", ".ci/run")])
def test_a_shallow_clone_in_which_dvc_loses_experiments_is_refused(finished, tmp_path, command):
    git("clone", "--quiet", "--depth=1", f"file://{finished.path}", "shallow", cwd=tmp_path)
    refused = Checkout(tmp_path / "shallow").run(*command, check=False)
    assert refused.returncode != 0
    assert "this clone is shallow, and DVC loses experiments in one: git fetch --unshallow" in refused.stderr
    assert "Queue" not in refused.stdout


def test_an_experiment_shows_what_it_changed(queued):
    _, baseline = json.loads(queued.run("dvc", "exp", "show", "--json").stdout)
    (revision,) = next(each for each in baseline["experiments"] if each["name"] == "sweep-1")["revs"]
    assert revision["data"]["params"]["params.yaml"]["data"]["model"]["cell"] == "rnn"

    params = json.loads(queued.run("dvc", "params", "diff", "HEAD", "sweep-1", "--json").stdout)
    assert params == {"params.yaml": {"model.cell": {"old": "gru", "new": "rnn"}}}
    metrics = json.loads(queued.run("dvc", "metrics", "diff", "HEAD", "sweep-1", "--json").stdout)
    assert metrics["metrics/test.json"]["mse"]["diff"] != 0
    plots = json.loads(queued.run("dvc", "plots", "diff", "HEAD", "sweep-1", "--json").stdout)
    charts = {"Learning curves": ["train_mse", "validation_mse"]}
    charts |= {f"Error by {quantity}": ESTIMATE_COLUMNS for quantity in ("position", "frequency", "phase")}
    for title, fields in charts.items():
        (chart,) = plots["data"][title]
        drawn = {(value["rev"], value["field"]) for value in chart["content"]["data"]["values"]}
        assert drawn == {(rev, field) for rev in ("HEAD", "sweep-1") for field in fields}
        assert chart["content"]["title"]["text"] == title
        assert chart["content"]["encoding"]["y"]["title"] == "mean squared error"
        assert "<DVC_METRIC" not in json.dumps(chart)
    pictures = sorted(path.name for path in (queued.path / "metrics/plots").iterdir())
    assert pictures == [
        "error_by_position.svg",
        "error_by_signal.svg",
        "error_by_size.svg",
        "learning_curves.svg",
        "predictions.svg",
        "task.svg",
        "training.gif",
        "worst_windows.svg",
    ]
    for name in pictures:
        images = plots["data"][f"metrics/plots/{name}"]
        assert {revision for image in images for revision in image["revisions"]} == {"HEAD", "sweep-1"}


def test_the_experiments_are_compared_as_two_settings_of_so_many_seeds(queued, seeds):
    done = queued.run("python", "-X", "importtime", *QUADRATURE[1:], "compare", "--json")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "quadrature.experiments.comparison" in imported
    assert "torch" not in imported
    assert "dvc" not in imported  # whose list of experiments fails now and then beside a running queue
    found = json.loads(done.stdout)
    assert [len(each["metrics"]["mse"]["runs"]) for each in found["settings"]] == [seeds, seeds]
    gru = next(each for each in found["settings"] if each["parameters"] == {"model.cell": "gru"})
    assert gru["reference"]
    assert next(iter(gru["metrics"]["mse"]["runs"])) == "workspace"  # the working tree counts as an experiment
    here = json.loads((queued.path / "metrics/test.json").read_text())
    assert gru["metrics"]["mse"]["runs"]["workspace"] == here["mse"]

    lines = queued.run(*QUADRATURE, "compare", "HEAD", "sweep-1", "sweep-2").stdout.splitlines()
    assert lines[0].split() == ["cell", "n", "excess", "(%)", "difference", "mse", "runs"]
    assert max(map(len, lines)) <= 100
    assert sorted(line.split("  ")[-1].strip() for line in lines[2:]) == ["HEAD", "sweep-1 and 1 more"]

    table = queued.run(
        *QUADRATURE, "compare", "--markdown", "--metric", "baselines.zero", "--reference", "sweep-1"
    ).stdout
    assert table.splitlines()[0].replace(" ", "") == "|cell|n|baselines.zero|difference|runs|"
    assert f"| sweep-1 and {seeds - 1} more " in table


def test_what_cannot_be_compared_is_told_in_one_line(queued):
    for arguments, message in (
        (["nowhere"], "there is no revision 'nowhere' here"),
        (["--metric", "mes"], "no run has the metric mes; there are amplitude_rmse, baselines.hilbert, "),
        (["HEAD", "--reference", "nowhere"], "there is no revision 'nowhere' here"),
    ):
        result = queued.run(*QUADRATURE, "compare", *arguments, check=False)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(message)
        assert result.stderr.count("\n") == 1


def test_the_page_of_a_comparison_stands_alone_and_can_be_read(queued, seeds, browser, tmp_path):
    page = tmp_path / "comparison.html"
    queued.run(*QUADRATURE, "compare", "--html", str(page))
    assert_page_stands_alone(browser, page)
    for width, scheme in ((390, "dark"), (1280, "light")):
        assert_page_can_be_read(browser, page, width, scheme)
    counts, text = outline(browser, page)
    assert counts["img"] == 5  # a dot for every run, and the curves
    assert f"sweep-1 and {seeds - 1} more" in text


@pytest.mark.slow
def test_a_sweep_says_which_experiments_failed_and_why_and_compares_its_own_others(finished, make_checkout):
    checkout = forking(finished.copy(make_checkout("swept").path.parent / "sweep"))
    checkout.run("dvc", "exp", "run", "--temp", "--name", "earlier", "--set-param", "train.seed=9")
    values = ("model.cell=rnn,gur", "train.seed=1", "train.threads=1")
    swept = checkout.run(*QUADRATURE, "sweep", "--jobs", "2", *values, check=False)
    assert swept.returncode == 1
    *_, reason, count = swept.stderr.splitlines()
    assert re.fullmatch(r"\S+ failed: model\.cell in params\.yaml is the text 'gur'; did you mean gru\?", reason)
    assert count == "1 of 2 experiments failed; `dvc queue logs NAME` has all of a log"
    table = swept.stdout[swept.stdout.rindex("\nn ") :].splitlines()
    assert len([line for line in table if line.startswith("1 ")]) == 1  # neither the failed one nor the earlier one
    assert "Runs side by side" in (checkout.path / "comparison/sweep.html").read_text()
    refused = checkout.run(*QUADRATURE, "sweep", "model.cell", check=False)
    assert (refused.returncode, refused.stderr) == (
        2, "model.cell is not a parameter with values; write train.seed=0,1\n"
    )  # fmt: skip


@pytest.mark.slow
def test_a_sweep_compares_its_runs_where_a_commit_is_made_meanwhile(finished, tmp_path):
    checkout = forking(finished.copy(tmp_path / "moved"))
    process = start(checkout, *QUADRATURE, "sweep", "model.cell=rnn", "train.seed=1", "train.threads=1")
    while "epoch 1 of" not in (line := process.stdout.readline()):
        assert line, "it ended"
    git("commit", "--quiet", "--allow-empty", "--message", "meanwhile", cwd=checkout.path)
    said = rest_of(process)[0]
    assert (process.returncode, "all 1 experiments finished" in said) == (0, True), said


@pytest.mark.slow
def test_a_search_goes_on_where_it_stopped_and_names_the_best_trial(finished, tmp_path):
    checkout = forking(finished.copy(tmp_path / "tuned"))
    search = (*QUADRATURE, "tune", "train.learning_rate=0.001..0.1", "model.cell=rnn,gru")
    checkout.run(*search, "--trials", "1")
    tuned = checkout.run(*search, "--trials", "2")
    assert re.findall(r"^(tune-\d): validation_mse [\d.]+ \(train\.learning_rate", tuned.stderr, re.MULTILINE) == [
        "tune-2"
    ]
    names = checkout.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert sorted(names) == ["tune-1", "tune-2"]
    best = re.search(r"best of 2: (tune-\d), ", tuned.stderr)[1]
    assert tuned.stdout.splitlines()[-1] == f"The best one, into your files: dvc exp apply {best}"
    assert "against each parameter" in (checkout.path / "comparison/tune.html").read_text()
    failed = checkout.run(*search, "model.num_layers=0,-1", "--trials", "3", "--name", "bad", check=False)
    assert failed.returncode == 1
    *_, last = failed.stderr.splitlines()
    assert last.startswith("3 trials failed one after another")
    assert "model.num_layers in params.yaml is -1" in failed.stderr
    misspelt = checkout.run(*QUADRATURE, "tune", "train.lerning_rate=0.1..1", "--trials", "1", check=False)
    assert misspelt.returncode == 1
    assert "train.lerning_rate" in misspelt.stderr.partition("ERROR")[2]  # DVC's reason
    again = checkout.run(*search, "--trials", "2")
    assert "2 trials within these ranges are there; raise --trials" in again.stderr
    elsewhere = checkout.run(*QUADRATURE, "tune", "train.learning_rate=0.2..0.3", "--trials", "1")
    assert "tune-3: validation_mse" in elsewhere.stderr  # the earlier trials are outside these ranges


@pytest.mark.slow
def test_a_search_that_is_ended_ends_dvc_and_its_stage(finished, tmp_path):
    """Dash, the /bin/sh of Debian, stays between DVC and the command that it runs, unless that begins with `exec`."""
    checkout = finished.copy(tmp_path / "ended")
    process = start(checkout, *QUADRATURE, "tune", "train.epochs=100000,1000000", "--trials", "1")
    while "epoch 1 of" not in (line := process.stdout.readline()):
        assert line, "it ended"
    process.terminate()
    said = rest_of(process)[0]
    assert process.returncode == 75  # as for every interruption
    assert remaining(checkout, 15.0) == []
    assert "the next run resumes after step" in said


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.nightly)])
def test_hostile_names_of_branches_and_parameters_add_no_element_and_no_attribute(step, queued, browser, tmp_path):
    """Branches hold the characters that git allows, parameters hold all. Tries every fourth name, or every name."""
    names = HOSTILE[::step]

    def page(strings, kind):
        branches = []
        for number, words in enumerate(strings):
            name = f"{kind}{step}-{number}" + re.sub(r"[ ~^:?*\[\]\\{}]|\.\.|[./]+$", "", words)
            git("checkout", "--quiet", "-b", name, "main", cwd=queued.path)
            params = queued.yaml("params.yaml")
            params["train"][f"{words}a"] = words
            (queued.path / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True))
            git("commit", "--quiet", "--all", "--message", "odd", cwd=queued.path)
            branches.append(name)
        git("checkout", "--quiet", "main", cwd=queued.path)
        queued.run(*QUADRATURE, "compare", "main", *branches, "--html", str(tmp_path / f"{kind}.html"))
        return outline(browser, tmp_path / f"{kind}.html")

    tame, _ = page([f"word{number}" for number in range(len(names))], "tame")
    hostile, text = page(names, "odd")
    assert hostile == tame
    assert "<script>pwned=1</script>" in text
