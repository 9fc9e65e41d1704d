"""`python -m quadrature heal`: fixes files that a killed DVC left torn, so that `dvc repro` runs again.

DVC rewrites dvc.lock and .dvc/tmp/rwlock in place, so a kill can tear them. DVC writes a record of its run cache to a
temporary file and renames it; after a kill, DVC takes the half-written temporary file for the newest record.

DVC also saves a list of the files that it pushes or pulls, output by output. After a kill it takes an incomplete list
for the whole: `dvc push` says `Everything is up to date` where files are missing. Nothing shows whether a list is
complete, so all of them are dropped, in any case. DVC makes a list again in a second.

A torn dvc.lock costs no result: the outputs are in DVC's cache, and its run cache finds them by code, parameters and
inputs. The dvc.lock of the last commit is therefore enough; a copy of the torn file is kept in .dvc/tmp. Files that DVC
can read are not touched, except an rwlock that names only dead processes. Nothing is touched while DVC is running.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psutil
from dvc import rwlock  # type: ignore[import-untyped]
from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.lock import LockError, make_lock  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]
from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # type: ignore[import-untyped]
from dvc.utils import strictyaml  # type: ignore[import-untyped]

from quadrature.runtime.errors import QuadratureError, conflict_in
from quadrature.storage.files import write_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--quiet", action="store_true", help="print nothing if there is nothing to fix")


def main(arguments: argparse.Namespace) -> None:
    """Logs each fixed file. Exits with 1 if there was none, so that a script knows whether to try again."""
    fixed = heal()
    for line in fixed:
        logging.info("%s", line)
    if not fixed and not arguments.quiet:
        logging.info("nothing to fix: DVC can read dvc.lock, .dvc/tmp/rwlock and its run cache")
    if not fixed:
        sys.exit(1)


class GitError(QuadratureError):
    """Git cannot answer, so nothing is known of what it holds."""

    exit_code = 69


LOCKFILE = Path("dvc.lock")
DVC_STATE = Path(".dvc/tmp")


def heal() -> list[str]:
    """Fixes torn files of the project in the working directory. Returns a line for each of them.

    Raises QuadratureError if there is no project, or if DVC is running and may be writing these files.
    """
    if not DVC_STATE.parent.is_dir():
        raise QuadratureError(f"there is no {DVC_STATE.parent} here; run from the project's root")
    DVC_STATE.mkdir(exist_ok=True)
    try:
        with make_lock(str(DVC_STATE / "lock")), make_lock(str(DVC_STATE / rwlock.RWLOCK_LOCK)):
            repo = Repo()
            runs = Path(repo.stage_cache.cache_dir)
            fixed = [*_heal_rwlock(DVC_STATE / rwlock.RWLOCK_FILE), *_heal_lockfile(), *_heal_run_cache(runs)]
            repo.drop_data_index()  # its lists for push and pull
            return fixed
    except LockError:
        raise QuadratureError("another DVC is at work here; wait until it ends") from None
    except DvcException as error:
        raise QuadratureError(f"DVC cannot open this project: {error}") from None


def _heal_rwlock(path: Path) -> Iterator[str]:
    """Deletes rwlock if it is unreadable or names only dead processes."""
    if not path.exists():
        return
    try:
        lists = rwlock.SCHEMA(json.loads(path.read_bytes()))
    except (ValueError, rwlock.Invalid):
        path.unlink()
        yield f"{path} was torn; removed"
        return
    pids = [entry["pid"] for entry in [*lists["write"].values(), *chain(*lists["read"].values())]]
    if pids and not any(map(_is_alive, pids)):
        path.unlink()
        yield f"{path} named only dead processes; removed"


def _is_alive(pid: int) -> bool:
    """Whether a process runs and is not a zombie: killed, but not waited for. DVC counts a zombie as alive."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


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
    if _git("rev-parse", "--quiet", "--verify", "HEAD", allowed=(0, 1)) and _git("ls-tree", "HEAD", "--", str(path)):
        return _git("show", f"HEAD:./{path}")
    return None


def _git(*arguments: str, allowed: tuple[int, ...] = (0,)) -> bytes:
    """Returns git's output. Raises GitError if git ends with another exit code than those allowed."""
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)  # noqa: S603, S607, no part is input
    if done.returncode not in allowed:
        reason = next(iter(done.stderr.decode(errors="replace").splitlines()), f"exit code {done.returncode}")
        raise GitError(f"git refuses: {reason}; {LOCKFILE} is torn and stays as it is: repair git first")
    return done.stdout


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
    """Deletes half-written records of runs. A record cut before its outputs stops DVC, which does not name the file."""
    for path in runs.glob("*/*/.*.tmp"):
        path.unlink(missing_ok=True)
        yield f"{os.path.relpath(path)} was half written; removed"


def _free_name(path: Path) -> Path:
    """Returns the path, with a number after it if it exists."""
    number = 0
    free = path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
