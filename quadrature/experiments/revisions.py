"""Reads files of the working tree, or of a revision: a branch, a tag, a commit or an experiment.

A revision's files are read with git, which keeps everything that runs are compared by: DVC and its cache are not
needed. All of a revision's files are those of one commit, even if the branch moves meanwhile.
"""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path

from quadrature.experiments.git import git
from quadrature.runtime.errors import DataError, GitError, ParameterError, conflict_in
from quadrature.runtime.settings import MAX_DEPTH, parse_content

MAX_FILE_BYTES = 2**24
"""Largest accepted file; the longest are tables of learning curves."""

MAX_SETTINGS_BYTES = 2**20
"""Largest accepted file of metrics or settings; dvc.lock has 11 KB."""

_EXPERIMENT = re.compile("refs/exps/([0-9a-f]{2})/([0-9a-f]{38,})/(.+)")
"""DVC's reference to a finished experiment: the commit at which it began, and its name."""


def read_content(path: Path, revision: str | None = None) -> bytes | None:
    """Returns the content of a file in the working tree or at a revision, None if there is no such file.

    Raises ParameterError if there is no such revision, DataError if the file is too large or no regular file, GitError
    if git cannot answer.
    """
    content = _read_here(path) if revision is None else _read_at(path, revision)
    if content is not None and len(content) > MAX_FILE_BYTES:
        raise DataError(f"{_place(path, revision)} holds more than {MAX_FILE_BYTES:,} bytes; is it the right file?")
    return content


def metrics_of(path: Path, revision: str | None = None) -> dict[str, object] | None:
    """Returns the metrics in a JSON file of the working tree or of a revision, None if there is no such file.

    Null and NaN are kept; `dvc metrics` drops them. Raises the errors of read_content, and DataError if the file is not
    a JSON object.
    """
    content = read_content(path, revision)
    return None if content is None else _parse_json(content, _place(path, revision))


def settings_of(path: Path, revision: str | None = None) -> dict[str, object] | None:
    """Returns the settings in a YAML file of the working tree or of a revision, None if there is no such file.

    They are read as strictly as a stage reads params.yaml. Raises the errors of read_content, and DataError.
    """
    content = read_content(path, revision)
    if content is None:
        return None
    where = _place(path, revision)
    try:
        tree, duplicates = parse_content(content, where, MAX_SETTINGS_BYTES)
    except ParameterError as error:
        raise DataError(f"{where} {conflict}" if (conflict := conflict_in(content)) else str(error)) from None
    if duplicates:
        raise DataError(duplicates[0].text)
    return {str(key): value for key, value in tree.items()}


def _place(path: Path, revision: str | None) -> str:
    """Returns a file's name in messages."""
    return str(path) if revision is None else f"{path} at {revision}"


def _parse_json(content: bytes, where: str) -> dict[str, object]:
    if len(content) > MAX_SETTINGS_BYTES:
        raise DataError(f"{where} holds more than {MAX_SETTINGS_BYTES:,} bytes; is it the right file?")
    try:
        tree = json.loads(content.decode())
    except UnicodeDecodeError:
        raise DataError(f"{where} is not UTF-8 text; run `dvc repro` to make it again") from None
    except RecursionError:
        raise DataError(f"{where} is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        advice = conflict_in(content) or f"is not valid JSON ({error}); run `dvc repro` to make it again"
        raise DataError(f"{where} {advice}") from None
    if not isinstance(tree, dict):
        raise DataError(f"{where} is not a JSON object; run `dvc repro` to make it again")
    if _is_deeper(tree, MAX_DEPTH):
        raise DataError(f"{where} is nested more than {MAX_DEPTH} levels deep")
    return tree


def _is_deeper(tree: object, levels: int) -> bool:
    below = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else None
    return below is not None and (levels == 0 or any(_is_deeper(each, levels - 1) for each in below))


def _read_here(path: Path) -> bytes | None:
    if not path.exists():
        return None
    if not path.is_file():
        raise DataError(f"{path} is not a file")
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _read_at(path: Path, revision: str) -> bytes | None:
    commit = commit_of(revision)
    entry = git("ls-tree", "-z", "--long", commit, "--", f"./{path}")
    if not entry:
        return None
    _, kind, name, size = entry.partition(b"\t")[0].split()
    if kind != b"blob":
        raise DataError(f"{_place(path, revision)} is not a file")
    if size.isdigit() and int(size) > MAX_FILE_BYTES:
        raise DataError(f"{_place(path, revision)} holds {int(size):,} bytes; is it the right file?")
    return git("cat-file", "blob", name.decode())


def commit_of(revision: str) -> str:
    """Returns the commit that a revision names, always the same within a process.

    As in DVC, a name may also be that of a remote's branch or of an experiment; of several experiments of the name, the
    one that began at the current commit. Raises ParameterError if there is no such revision or several.
    """
    return _commit_of(revision, Path.cwd())


@functools.cache
def _commit_of(revision: str, _folder: Path) -> str:
    if not revision or ":" in revision or revision.startswith(("-", "^")):
        raise _no_revision(revision, "it is not a name" if revision else "it is empty")
    if commit := _resolve(f"{revision}^{{commit}}"):
        return commit
    named = _resolve(revision)
    if named and named != revision:
        raise GitError(f"git refuses: it has no commit {named}, which {revision} names; `git fsck` says more")
    branches = {ref: commit for ref, commit in _references("refs/remotes") if ref.split("/", 3)[-1] == revision}
    if len({*branches.values()}) == 1:
        return next(iter(branches.values()))
    found = {ref: (begun, commit) for ref, begun, name, commit in experiments() if name == revision}
    here = [commit for begun, commit in found.values() if len(found) == 1 or begun == _resolve("HEAD")]
    if here and not branches:
        return here[0]
    if several := [*branches, *found]:
        raise ParameterError(f"'{revision}' names several revisions; write one in full: {', '.join(several)}")
    raise _no_revision(revision, "git and DVC know no such name")


def _resolve(name: str) -> str:
    """Returns the object of a name in git, empty if there is none."""
    return git("rev-parse", "--verify", "--quiet", name, allowed=(0, 1)).decode().strip()


def experiments() -> list[tuple[str, str, str, str]]:
    """Returns each finished experiment: its reference, the commit at which it began, its name, and its own commit.

    DVC writes the reference when everything else is in git: a running queue is never seen half done.
    """
    matches = [(_EXPERIMENT.fullmatch(ref), commit) for ref, commit in _references("refs/exps")]
    return [(match[0], match[1] + match[2], match[3], commit) for match, commit in matches if match]


def _references(prefix: str) -> list[tuple[str, str]]:
    lines = git("for-each-ref", "--format=%(refname) %(objectname)", prefix).decode(errors="surrogateescape")
    return [(ref, commit) for ref, _, commit in (line.rpartition(" ") for line in lines.splitlines())]


def _no_revision(revision: str, reason: str) -> ParameterError:
    return ParameterError(
        f"there is no revision '{revision}' here ({reason}); name a branch, tag, commit or experiment, "
        "and fetch it first if the clone is shallow"
    )
