"""Opens the DVC project in the working directory, and says why if what is below DVC fails: git, or DVC's database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from diskcache import Timeout  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]
from dvc.scm import SCMError  # type: ignore[import-untyped]
from dvc_data.hashfile.cache import DiskError
from pygit2 import GitError as LibraryError

from quadrature.experiments.git import git
from quadrature.runtime.errors import GitError


@contextmanager
def opened() -> Iterator[Repo]:
    """Opens the project. Raises GitError if git or DVC's database cannot answer; DVC's own errors pass through."""
    try:
        with Repo() as repo:
            yield repo
    except (SCMError, LibraryError, ValueError):  # ValueError: a malformed .git/config
        git("rev-parse", "--git-dir")  # raises git's reason, if git is the cause
        raise
    except (sqlite3.Error, DiskError, Timeout) as error:
        raise GitError(
            f"DVC's database of files does not answer ({error}); end other DVC processes of this project, then run "
            "`python -m quadrature heal`"
        ) from None
