"""The quick tests pass with any valid params.yaml, after a run of the pipeline: they do not test the user's results.

The edits are combined with shrunken windows and epochs.
"""

import sys

import pytest
import yaml

from benchmarks.studies.article import EXPERIMENT
from tests.checkout import SMALL

EDITS = {
    "more noise": {"generate.noise_std": 0.2},
    "a small LSTM": {"model.cell": "lstm", "model.hidden_size": 16},
    "fewer windows": {"generate.windows": {"train": 20000, "validation": 500, "test": 500}, "train.batch_size": 1024},
    "the article's windows": {
        **{name: yaml.safe_load(value) for name, value in EXPERIMENT.items() if name.startswith("generate.")},
        "train.batch_size": 32,
    },
    "longer windows, two layers": {"generate.length": 24, "model.num_layers": 2},
}


@pytest.mark.nightly
@pytest.mark.parametrize("edit", EDITS)
def test_the_quick_tests_pass_after_an_edit_and_a_run(make_checkout, edit):
    checkout = make_checkout(parameters={**SMALL, **EDITS[edit]})
    checkout.repro()
    checkout.commit()
    (checkout.path / ".git/info/exclude").write_text(".venv\n")  # .gitignore names a folder, this is a link
    (checkout.path / ".venv").symlink_to(sys.prefix)
    quick = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not nightly")
    printed = checkout.run(*quick).stdout
    assert "params.yaml has other values than benchmarks/params.yaml" in printed
