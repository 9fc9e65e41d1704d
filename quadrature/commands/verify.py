"""`python -m quadrature verify`: checks that dvc.lock belongs to this code and these parameters, without any data.

It uses DVC's own objects, so a stage is fresh here if `dvc repro` would not run it. It needs neither data nor cache:
the recorded digest of an input that another stage makes is compared with the one recorded as that stage's output.
`dvc status` compares the data itself with its record.
"""

import argparse
import functools
import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from dvc.dependency import Dependency, ParamsDependency  # type: ignore[import-untyped]
from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.output import Output  # type: ignore[import-untyped]
from dvc.stage import PipelineStage  # type: ignore[import-untyped]
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from quadrature.experiments.git import git
from quadrature.experiments.project import opened
from quadrature.runtime.errors import DataError, QuadratureError, conflict_in


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """Declares no argument; the command takes none."""


def main(_arguments: argparse.Namespace) -> None:
    """Raises QuadratureError with a line for each reason why a stage is stale."""
    stages = find_stale()
    lines = [f"{stage}: {reason}" for stage, reasons in stages.items() for reason in reasons]
    if lines:
        raise QuadratureError(*lines, "dvc.lock is stale: run `make repro`, then commit dvc.lock and metrics/")
    logging.info("dvc.lock is fresh: its %d stages belong to this code, these parameters and commands", len(stages))


def find_stale() -> dict[str, list[str]]:
    """Returns the reasons why each stage of the project in the working directory is stale, by stage; none if fresh.

    Writes nothing outside .dvc/tmp, where DVC keeps its own files. Raises DataError if DVC cannot read its files,
    GitError if git or DVC's database cannot answer.
    """
    try:
        with opened() as repo:
            stages = repo.index.stages
            makers = {out.fs_path: out for stage in stages for out in stage.outs}
            files = {stage.path: stage.dvcfile for stage in stages}
            recorded = {path: {*file.stages.lockfile_data} for path, file in files.items()}  # reads both files
            return {
                stage.addressing: list(_reasons(stage, makers))
                if stage.name in recorded[stage.path]
                else ["dvc.lock has no record of it"]
                for stage in stages
            }
    except DvcException as error:
        for path in map(Path, ("dvc.lock", "dvc.yaml", "params.yaml")):
            if path.is_file() and (advice := conflict_in(path.read_bytes())):
                raise DataError(f"{path} {advice}") from None
        advice = " (`git restore dvc.lock` brings back a damaged dvc.lock)" if "dvc.lock" in str(error) else ""
        raise DataError(f"DVC stops: {error}{advice}") from None


def _reasons(stage: PipelineStage, makers: Mapping[str, Output]) -> Iterator[str]:
    if stage.cmd_changed:
        yield "its command has changed"
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency):
            yield from _changed_parameters(dependency)
        else:
            yield from _changed_input(dependency, makers.get(dependency.fs_path))
    for out in stage.outs:
        if not out.hash_info:
            yield f"{out} is not among the recorded outputs"
        elif not out.use_cache and out.workspace_status():
            yield from _changed(out)


def _changed_input(dependency: Dependency, made: Output | None) -> Iterator[str]:
    """Yields a line if an input has changed. `made` is the output of a stage that is the same file, if any."""
    if not dependency.hash_info:
        yield f"{dependency} is not among the recorded inputs"
    elif made and made.hash_info and made.hash_info != dependency.hash_info:
        yield f"{dependency} is not recorded as the file that {made.stage.addressing} made"
    elif not (made and made.use_cache) and dependency.workspace_status():
        yield from _changed(dependency)


def _changed(entry: Output) -> Iterator[str]:
    """Yields a line for a file that is missing or has changed, and a line for each such file in a folder of code."""
    if not entry.exists:
        yield f"{entry} is missing"
        return
    before = _recorded_files(entry)
    if not before:
        yield f"{entry} has changed"
        return
    now = _files(entry)
    for name in sorted({*before, *now}):
        if name not in now:
            yield f"{entry}/{name} is missing"
        elif name not in before:
            yield f"{entry}/{name} is not among the recorded files"
        elif now[name] != before[name]:
            yield f"{entry}/{name} has changed"


REVISIONS = 50
"""Commits of a folder to search for its recorded files, because dvc.lock holds a single digest of the folder."""


def _recorded_files(entry: Output) -> dict[str, str]:
    """Returns the MD5 of each file of a recorded folder, from the newest commit with its digest, if any."""
    path, root = Path(entry.fs_path), entry.repo.root_dir
    if not entry.hash_info.isdir or not path.is_relative_to(root) or entry.repo.config["core"].get("no_scm"):
        return {}
    folder = path.relative_to(root).as_posix()
    head = git("-C", root, "rev-parse", "--verify", "--quiet", "HEAD", allowed=(0, 1)).decode().split()
    newest = f"--max-count={REVISIONS}"
    commits = git("-C", root, "rev-list", "--first-parent", newest, *head, "--", folder) if head else b""
    for commit in commits.decode().split():
        files = _committed_files(commit, folder, root)
        tree = Tree()  # type: ignore[no-untyped-call]
        for name, digest in files.items():
            tree.add(tuple(name.split("/")), None, HashInfo("md5", digest))
        tree.digest()
        if tree.hash_info == entry.hash_info:
            return files
    return {}


def _committed_files(commit: str, folder: str, root: str) -> dict[str, str]:
    """Returns the MD5 of each file of a folder at a commit."""
    entries = git("-C", root, "ls-tree", "-r", "-z", commit, "--", f"{folder}/").decode(errors="surrogateescape")
    parts = [entry.partition("\t") for entry in entries.split("\0") if entry]
    return {name.removeprefix(f"{folder}/"): _md5_of_blob(mode.split()[2], root) for mode, _, name in parts}


@functools.cache
def _md5_of_blob(blob: str, root: str) -> str:
    return _md5(git("-C", root, "cat-file", "blob", blob))


def _files(entry: Output) -> dict[str, str]:
    """Returns the MD5 of each file of a folder in the working tree that DVC does not ignore."""
    paths = map(Path, entry.repo.dvcignore.find(entry.fs, entry.fs_path))
    return {path.relative_to(entry.fs_path).as_posix(): _md5(path.read_bytes()) for path in paths}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _changed_parameters(dependency: ParamsDependency) -> Iterator[str]:
    if not dependency.exists:
        yield f"{dependency} is missing"
    elif dependency.status():
        yield from _differences(dependency.read_params(), dependency.hash_info.value or {})


_ABSENT = object()


def _differences(now: object, then: object, name: str = "") -> Iterator[str]:
    """Yields a line for each value that differs between two trees of parameters."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        for key in [*now, *(key for key in then if key not in now)]:
            below = f"{name}.{key}" if name else str(key)
            yield from _differences(now.get(key, _ABSENT), then.get(key, _ABSENT), below)
    elif now != then:
        values = ["absent" if value is _ABSENT else repr(value) for value in (now, then)]
        yield f"{name} is {values[0]} and was {values[1]}"
