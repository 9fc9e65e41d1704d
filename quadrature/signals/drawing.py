"""The folder in which shards are drawn, so that an interrupted run resumes and a partial data set never looks complete.

DVC deletes a stage's outputs before it runs. So shards are drawn beside them and moved once all are drawn:

    data/windows/.drawn-<key>-<rank>/train/part-00000.parquet    while drawing
    data/windows/train/part-00000.parquet                        afterwards

The key is a digest of everything that determines the bytes; folders with another key are deleted. Moving files in an
object store is expensive: there, shards are drawn in their final place, and deleted if one fails.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from quadrature.runtime.launch import Launch
from quadrature.runtime.threads import Workers
from quadrature.storage import places
from quadrature.storage.files import move_into
from quadrature.storage.places import Place
from quadrature.storage.windows import WindowWriter, is_whole, shard_number, shard_path, writing


@contextmanager
def drawing(windows: Place, splits: Collection[str], key: str, launch: Launch) -> Iterator[Place]:
    """Yields the folder to draw splits in, with the shards that an earlier run finished, which the caller checks.

    If the block ends without an error, this process's shards replace those in `windows`; if it fails, none is there.
    Waits for another process that draws there, unless it draws other shards of the same data set. Two processes draw
    the same shards if a launcher took one for dead and started it again.
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
        folder.mkdir(exist_ok=True)  # fails early if there can be none
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
    """Deletes this process's shards in the folders, but neither those of other processes nor other files."""
    files = (places.join(folder, name) for folder in folders for name in places.list_files(folder))
    numbered = ((file, shard_number(file)) for file in files)
    own = (file for file, shard in numbered if shard is not None and shard % launch.world_size == launch.rank)
    with Workers(launch.cores) as workers:
        for _ in workers.map(places.remove, own):
            pass


@contextmanager
def _held(folder: Path) -> Iterator[Path]:
    """Creates a folder and locks it; creates it again if the previous holder has deleted it."""
    while True:
        folder.mkdir(exist_ok=True)
        with _locked(folder) as is_there:
            if is_there:
                yield folder
                return


@contextmanager
def _locked(folder: Path, kind: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Locks a folder, without a lock file; yields whether the folder still exists once it is locked.

    The lock excludes all other processes, or with LOCK_SH those that do not share it.
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
            logging.info("%s: another process draws there; waiting for it to end", folder)
            fcntl.flock(descriptor, kind)
        except OSError:
            pass  # some file systems, NFS among them, cannot lock a folder; nobody waits there
        yield folder.is_dir() and os.path.samestat(os.fstat(descriptor), folder.stat())
    finally:
        os.close(descriptor)


def draw_missing(
    folder: Place, split: str, shards: int, launch: Launch, threads: int, draw: Callable[[int, WindowWriter], None]
) -> Generator[int, None, None]:
    """Draws this process's shards of a split, except those that an earlier run finished; yields their numbers in order.

    `draw` writes a shard to a file. Threads draw several shards at the same time.
    """
    place = places.join(folder, split)
    there = set(places.list_files(place))

    def is_new(shard: int) -> bool:
        path = shard_path(place, shard)
        if PurePath(path).name in there and is_whole(path, shard, shards):
            return False
        with writing(path, shard, shards) as file:
            draw(shard, file)
        return True

    own, found = launch.own_items(range(shards)), 0
    with Workers(threads) as workers:
        for shard, new in zip(own, workers.map(is_new, own), strict=True):
            found += not new
            yield shard
    if found:
        logging.info("%s: %d of %d shards were already drawn by an interrupted run", split, found, len(own))
