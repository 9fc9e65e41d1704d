"""A checkout of this project in a directory of its own, with parameters small enough to run in seconds."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from dvc.utils.serialize import load_yaml, modify_yaml

from tests.forks import Ended, run_stage

PROJECT = Path(__file__).parent.parent
OWN_PARAMETERS = PROJECT / "benchmarks/params.yaml"
"""Those that the project's results are committed for, whatever stands in params.yaml."""

SMALL = {
    "device": "cpu",
    "generate.windows": {"train": 2000, "validation": 300, "test": 300},
    "generate.shard_windows": 600,
    "model.hidden_size": 8,
    "train.epochs": 2,
    "train.batch_size": 128,
    "train.shuffle_windows": 700,
    "train.threads": 1,
    "train.snapshots": 4,
    "train.snapshot_windows": 2,
    "plot.windows": 2,
    "train.validations_per_epoch": 4,
}
"""The project's own parameters, shrunk: several shards, none full at the end, batches across their seams.

One thread: tests run side by side, one a core, and the threads of two trainings wait for each other.
"""


CALLERS = ("DVC_ROOT", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
"""What dvc and make tell the programs they start, the tests among them; a checkout's own are on their own."""


class Checkout:
    """A git repository with the files of the working tree, as a clone of it has them, but no results of any run.

    Its parameters are not those of the tree, which are its user's, but the project's own with changes.
    """

    def __init__(self, path: Path) -> None:
        """Takes a checkout that is there."""
        self.path = path
        self.env = {name: value for name, value in os.environ.items() if name not in CALLERS}
        self.env["QUADRATURE_STATE_DIR"] = f"{path}.state"
        self.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    @classmethod
    def make(cls, path: Path, parameters: dict[str, Any] | None = None) -> Self:
        """Makes a checkout; its parameters are SMALL or those given, in place of the project's own."""
        checkout = cls(path)
        for name in git("ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=PROJECT).split("\0"):
            if name and (PROJECT / name).exists() and name != "dvc.lock" and not name.startswith("metrics/"):
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / name, path / name)
        shutil.copy(OWN_PARAMETERS, path / "params.yaml")
        git("init", "--quiet", "--initial-branch=main", cwd=path)
        git("config", "user.name", "A Tester", cwd=path)
        git("config", "user.email", "tester@example.org", cwd=path)
        checkout.set(**(SMALL if parameters is None else parameters))
        checkout.commit()
        return checkout

    def set(self, **parameters: Any) -> None:
        """Changes params.yaml; a key is a dotted path."""
        with modify_yaml(self.path / "params.yaml") as tree:
            for name, value in parameters.items():
                *sections, key = name.split(".")
                section = tree
                for part in sections:
                    section = section[part]
                section[key] = value

    def commit(self) -> None:
        git("add", "--all", cwd=self.path)
        git("commit", "--quiet", "--message", "state", cwd=self.path)

    def run(self, *command: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the checkout; with check, a failure shows what it printed."""
        result = subprocess.run(
            command, cwd=self.path, env={**self.env, **env}, capture_output=True, text=True, check=False
        )
        if check and result.returncode:
            raise AssertionError(f"{' '.join(command)} exited {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def stage(self, name: str, *options: str, check: bool = True, **env: str) -> Ended:
        """Runs a stage by hand, as DVC would: of the code that is tested, not of a changed copy in the checkout."""
        ended = run_stage(self, name, *options, seconds=300.0, **env)
        if check and ended.returncode:
            raise AssertionError(f"{name} exited {ended.returncode}\n{ended.stderr}")
        return ended

    def copy(self, path: Path) -> Self:
        """Returns a copy in another folder, with no state of interrupted runs."""
        shutil.copytree(self.path, path, symlinks=True)
        return type(self)(path)

    def repro(self, **env: str) -> list[str]:
        """Runs `dvc repro`; returns the stages that ran, leaving out those DVC found done or cached."""
        output = self.run("dvc", "repro", **env).stdout
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]

    def digests(self) -> dict[str, str]:
        """Returns the SHA-256 of every output and of dvc.lock, by path."""
        folders = [self.path / name for name in ("data", "models", "metrics")]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(self.path)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in [*files, self.path / "dvc.lock"]
        }

    def yaml(self, name: str) -> Any:
        return load_yaml(str(self.path / name))


def git(*arguments: str, cwd: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout
