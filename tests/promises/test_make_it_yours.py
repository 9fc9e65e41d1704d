"""docs/make-it-yours.md: its task, added as the page says, is learned by the rest of the pipeline as it is."""

import json
import re
import sys

import pytest
import yaml

from tests.checkout import PROJECT, SMALL

PAGE = (PROJECT / "docs/make-it-yours.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_another_task_takes_a_file_and_some_lines(make_checkout):
    windows = {"generate.windows": {"train": 4096, "validation": 200, "test": 1000}, "model.hidden_size": 16}
    checkout = make_checkout(parameters={**SMALL, **windows, "generate.shard_windows": 4096, "train.epochs": 8})
    (program,), (stage, params) = blocks("python"), map(yaml.safe_load, blocks("yaml"))
    (checkout.path / "stages/simulate.py").write_text(program)
    pipeline = checkout.yaml("dvc.yaml")
    pipeline["stages"] |= stage["stages"]
    (checkout.path / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    checkout.set(**{f"{section}.{name}": value for section, values in params.items() for name, value in values.items()})
    checkout.commit()
    ran = checkout.repro()
    assert ran.index("simulate") < ran.index("generate")
    assert checkout.repro() == []
    test = json.loads((checkout.path / "metrics/test.json").read_text())
    assert (test["windows"], test["floor_mse"], test["seen_in_training"]) == (1000, None, 0.0)
    assert test["mse"] < test["baselines"]["hilbert"]
    assert test["mse"] < 0.2 * test["baselines"]["zero"]
    assert "The network estimates the column" in (checkout.path / "metrics/report.html").read_text()
    guarded = checkout.run(sys.executable, "-m", "pytest", "tests/promises/test_structure.py", "-k", "simulate")
    assert "2 passed" in guarded.stdout
    checkout.set(**{"generate.noise_std": 0.3})
    assert {"simulate", "generate", "train"} <= set(checkout.repro())


def test_the_files_that_the_page_names_are_there():
    named = set(re.findall(r"`((?:quadrature|stages)/[\w/.]+)`", PAGE))
    assert len(named) >= 8
    assert [name for name in named if not (PROJECT / name).exists()] == []
