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
        if name != "use my own windows":
            run_commands(prepared, commands_in(section), sweep)
    assert "Runs side by side" in (prepared.path / "comparison/index.html").read_text()
    assert prepared.yaml("params.yaml")["model"]["cell"] == "lstm"  # the experiment was applied
    names = prepared.run("dvc", "exp", "list", "--name-only").stdout.split()
    assert {"lstm", "noisier", "disturbed", "rates-1", "rates-2"} <= set(names)
    assert len(names) == 5 + (2 if sweep else 4)  # the sweep's


def test_the_network_learns_windows_of_ones_own(prepared):
    """Square waves: the pipeline trains on them and does not replace them by sines."""
    (prepared.path / "own_windows.py").write_text(snippets("use my own windows")[0])
    prepared.set(**{"targets.kind": "clean"})
    before = prepared.digests()
    run_commands(prepared, commands_in(SECTIONS["use my own windows"]))
    after = prepared.digests()
    assert before["data/windows/train/part-00000.parquet"] != after["data/windows/train/part-00000.parquet"]
    assert before["models/model.safetensors"] != after["models/model.safetensors"]
    assert prepared.repro() == []


def test_a_task_in_volts_and_hertz_is_learned_and_drawn_in_these(make_checkout):
    task = yaml.safe_load(re.search(r"^```yaml\n(.*?)^```$", SECTIONS["change the task"], re.MULTILINE | re.DOTALL)[1])
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
