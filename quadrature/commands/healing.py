"""Mends what DVC cannot read after a kill: it rewrites dvc.lock and .dvc/tmp/rwlock in place, so a kill can tear them.

Records of its run cache it writes beside and moves; but what a kill has left there it takes for the newest record.

A torn record of what ran costs no result: the outputs lie in DVC's cache, and its run cache finds them by code,
parameters and inputs. So the record of the last commit serves as well, and what was torn is kept beside for whoever
wants to see it. What DVC can read is left alone, but for a list of none but dead processes, and so is what a running
DVC may be about to write.
"""

import json
import os
import shutil
import subprocess
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
