"""What a killed `dvc exp run` or queue leaves: tasks that nobody runs, edits in git's stash, a detached HEAD.

DVC runs queued experiments in workers of their own. It prepares every experiment in the working tree: it moves the
user's edits to git's stash, detaches HEAD, sets the experiment's parameters, and then puts everything back.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from dvc import rwlock  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]
from dvc.repo.experiments.refs import EXEC_BASELINE, WORKSPACE_STASH  # type: ignore[import-untyped]

from quadrature.experiments.git import git
from quadrature.runtime.errors import GitError

EXPERIMENTS = Path(".dvc/tmp/exps")
ARGUMENTS = ".dvc/tmp/repro.dat"  # of an experiment's `dvc repro`
KILLED = "a killed `dvc exp run` left"


def is_running(pid: int, command: str, written: float) -> bool:
    """Whether a process that a file names still runs. `written` is the time of the file, in seconds.

    A later process may have the same number, most often in a container that was started again. It began after the file
    was written, or has another command if someone else wrote the file since. DVC counts it as alive, and a zombie too:
    killed, but not waited for.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        arguments = command.partition(" ")[2]  # without the program, whose path is written in several ways
        return bool(arguments in " ".join(process.cmdline()) and process.create_time() <= written + 1)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it runs, as another user
        return True


def requeue(repo: Repo) -> Iterator[str]:
    """Puts queued experiments whose worker was killed back into the queue. Does nothing while a worker is running."""
    if not (EXPERIMENTS / "celery").is_dir():
        return
    workers = (EXPERIMENTS / "celery").glob("dvc-exp-worker-*.json")
    if any(map(_names_running, workers)):
        return
    for path in (EXPERIMENTS / "celery/broker").glob("*/*.celery.msg"):
        if not _read(path):
            path.unlink()
            yield f"{path} was torn; removed: queue its experiment again"
    queue = repo.experiments.celery_queue
    waiting = queue.stash.stash_revs
    active = {entry.stash_rev for entry in queue.iter_active()}
    for message, entry in queue._iter_processed():
        revision = entry.stash_rev
        state = EXPERIMENTS / "run" / revision / f"{revision}.json"
        if revision not in active or _names_running(state):
            continue
        if revision not in waiting:  # a worker takes it from the stash
            text = queue.stash.format_message(entry.head_rev, entry.baseline_rev, entry.name, entry.branch)
            repo.scm.set_ref(queue.stash.ref, revision, message=f"commit: {text}")
        taken = Path(queue.celery._processed_msg_path_cache[message.delivery_tag])
        state.unlink(missing_ok=True)  # or `dvc exp run --run-all` waits for the killed process
        taken.rename(EXPERIMENTS / "celery/broker/in" / taken.name)
        yield (
            f"the experiment {entry.name or revision[:7]} was killed in the queue; queued again, "
            "`dvc exp run --run-all` runs it"
        )


def advise() -> Iterator[str]:
    """Says how to undo what a killed `dvc exp run` did to the working tree. Changes nothing: edits may be at stake."""
    lock = EXPERIMENTS / rwlock.RWLOCK_FILE
    if not lock.exists() or _names_running(EXPERIMENTS / "run/workspace/workspace.json"):
        return
    written = lock.stat().st_mtime
    preparing = (read_rwlock(lock) or {"write": {}})["write"].get("workspace")
    if preparing and is_running(preparing["pid"], preparing["cmd"], written):
        return
    killed = preparing or _git("for-each-ref", EXEC_BASELINE)
    index_lock = Path(_git("rev-parse", "--git-path", "index.lock") or ".git/index.lock")
    if killed and index_lock.exists():
        yield f"{KILLED} git's index locked: `rm {index_lock}`, if no git is running"
    branch = _git("rev-parse", "--symbolic-full-name", "@{-1}")
    is_detached = branch and not _git("symbolic-ref", "--quiet", "HEAD")
    if killed and is_detached and _git("rev-parse", "HEAD") == _git("rev-parse", branch):
        name = branch.removeprefix("refs/heads/")
        yield (
            f"{KILLED} HEAD detached, and its parameters in the files: `git switch {name}` goes back and keeps the "
            "files, `git diff` shows what differs"
        )
    if _git("ls-files", ARGUMENTS):
        yield f"{KILLED} a file of DVC's in git's index: `git rm --quiet --force {ARGUMENTS}` removes it"
    # Names in full: a short one may have no letter, and git takes that for the number of an entry.
    stashes = [line.split() for line in _git("stash", "list", "--format=%H %ct").splitlines()]
    if preparing and (edits := [revision for revision, time in stashes if int(time) >= int(written)]):
        yield (
            f"{KILLED} your uncommitted edits in git's stash: run `git stash push`, then "
            f"`git stash apply --index {edits[-1]}`"
        )
    if _git("for-each-ref", WORKSPACE_STASH):
        yield (
            f"{KILLED} an experiment that the next `dvc exp run` runs, too; "
            f"`git update-ref -d {WORKSPACE_STASH}` drops it"
        )


def read_rwlock(path: Path) -> dict[str, Any] | None:
    """Returns DVC's list of the processes that read and write each path; None if it is torn."""
    try:
        lists: dict[str, Any] = rwlock.SCHEMA(json.loads(path.read_bytes()))
    except (ValueError, rwlock.Invalid):
        return None
    return lists


def _git(*arguments: str) -> str:
    """Returns git's output, empty if git has no answer."""
    try:
        return git(*arguments).decode(errors="surrogateescape").strip()
    except GitError:
        return ""


def _names_running(path: Path) -> bool:
    """Whether the process is running for which DVC wrote this file, once."""
    pid = _read(path).get("pid")
    return pid is not None and is_running(pid, "", path.stat().st_mtime)


def _read(path: Path) -> dict[str, Any]:
    """Returns a JSON object of DVC's; an empty one if the file is missing or torn."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        content = {}
    return content if isinstance(content, dict) else {}
