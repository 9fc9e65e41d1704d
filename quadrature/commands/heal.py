"""`python -m quadrature heal`: fixes files that a killed DVC left torn, so that `dvc repro` runs again.

DVC rewrites dvc.lock, .dvc/tmp/rwlock and .dvc/tmp/exps/rwlock in place, so a kill can tear them. DVC writes a record
of its run cache to a temporary file and renames it; after a kill, DVC takes the half-written temporary file for the
newest record. Experiments that were killed in DVC's queue are queued again.

DVC also saves a list of the files that it pushes or pulls, output by output. After a kill it takes an incomplete list
for the whole: `dvc push` says `Everything is up to date` where files are missing. Nothing shows whether a list is
complete, so all of them are dropped, in any case. DVC makes a list again in a second.

A torn dvc.lock costs no result: the outputs are in DVC's cache, and its run cache finds them by code, parameters and
inputs. The dvc.lock of the last commit is therefore enough; a copy of the torn file is kept in .dvc/tmp. Files that DVC
can read are not touched, except an rwlock that names only dead processes. Nothing is touched while DVC is running.
"""

import argparse
import logging
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile

from dvc import rwlock  # type: ignore[import-untyped]
from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.fs import localfs  # type: ignore[import-untyped]
from dvc.lock import LockError, make_lock  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]
from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # type: ignore[import-untyped]
from dvc.utils import strictyaml  # type: ignore[import-untyped]

from quadrature.experiments.abandoned import EXPERIMENTS, advise, is_running, read_rwlock, requeue
from quadrature.experiments.git import git
from quadrature.experiments.project import opened
from quadrature.runtime.errors import GitError, QuadratureError, conflict_in
from quadrature.runtime.system_errors import naming
from quadrature.storage.files import write_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--quiet", action="store_true", help="print nothing if there is nothing to fix")


def main(arguments: argparse.Namespace) -> None:
    """Logs each fixed file, and each command that the user should run.

    Exits with 75 if there is such a command, as the files may not be the user's, else with 1 if nothing was fixed.
    """
    advice = [*advise()]
    fixed = heal()
    for line in (*fixed, *advice):
        logging.info("%s", line)
    if advice:
        sys.exit(os.EX_TEMPFAIL)
    if not fixed:
        if not arguments.quiet:
            logging.info("nothing to fix: DVC can read dvc.lock, .dvc/tmp/rwlock and its run cache")
        sys.exit(1)


class BusyError(QuadratureError):
    """Another process is using DVC's files."""

    exit_code = 75


LOCKFILE = Path("dvc.lock")
DVC_STATE = Path(".dvc/tmp")
RENAME_SECONDS = 2.0


def heal() -> list[str]:
    """Fixes torn files of the project in the working directory. Returns a line for each of them.

    Raises QuadratureError if there is no project, or if DVC is running and may be writing these files.
    """
    if not DVC_STATE.parent.is_dir():
        raise QuadratureError(f"there is no {DVC_STATE.parent} here; run from the project's root")
    DVC_STATE.mkdir(exist_ok=True)
    folders = [*filter(Path.is_dir, (DVC_STATE, EXPERIMENTS))]  # each with a list of who reads and writes: rwlock
    try:
        with ExitStack() as locks:
            for path in (DVC_STATE / "lock", *(folder / rwlock.RWLOCK_LOCK for folder in folders)):
                locks.enter_context(make_lock(str(path)))
            folder = Path(_Closed().site_cache_dir)
            _check_room(folder)
            databases = [*_heal_databases(folder)]  # before DVC opens them
            repo = locks.enter_context(opened())
            repo.drop_data_index()  # its lists for push and pull
            return [
                *databases,
                *chain(*(_heal_rwlock(folder / rwlock.RWLOCK_FILE) for folder in folders)),
                *_heal_lockfile(),
                *_heal_run_cache(Path(repo.stage_cache.cache_dir)),
                *requeue(repo),
            ]
    except LockError:
        raise BusyError("another DVC is at work here; wait until it ends") from None
    except DvcException as error:
        raise QuadratureError(f"DVC cannot open this project: {error}") from None


class _Closed(Repo):  # type: ignore[misc]
    """A project whose state databases are not opened."""

    def __init__(self) -> None:
        self._fs, self._config, self._remote, self._remote_config = localfs, None, None, None
        self.root_dir, self.dvc_dir = self._get_repo_dirs()


