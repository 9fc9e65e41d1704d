"""Reads the parameters, metrics and tables of runs: the working tree, revisions and experiments.

All of these are files in git at a run's revision, so neither data nor DVC's cache is needed.
"""

import hashlib
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from quadrature.experiments.revisions import commit_of, experiments, metrics_of, read_content, settings_of
from quadrature.runtime.errors import DataError, ParameterError
from quadrature.runtime.settings import flatten

WORKSPACE = "workspace"
"""The name of the run in the working tree, as in DVC."""

SETTINGS = (Path("params.yaml"), Path("dvc.lock"))
METRICS = (Path("metrics/test.json"), Path("metrics/train.json"))
STAGES = ("generate", "targets", "train", "evaluate")
"""The stages that make the metrics."""

TABLES = ("history", "error_by_position", "error_by_frequency", "error_by_phase")


class Run(NamedTuple):
    """A run's parameters and metrics, both by dotted name."""

    name: str
    code: str  # a digest of its code: runs of different code are different settings
    params: Mapping[str, object]
    metrics: Mapping[str, object]


def experiment_names(*, all_commits: bool = False) -> tuple[list[str], int]:
    """Returns the sorted names of the finished experiments that began at the current commit, or at any commit.

    Also returns the number of other commits whose experiments are left out. An experiment whose name means another
    revision, or several, is named by its reference. Raises GitError if git cannot list them.
    """
    found = experiments()
    here = commit_of("HEAD") if found else ""
    names = [_short(name, ref, commit) for ref, begun, name, commit in found if all_commits or begun == here]
    elsewhere = {begun for _, begun, _, _ in found} - {here}
    return sorted(names, key=_natural), 0 if all_commits else len(elsewhere)


def _short(name: str, ref: str, commit: str) -> str:
    try:
        return name if commit_of(name) == commit else ref
    except ParameterError:
        return ref


def _natural(name: str) -> list[str]:
    return [part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", name)]  # 10 after 9


def read_run(name: str) -> Run:
    """Returns the run of a revision or an experiment.

    Raises ParameterError if there is no such revision, DataError if it has no run or the run cannot be read or is not
    finished, GitError if git cannot answer.
    """
    revision = None if name == WORKSPACE else name
    params, lock = (_found(name, path, settings_of(path, revision)) for path in SETTINGS)
    for change in _changes(params, lock):
        raise DataError(f"{name} has metrics of another run ({change}); run `dvc repro` there")
    merged: dict[str, object] = {}
    for path in reversed(METRICS):  # a name in both files is that of metrics/test.json
        merged |= flatten(_found(name, path, metrics_of(path, revision)))
    return Run(name, _code(lock), flatten(params), merged)


def read_here() -> Run:
    """Returns the run of the files here, or that of the last commit, with a note, if the files are of no whole run."""
    try:
        return read_run(WORKSPACE)
    except DataError as error:
        try:
            run = read_run("HEAD")
        except (DataError, ParameterError):
            raise error from None
        logging.info("left out: %s", error)
        return run


def readable(names: Sequence[str]) -> list[Run]:
    """Returns the runs that can be compared, and says why each other one is left out."""
    runs = []
    for name in names:
        try:
            runs.append(read_run(name))
        except DataError as error:
            logging.info("left out: %s", error)
    return runs


def _found(name: str, path: Path, tree: dict[str, object] | None) -> dict[str, object]:
    if not tree:
        lack = "no" if tree is None else "an empty"
        raise DataError(f"{name} has {lack} {path}; run `dvc repro` there and commit the results")
    return tree


def read_tables(name: str) -> dict[str, pd.DataFrame]:
    """Returns the tables of TABLES that a run has, by name. Raises DataError if one cannot be read."""
    revision = None if name == WORKSPACE else name
    contents = {table: read_content(Path(f"metrics/{table}.csv"), revision) for table in TABLES}
    try:
        return {table: pd.read_csv(io.BytesIO(content)) for table, content in contents.items() if content}
    except ValueError as error:
        raise DataError(
            f"{name} has a table in metrics/ that cannot be read ({error}); run `dvc repro` there"
        ) from None


def _code(lock: Mapping[str, object]) -> str:
    """Returns a digest of the code that dvc.lock records for the stages that make the metrics."""
    inputs = (path for name in STAGES for path in _digests(lock, name, "deps").items())
    recorded = {f"{path} {digest}" for path, digest in inputs if path.startswith(("quadrature/", "stages/"))}
    return hashlib.sha256("\n".join(sorted(recorded)).encode()).hexdigest()[:7]


def _changes(params: Mapping[str, object], lock: Mapping[str, object]) -> Iterator[str]:
    """Yields each parameter and file that is not as a stage read it: `dvc repro` was not run since, or not to its end.

    The metrics are then those of other parameters.
    """
    made = {path: digest for name in STAGES for path, digest in _digests(lock, name, "outs").items()}
    for name in STAGES:
        recorded = _part(lock, "stages", name, "params", "params.yaml")
        for section, value in recorded.items() if isinstance(recorded, Mapping) else ():
            now, then = (flatten({section: each}) for each in (_part(params, *str(section).split(".")), value))
            yield from (f"{key} changed since" for key in {**then, **now} if then.get(key) != now.get(key))
        for path, digest in _digests(lock, name, "deps").items():
            if made.get(path, digest) != digest:
                yield f"{name} read another {path}"


def _digests(lock: Mapping[str, object], stage: str, kind: str) -> dict[str, str]:
    """Returns the recorded digests of a stage's inputs (`deps`) or outputs (`outs`) by path."""
    entries = _part(lock, "stages", stage, kind)
    found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {str(entry.get("path")): str(entry.get("md5")) for entry in found}


def _part(tree: object, *names: str) -> object:
    """Returns the value at a path of names, None if there is none."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree
