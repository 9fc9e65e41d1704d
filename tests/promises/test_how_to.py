"""docs/how-to.md: its commands run in the page's order in one checkout; its snippets do what they say."""

import json
import re
import sys

import pytest
import yaml

from tests.checkout import PROJECT, SMALL
from tests.forked_python.server import forking
from tests.promises.test_readme import commands_in, run_commands

PAGE = (PROJECT / "docs/how-to.md").read_text()
SECTIONS = dict(re.findall(r"^## \.\.\. (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
OWN = "use my own windows or recordings"


def snippets(section):
    return re.findall(r"^```python\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)


def test_twenty_questions_are_answered():
    assert len(SECTIONS) >= 20


@pytest.fixture
def prepared(again):
    (again.path / ".venv").symlink_to(sys.prefix)
    again.commit()
    return forking(again)


@pytest.mark.nightly
@pytest.mark.parametrize("sweep", [{"SEEDS=0,1": "SEEDS=0"}, {}], ids=str)
def test_the_commands_run_in_their_order(sweep, prepared):
    """The sweep has one seed, and both of the page's seeds in full."""
    for name, section in SECTIONS.items():
        if name != OWN:
            run_commands(prepared, commands_in(section), sweep)
    for page in ("runs", "sweep", "tune"):
        assert "Runs side by side" in (prepared.path / f"comparison/{page}.html").read_text()
    assert prepared.yaml("params.yaml")["model"]["cell"] == "lstm"  # the experiment was applied
    names = prepared.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert {"quick-start", "lstm", "noisier", "disturbed", "rates-1", "rates-2", "tune-1", "tune-2"} <= set(names)
    assert len(names) == 8 + (2 if sweep else 4)  # the sweep's


def yaml_of(section):
    return yaml.safe_load(re.search(r"^```yaml\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)[1])


@pytest.fixture
def own(prepared):
    """The checkout with the page's own recording, and its parameters."""
    (prepared.path / "own_recording.py").write_text(snippets(OWN)[0])
    sections = yaml_of(OWN)
    prepared.set(**{f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()})
    return prepared


def test_the_network_learns_a_recording_of_ones_own(own):
    """The pipeline cuts it, trains on it, says what it knows of it, and notices when it changes."""
    drawn = own.digests()
    run_commands(own, commands_in(SECTIONS[OWN]))
    test = json.loads((own.path / "metrics/test.json").read_text())
    assert test["windows"] == 500
    assert (test["floor_mse"], test["excess"]) == (None, None)
    assert test["seen_in_training"] == 0.0
    assert test["mse"] < test["baselines"]["hilbert"]
    report = " ".join((own.path / "metrics/report.html").read_text().split())
    assert "It is one recording. A window starts every 2 rows; the test windows are its last." in report
    assert "There is no floor to compare the error with: the windows are those of generate.source" in report
    assert "uniformly random" not in report
    assert own.repro() == []
    recording = own.path / "data/source/own.csv"
    recording.write_text(recording.read_text() + "0.0,0.0,0.0\n")  # beyond the last window
    assert own.repro() == ["generate"]
    recording.write_text(recording.read_text().replace("0.0,1.0,0.0", "0.5,1.0,0.0", 1).replace("\n1.", "\n1.5", 1))
    assert {"generate", "targets", "train", "evaluate"} <= set(own.repro())
    own.set(**{"generate.source": None, "generate.hop": None, "targets.kind": "posterior_mean"})
    own.set(**{"generate.windows": SMALL["generate.windows"]})
    assert set(own.repro()) <= {"generate"}  # the others come from the run cache
    for name in ("models/model.safetensors", "metrics/test.json", "metrics/report.html"):
        assert own.digests()[name] == drawn[name]


@pytest.mark.slow
@pytest.mark.parametrize("keep", [("git", "add"), ("dvc", "add")], ids=" ".join)
def test_an_experiment_in_a_folder_of_its_own_has_the_recording(own, keep):
    own.run(sys.executable, "own_recording.py")
    own.run(*keep, "data/source/own.csv")
    own.commit()
    own.run("dvc", "exp", "run", "--temp", "--name", "own", "--set-param", "train.epochs=1")
    (shown,) = json.loads(own.run("dvc", "exp", "show", "--json").stdout)[1]["experiments"] or [None]
    metrics = shown["revs"][0]["data"]["metrics"]["metrics/test.json"]["data"]
    assert (metrics["windows"], metrics.get("floor_mse")) == (500, None)


@pytest.mark.slow
def test_drawn_targets_and_too_few_windows_are_refused_before_training(own):
    own.run(sys.executable, "own_recording.py")
    own.stage("generate")
    own.set(**{"targets.kind": "posterior_mean"})
    ended = own.stage("targets", check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(
        "targets.kind in params.yaml is posterior_mean, which is known for "
    )
    own.set(**{"targets.kind": "clean", "train.epochs": 1})
    own.stage("targets")
    assert "38 steps are few to learn from; lower train.batch_size or raise train.epochs" in own.stage("train").stderr


def test_a_task_in_volts_and_hertz_is_learned_and_drawn_in_these(make_checkout):
    task = yaml_of("change the task")
    changes = {"generate.windows": {"train": 16384, "validation": 300, "test": 1000}, "generate.shard_windows": 16384}
    changes |= {"model.hidden_size": 16, "train.epochs": 4, "train.batch_size": 64}
    checkout = make_checkout(parameters={**SMALL, **changes})
    checkout.set(**{f"generate.{name}": value for name, value in task.items()})
    for stage in ("generate", "targets", "train", "evaluate", "plot", "report"):
        checkout.stage(stage)
    test = json.loads((checkout.path / "metrics/test.json").read_text())
    assert 0.0 < test["excess"] < 1.0
    assert 3.0 < test["rmse"] < 6.0  # volts
    assert test["seen_in_training"] == 0.0
    report = (checkout.path / "metrics/report.html").read_text()
    assert "20 samples of a sine wave, 1000 a second." in report
    assert "frequency is 45.0 to 55.0 Hz, its amplitude 280.0 to 360.0" in " ".join(report.split())


def test_the_model_is_used_in_python(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished.path)
    exec(snippets("use the model in Python")[0], {})  # noqa: S102
    assert len(re.findall(r"-?\d\.\d*", capsys.readouterr().out)) == 10
