"""`python -m quadrature heal`: fixes what a killed DVC left torn, so that `dvc repro` runs again.

DVC rewrites dvc.lock and .dvc/tmp/rwlock in place, so a kill can tear them. It writes the records of its run cache
beside their place and moves them; a part that a kill left there it takes for the newest record.

A torn record costs no result: the outputs are in DVC's cache, and its run cache finds them by code, parameters and
inputs. So the record of the last commit serves as well; the torn file is kept beside it. What DVC can read is left
alone, except a list of only dead processes, and so is what a running DVC may be about to write.
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

from quadrature.runtime.errors import QuadratureError
from quadrature.storage.files import write_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what can be chosen."""
    parser.add_argument("--quiet", action="store_true", help="say nothing where there is nothing to fix")


def main(arguments: argparse.Namespace) -> None:
    """Says what was mended; fails where nothing was, so that a script knows whether to try again."""
    mended = heal()
    for line in mended:
        logging.info("%s", line)
    if not mended and not arguments.quiet:
        logging.info("nothing to fix: DVC can read dvc.lock, .dvc/tmp/rwlock and its run cache")
    if not mended:
        sys.exit(1)


LOCKFILE = Path("dvc.lock")


DVC_STATE = Path(".dvc/tmp")


def heal() -> list[str]:
    """Mends what is torn in the project of the working directory; returns a line for each file mended.

    Raises QuadratureError where there is no project, or another DVC is running, which may be writing just then.
    """
    if not DVC_STATE.parent.is_dir():
        raise QuadratureError(f"there is no {DVC_STATE.parent} here; run from the project's root")
    DVC_STATE.mkdir(exist_ok=True)
    try:
        with make_lock(str(DVC_STATE / "lock")), make_lock(str(DVC_STATE / rwlock.RWLOCK_LOCK)):
            runs = Path(Repo().stage_cache.cache_dir)
            return [*_heal_rwlock(DVC_STATE / rwlock.RWLOCK_FILE), *_heal_lockfile(), *_heal_run_cache(runs)]
    except LockError:
        raise QuadratureError("another DVC is at work here; wait until it is done") from None
    except DvcException as error:
        raise QuadratureError(f"DVC cannot open this project: {error}") from None


def _heal_rwlock(path: Path) -> Iterator[str]:
    """Removes a list of who reads and writes what that is no list, or names none but the dead."""
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
        yield f"{path} named none but killed processes; removed"


def _is_alive(pid: int) -> bool:
    """Whether a process can still do something. DVC takes one for alive that was killed and that no init collects."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _heal_lockfile() -> Iterator[str]:
    """Puts the last commit's dvc.lock in the place of one that DVC cannot read; a merge conflict is not a tear."""
    if not LOCKFILE.exists() or b"<<<<<<< " in LOCKFILE.read_bytes():
        return
    if _is_torn(LOCKFILE):
        copy = _free_name(DVC_STATE / "dvc.lock.torn")
        shutil.copyfile(LOCKFILE, copy)
        command = ("git", "show", f"HEAD:./{LOCKFILE}")
        committed = subprocess.run(command, capture_output=True, check=False)  # noqa: S603, nothing of it is input
        if committed.returncode == 0:
            write_bytes(LOCKFILE, committed.stdout)
            yield f"{LOCKFILE} was torn; it is the last commit's again, and what was there is kept in {copy}"
        else:
            LOCKFILE.unlink()
            yield f"{LOCKFILE} was torn and no commit has it; removed, and what was there is kept in {copy}"


def _is_torn(lockfile: Path) -> bool:
    """Whether DVC cannot have meant what is there. Cut after the `md` of md5, it passes the schema and fails later."""
    if not lockfile.read_bytes().endswith(b"\n"):
        return True
    try:
        strictyaml.load(str(lockfile), COMPILED_LOCKFILE_SCHEMA)
    except (DvcException, UnicodeDecodeError):
        return True
    return False


def _heal_run_cache(runs: Path) -> Iterator[str]:
    """Removes half-written records of runs: one that ends before its outputs would stop DVC, and name no file."""
    for path in runs.glob("*/*/.*.tmp"):
        path.unlink(missing_ok=True)
        yield f"{os.path.relpath(path)} was half written; removed"


def _free_name(path: Path) -> Path:
    number = 0
    free = path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
