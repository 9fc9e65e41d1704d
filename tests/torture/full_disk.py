"""Runs stages on a separate disk with less free space than they need, and reports their ends.

    unshare --user --map-root-user --mount python -m tests.torture.full_disk FOLDER PROJECT

mounts the disk at FOLDER and copies PROJECT to it. It answers each line of standard input, `[STAGE, FREE, ...]` in
JSON, with a line: for each number of FREE bytes the stage's exit code, its log and the digests of its outputs, and the
same for a last run with enough space.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from tests.forks import OPTIONS, clear, run_stage, stop, written


def fill(folder, free):
    """Fills the disk up to a number of free bytes, rounded to a page."""
    disk = os.statvfs(folder)
    with (folder / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_bsize - free))


def main(folder, project):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    path = Path(folder, "project")
    shutil.copytree(project, path, symlinks=True, ignore=shutil.ignore_patterns(".git", ".dvc"))
    copy = SimpleNamespace(path=path, env={**os.environ, "QUADRATURE_STATE_DIR": f"{folder}/state"})

    def run(name):
        return (*run_stage(copy, name, *OPTIONS.get(name, ())), written(copy, name))

    for line in sys.stdin:
        name, *free = json.loads(line)
        ended = []
        for count in free:
            clear(copy, name)  # before the disk is filled, so that the freed space does not count as room
            fill(Path(folder), count)
            ended.append(run(name))
            Path(folder, "filler").unlink()
        clear(copy, name)
        sys.stdout.write(f"{json.dumps([ended, run(name)])}\n")
        sys.stdout.flush()
    stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
