"""Writes two pages: the report on the run -> metrics/report.html, the network to try -> metrics/playground.html."""

import errno
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from quadrature.reporting import page
from quadrature.reporting.advice import next_trials
from quadrature.reporting.metrics import TestMetrics, TrainMetrics, read_metrics
from quadrature.reporting.model_file import read_model
from quadrature.reporting.playground import MOST_WEIGHTS, playground
from quadrature.reporting.verdict import (
    alternatives,
    error_rows,
    excess_in_words,
    headline,
    tiles,
    unseen,
    verdict,
    warnings,
)
from quadrature.runtime import lifecycle
from quadrature.runtime.arguments import take_none
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section, flatten
from quadrature.signals.params import GenerateParams
from quadrature.storage.digest import DigestList
from quadrature.storage.files import write_bytes
from quadrature.storage.history import read_history
from quadrature.storage.windows import ESTIMATE_COLUMNS, WINDOW_COLUMNS, read_row_groups

DIGESTS, PLOTS, NARROW = Path("data/digests"), Path("metrics/plots"), Path("data/narrow")
CONTENTS = {
    "task": "the task", "errors": "the errors", "predictions": "predictions", "training": "training",
    "where": "where the errors are", "next": "what next", "network": "the network", "parameters": "the parameters",
    "origin": "where it comes from",
}  # fmt: skip
"""The page's headings, by their anchors."""

SOFTWARE = ("torch", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "safetensors", "dvc")


class NetworkParams(Section, extra="allow"):
    """The parameters of the network in the page's sentences. Others are only listed."""

    cell: str
    hidden_size: int
    num_layers: int
    bidirectional: bool
    head: str
    output: str


class Params(Section):
    device: str
    generate: GenerateParams
    model: NetworkParams
    targets: dict[str, object]
    train: dict[str, object]
    evaluate: dict[str, object]
    plot: dict[str, object]


def main() -> None:
    take_none("stages.report", __doc__)
    params = load_params(Params)
    trained, evaluated, plotted = (DigestList(DIGESTS / f"{stage}.sha256") for stage in ("train", "evaluate", "plot"))
    train = read_metrics(TrainMetrics, Path("metrics/train.json"), trained)
    test = read_metrics(TestMetrics, Path("metrics/test.json"), evaluated)
    history = read_history(Path("metrics/history.csv"), trained)
    model = read_model(Path("models/model.safetensors"), MOST_WEIGHTS)
    windows = next(read_row_groups(Path("data/predictions.parquet"), (*WINDOW_COLUMNS, *ESTIMATE_COLUMNS)))
    versions = {name: version_of(name) for name in SOFTWARE}
    pictures = {
        name: page.read_svg(PLOTS / f"{name}.svg", plotted, alternative, NARROW)
        for name, alternative in alternatives(test, history).items()
    }
    values = {
        "headline": headline(test),
        "tiles": tiles(test),
        "contents": CONTENTS,
        "verdict": verdict(test),
        "warnings": list(warnings(test, history)),
        "task": params.generate,
        "network": params.model,
        "unseen": unseen(params.generate),
        "train": train,
        "history": history,
        "test": test,
        "weights": model.weights,
        "model_md5": model.md5,
        "digests": (model.blueprint.trained_on or {}) | {"the model": model.blueprint.sha256},
        "errors": error_rows(test),
        "above_floor": "" if test.excess is None else excess_in_words(test),
        "trials": list(next_trials(test, train, params.model_dump())),
        "pictures": pictures,
        "moving": page.moving_picture(PLOTS / "training.gif", plotted),
        "parameters": tabulate(params.model_dump()),
        "versions": {"Python": platform.python_version(), **versions},
    }
    write_bytes(Path("metrics/report.html"), page.render("report.html", values))
    write_bytes(Path("metrics/playground.html"), playground(model, params.generate, windows))


def version_of(name: str) -> str:
    """Returns the version of an installed package. Raises OSError if its metadata cannot be read."""
    version = importlib.metadata.version(name)
    if not version:  # importlib.metadata passes over files that it may not read
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"metadata of {name}")
    return version


def tabulate(params: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Returns each section's parameters, spelled as in params.yaml, by name: an empty name if a section is a value."""
    names = {section: flatten({section: value}) for section, value in params.items()}
    return {
        section: {name.removeprefix(section).removeprefix("."): page.spelled(value) for name, value in values.items()}
        for section, values in names.items()
    }


if __name__ == "__main__":
    lifecycle.run(main)
