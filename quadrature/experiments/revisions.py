"""Reads files and metrics of the working tree, or of a revision: a branch, a tag, a commit or an experiment.

Files are read through DVC, because git does not know experiments by name.
"""

import functools
import json
from pathlib import Path

import dvc.api  # type: ignore[import-untyped]
from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.scm import SCM, SCMError  # type: ignore[import-untyped]
from scmrepo.exceptions import SCMError as GitError

from quadrature.runtime.errors import DataError, ParameterError, conflict_in


def read_text(path: Path, revision: str | None = None) -> str | None:
    """Returns the text of a file in the working tree or at a revision, None if there is no such file.

    Raises ParameterError if there is no such revision, DataError if the file cannot be read.
    """
    try:
        if revision is not None:
            return _read_at(path, revision)
        return path.read_text(encoding="utf-8") if path.exists() else None
    except ValueError:
        raise DataError(f"{_where(path, revision)} is not UTF-8 text; run `dvc repro` to make it again") from None


def metrics_of(path: Path, revision: str | None = None) -> dict[str, object] | None:
    """Returns the metrics in a JSON file of the working tree or of a revision, None if there is no such file.

    Null and NaN are kept; `dvc metrics` drops them. Raises the errors of read_text, and DataError if the file is not a
    JSON object.
    """
    text = read_text(path, revision)
    if text is None:
        return None
    try:
        metrics = json.loads(text)
    except ValueError:
        advice = conflict_in(text.encode()) or "is not valid JSON; run `dvc repro` to make it again"
        raise DataError(f"{_where(path, revision)} {advice}") from None
    if not isinstance(metrics, dict):
        raise DataError(f"{_where(path, revision)} is not a JSON object; run `dvc repro` to make it again")
    return metrics


def _where(path: Path, revision: str | None) -> str:
    return str(path) if revision is None else f"{path} at {revision}"


def _read_at(path: Path, revision: str) -> str | None:
    try:
        if not revision:  # DVC would read the working tree
            raise SCMError("it is empty")
        if ":" in revision:  # git would read it as a file's content, DVC as a commit
            raise SCMError("it names a file")
        text: str = _files_at(revision).read_text(f"/{_folder_in_git()}{path.as_posix()}", encoding="utf-8")
    except FileNotFoundError:
        return None
    except (SCMError, GitError) as error:
        raise ParameterError(
            f"there is no revision '{revision}' here ({error}); name a branch, tag, commit or experiment, "
            "and fetch it first if the clone is shallow"
        ) from None
    except DvcException as error:
        raise DataError(f"{path} at {revision} cannot be read: {error}") from None
    return text


def _folder_in_git() -> str:
    """Returns the working directory's path below the repository's root, with a slash at its end; empty at the root."""
    root = Path(SCM(".", search_parent_directories=True).root_dir)
    below = Path.cwd().resolve().relative_to(root.resolve()).as_posix()
    return "" if below == "." else f"{below}/"


@functools.cache
def _files_at(revision: str) -> dvc.api.DVCFileSystem:
    """Returns the file system of a revision. It is opened once for all files of the revision."""
    return dvc.api.DVCFileSystem(rev=revision)
