"""Where a data set's shards are drawn, so that a run that was stopped goes on, and none of them passes for all.

DVC deletes a stage's outputs before it runs, so shards are drawn beside them, and move when there is none to draw:

    data/windows/.drawn-<key>-<rank>/train/part-00000.parquet    until then
    data/windows/train/part-00000.parquet                        from then on

The key tells of all that determines their bytes; what another one left is removed. An object store is a long way to
move something: there, shards are drawn in their place, and removed where one fails.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from quadrature import store
from quadrature.files import move_into
from quadrature.launch import Launch
from quadrature.store import Place
from quadrature.windows import shard_number
from quadrature.workers import Workers


@contextmanager
def drawing(windows: Place, splits: Collection[str], key: str, launch: Launch) -> Iterator[Place]:
    """Yields the folder to draw splits in, with what an earlier run has finished, which is to be checked.

    When the block ends well, this process's shards are in `windows`, and no file of its own that was there before.
    When it fails, none is. Another process that does the same is waited for, unless it belongs to this launch.
    """
    if isinstance(windows, Path):
        windows.mkdir(parents=True, exist_ok=True)
        with _locked(windows, shared=launch.world_size > 1):
            yield from _beside(windows, [windows / split for split in splits], key, launch)
        return
    folders = [store.join(windows, split) for split in splits]
    _remove(folders, launch)
    try:
        yield windows
    except BaseException:
        _remove(folders, launch)
        raise


def _beside(windows: Path, folders: Collection[Path], key: str, launch: Launch) -> Iterator[Path]:
    own = windows / f".drawn-{key}-{launch.rank}"
    if launch.rank == 0:
        for path in windows.glob(".drawn-*"):
            if not path.name.startswith(f".drawn-{key}-"):
                shutil.rmtree(path)
    for folder in folders:
        folder.mkdir(exist_ok=True)  # or it is known now that there can be none
    _remove(folders, launch)
    try:
        yield own
        for folder in folders:
            move_into(folder, own.joinpath(folder.name).glob("part-*"))
    except BaseException:
        _remove(folders, launch)
        if finished := len(list(own.glob("*/part-*"))):
            logging.info("%d finished shards are kept in %s, for the next run", finished, own)
        else:
            shutil.rmtree(own, ignore_errors=True)
        raise
    shutil.rmtree(own, ignore_errors=True)


def _remove(folders: Collection[Place], launch: Launch) -> None:
    """Removes what is there of this process's share, so that none removes what another writes."""
    files = (store.join(folder, name) for folder in folders for name in store.list_files(folder))
    own = (file for file in files if shard_number(file) % launch.world_size == launch.rank)
    with Workers(launch.cores) as workers:
        for _ in workers.map(store.remove, own):
            pass


@contextmanager
def _locked(folder: Path, shared: bool) -> Iterator[None]:
    """Holds a folder for one process, or for those that share it: the folder itself, so that no file is left for it."""
    descriptor = os.open(folder, os.O_RDONLY)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.info("%s: another process draws there; waiting for its end", folder)
            fcntl.flock(descriptor, kind)
        except OSError:
            pass  # NFS, for one, has no such lock for a folder: there, nobody waits
        yield
    finally:
        os.close(descriptor)
