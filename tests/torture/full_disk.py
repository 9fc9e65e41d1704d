"""Runs a stage on a disk of its own, with fewer bytes free than it writes, and says what became of it.

    unshare --user --map-root-user --mount python -m tests.torture.full_disk FOLDER PROJECT STAGE FREE...

mounts the disk at FOLDER, copies PROJECT to it and prints, for each number of FREE bytes, how the stage ended, its log
and the digests of its outputs; and the same of a last run, when there was room again.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from tests.torture.forks import OPTIONS, clear, run_stage, written


def fill(folder, free):
    """Leaves so many bytes free, to the page."""
    disk = os.statvfs(folder)
    with (folder / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_bsize - free))


def main(folder, project, name, *free):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    path = Path(folder, "project")
    shutil.copytree(project, path, symlinks=True, ignore=shutil.ignore_patterns(".git", ".dvc"))
    copy = SimpleNamespace(path=path, env={**os.environ, "QUADRATURE_STATE_DIR": f"{folder}/state"})

    def run():
        clear(copy, name)
        return (*run_stage(copy, name, *OPTIONS.get(name, ())), written(copy, name))

    ended = []
    for count in map(int, free):
        fill(Path(folder), count)
        ended.append(run())
        Path(folder, "filler").unlink()
    sys.stdout.write(json.dumps([ended, run()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
