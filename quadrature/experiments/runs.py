"""Reads the parameters, metrics and tables of runs: the working tree, revisions and experiments.

All of these are files in git at a run's revision, so neither data nor DVC's cache is needed.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import dvc.api  # type: ignore[import-untyped]
import pandas as pd
from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml  # type: ignore[import-untyped]
from scmrepo.exceptions import SCMError as GitError

from quadrature.experiments.revisions import read_text
from quadrature.runtime.errors import DataError, conflict_in
from quadrature.runtime.settings import flatten

WORKSPACE = "workspace"
"""The name of the run in the working tree, as in DVC."""

METRICS = (Path("metrics/test.json"), Path("metrics/train.json"))
TABLES = ("history", "error_by_position", "error_by_frequency", "error_by_phase")


class Run(NamedTuple):
    """A run's parameters and metrics, both by dotted name."""

    name: str
    code: str  # a digest of its code: runs of different code are different settings
    params: Mapping[str, object]
    metrics: Mapping[str, object]


def experiment_names() -> list[str]:
    """Returns the sorted names of the finished experiments that began at the current commit.

    Raises DataError if DVC cannot list them.
    """
    try:
        rows = [row for row in dvc.api.exp_show() if row["Experiment"]]
    except (DvcException, GitError) as error:
        raise DataError(f"DVC cannot list the experiments here: {error}") from None
    names = [str(row["Experiment"]) for row in rows if row.get("State") in (None, "Success")]
    return sorted(names, key=lambda name: [part.zfill(9) for part in re.split(r"(\d+)", name)])  # 10 after 9


def read_run(name: str) -> Run:
    """Returns the run of a revision or an experiment.

    Raises ParameterError if there is no such revision, DataError if it has no run or the run cannot be read.
    """
    revision = None if name == WORKSPACE else name
    texts = {path: read_text(path, revision) for path in (Path("params.yaml"), Path("dvc.lock"), *METRICS)}
    for path, text in texts.items():
        if text is None:
            raise DataError(f"{name} has no {path}; run `dvc repro` there and commit the results")
    params, lock, *metrics = (_parse(name, path, text or "") for path, text in texts.items())
    merged: dict[str, object] = {}
    for each in reversed(metrics):  # a name in both files is that of metrics/test.json
        merged |= flatten(each)
    return Run(name, _code(lock), flatten(params), merged)


def read_tables(name: str) -> dict[str, pd.DataFrame]:
    """Returns the tables of TABLES that a run has, by name. Raises DataError if one cannot be read."""
    revision = None if name == WORKSPACE else name
    texts = {table: read_text(Path(f"metrics/{table}.csv"), revision) for table in TABLES}
    try:
        return {table: pd.read_csv(io.StringIO(text)) for table, text in texts.items() if text}
    except ValueError as error:
        raise DataError(
            f"{name} has a table in metrics/ that cannot be read ({error}); run `dvc repro` there"
        ) from None


def _parse(name: str, path: Path, text: str) -> Mapping[str, object]:
    try:
        tree: object = json.loads(text) if path.suffix == ".json" else parse_yaml(text, str(path))
    except (ValueError, YAMLFileCorruptedError):
        tree = None
    if not isinstance(tree, dict):
        if advice := conflict_in(text.encode()):
            raise DataError(f"{path} of {name} {advice}")
        raise DataError(f"{path} of {name} cannot be read; run `dvc repro` there to make it again")
    return tree


def _code(lock: Mapping[str, object]) -> str:
    """Returns a digest of the code that dvc.lock records for the stages that make the metrics."""
    recorded: set[str] = set()
    for path, digest in _dependencies(lock):
        if path.startswith(("quadrature/", "stages/")):
            recorded.add(f"{path} {digest}")
    return hashlib.sha256("\n".join(sorted(recorded)).encode()).hexdigest()[:7]


def _dependencies(lock: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    stages = lock.get("stages")
    for name in ("generate", "train", "evaluate"):
        stage = stages.get(name) if isinstance(stages, dict) else None
        for dependency in stage.get("deps", []) if isinstance(stage, dict) else []:
            yield str(dependency.get("path")), str(dependency.get("md5"))