def _check_room(folder: Path) -> None:
    """Raises OSError if a folder's disk has no megabyte left: DVC waits without end where its databases cannot grow."""
    folder.mkdir(parents=True, exist_ok=True)
    with naming(folder), TemporaryFile(dir=folder) as file:
        file.write(bytes(2**20))


def _heal_databases(folder: Path) -> Iterator[str]:
    """Deletes SQLite files in which DVC remembers digests and links, if they are damaged: DVC computes them again.

    Raises BusyError if another process holds one, OSError if the system does not open it.
    """
    for path in folder.rglob("*.db"):
        try:
            with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")  # as DVC does, which waits for its turn without end
                found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise OSError(f"DVC's database {path} cannot be used: {error}") from None
            raise BusyError(f"another process holds DVC's database {path}; wait until it ends, or end it") from None
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            for file in path.parent.glob(f"{path.name}*"):  # with its journals
                file.unlink()
            yield f"DVC's database {path} was damaged; removed, DVC makes it again"


def _heal_rwlock(path: Path) -> Iterator[str]:
    """Deletes rwlock if it is unreadable or names only processes that have ended."""
    if not path.exists():
        return
    lists = read_rwlock(path)
    if lists is None:
        path.unlink()
        yield f"{path} was torn; removed"
        return
    written = path.stat().st_mtime
    entries = [*lists["write"].values(), *chain(*lists["read"].values())]
    if entries and not any(is_running(each["pid"], each["cmd"], written) for each in entries):
        path.unlink()
        yield f"{path} named only dead processes; removed"


def _heal_lockfile() -> Iterator[str]:
    """Restores dvc.lock from the last commit if DVC cannot read it. Raises QuadratureError for a merge conflict."""
    if not LOCKFILE.exists():
        return
    if advice := conflict_in(LOCKFILE.read_bytes()):
        raise QuadratureError(f"{LOCKFILE} {advice}")
    if _is_torn(LOCKFILE):
        committed = _read_committed(LOCKFILE)
        copy = _free_name(DVC_STATE / "dvc.lock.torn")
        shutil.copyfile(LOCKFILE, copy)
        if committed is not None:
            write_bytes(LOCKFILE, committed)
            yield f"{LOCKFILE} was torn; restored from the last commit, and the torn file is kept in {copy}"
        else:
            LOCKFILE.unlink()
            yield f"{LOCKFILE} was torn and is in no commit; removed, and the torn file is kept in {copy}"


def _read_committed(path: Path) -> bytes | None:
    """Returns a file of the last commit; None if there is no commit, or the commit lacks the file. Raises GitError."""
    try:
        if git("rev-parse", "--quiet", "--verify", "HEAD", allowed=(0, 1)) and git("ls-tree", "HEAD", "--", str(path)):
            return git("show", f"HEAD:./{path}")
    except GitError as error:
        raise GitError(f"{error}; {path} is torn and stays as it is: repair git first") from None
    return None


def _is_torn(lockfile: Path) -> bool:
    """Whether a kill cut the file. Cut after the `md` of md5, it passes the schema, but its last line has no end."""
    if not lockfile.read_bytes().endswith(b"\n"):
        return True
    try:
        strictyaml.load(str(lockfile), COMPILED_LOCKFILE_SCHEMA)
    except (DvcException, UnicodeDecodeError):
        return True
    return False


def _heal_run_cache(runs: Path) -> Iterator[str]:
    """Deletes half-written records of runs, and folders without a record. Both stop DVC, which does not name the file.

    DVC renames a record milliseconds after it has made its folder. An experiment, or a project with the same cache, may
    be about to: only those that remain are deleted.
    """
    found = [*runs.glob("*/*/.*.tmp")]
    empty = [path for path in runs.glob("*/*") if path.is_dir() and not any(path.iterdir())]
    if found or empty:
        time.sleep(RENAME_SECONDS)
    for path in filter(Path.exists, found):
        path.unlink(missing_ok=True)
        yield f"{os.path.relpath(path)} was half written; removed"
        _remove_empty(path.parent)
    for path in filter(_remove_empty, empty):
        yield f"{os.path.relpath(path)} was empty; removed"


def _remove_empty(folder: Path) -> bool:
    """Deletes a folder; returns False, and leaves it, if it has content."""
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _free_name(path: Path) -> Path:
    """Returns the path, with a number after it if it exists."""
    number = 0
    free = path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
