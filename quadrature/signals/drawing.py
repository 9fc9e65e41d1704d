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

from quadrature.runtime.launch import Launch
from quadrature.runtime.threads import Workers
from quadrature.storage import places
from quadrature.storage.files import move_into
from quadrature.storage.places import Place
from quadrature.storage.windows import shard_number


@contextmanager
def drawing(windows: Place, splits: Collection[str], key: str, launch: Launch) -> Iterator[Place]:
    """Yields the folder to draw splits in, with what an earlier run has finished, which is to be checked.

    When the block ends well, this process's shards are in `windows`, and none that was there before in their place.
    When it fails, none is. Another process that draws there is waited for, but for those that share this data set:
    of them, one that draws the same shards, as where a process was taken for dead and started again.
    """
    if isinstance(windows, Path):
        windows.mkdir(parents=True, exist_ok=True)
        with _locked(windows, fcntl.LOCK_SH if launch.world_size > 1 else fcntl.LOCK_EX):
            yield from _beside(windows, [windows / split for split in splits], key, launch)
        return
    folders = [places.join(windows, split) for split in splits]
    _remove(folders, launch)
    try:
        yield windows
    except BaseException:
        _remove(folders, launch)
        raise


def _beside(windows: Path, folders: Collection[Path], key: str, launch: Launch) -> Iterator[Path]:
    for folder in folders:
        folder.mkdir(exist_ok=True)  # or it is known now that there can be none
    for path in windows.glob(".drawn-*"):
        if not path.name.startswith(f".drawn-{key}-"):
            with _locked(path) as is_there:
                if is_there and launch.rank == 0:
                    shutil.rmtree(path)
    with _held(windows / f".drawn-{key}-{launch.rank}") as own:
        _remove(folders, launch)
        try:
            yield own
            for folder in folders:
                move_into(folder, own.joinpath(folder.name).glob("part-*"))
        except BaseException:
            _remove(folders, launch)
            if finished := len(list(own.glob("*/part-*"))):
                logging.info("shards finished and kept in %s for the next run: %d", own, finished)
            else:
                shutil.rmtree(own, ignore_errors=True)
            raise
        shutil.rmtree(own, ignore_errors=True)


def _remove(folders: Collection[Place], launch: Launch) -> None:
    """Removes this process's share of the shards that are there: none that another writes, and no other file."""
    files = (places.join(folder, name) for folder in folders for name in places.list_files(folder))
    numbered = ((file, shard_number(file)) for file in files)
    own = (file for file, shard in numbered if shard is not None and shard % launch.world_size == launch.rank)
    with Workers(launch.cores) as workers:
        for _ in workers.map(places.remove, own):
            pass


@contextmanager
def _held(folder: Path) -> Iterator[Path]:
    """Makes a folder, and holds it; where whoever held it has removed it at the end, it is made again."""
    while True:
        folder.mkdir(exist_ok=True)
        with _locked(folder) as is_there:
            if is_there:
                yield folder
                return


@contextmanager
def _locked(folder: Path, kind: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Holds a folder, by itself so that no file is left for it; yields whether it is there once it is held.

    For one process, or, with LOCK_SH, for those that share it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.info("%s: another process draws there; waiting for its end", folder)
            fcntl.flock(descriptor, kind)
        except OSError:
            pass  # NFS, for one, has no such lock for a folder: there, nobody waits
        yield folder.is_dir() and os.path.samestat(os.fstat(descriptor), folder.stat())
    finally:
        os.close(descriptor)
