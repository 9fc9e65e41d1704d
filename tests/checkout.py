"""A checkout of this project in a new folder, with parameters for runs of seconds."""

import copy
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
"""The parameters of the committed results. The user may have changed params.yaml."""

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
"""The project's own parameters, shrunken: several shards, the last one partial, batches that span shards.

One thread: tests run in parallel, one per core, and the threads of two trainings would wait for each other.
"""


CALLERS = ("DVC_ROOT", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
"""Variables that dvc and make set for the programs that they start. A checkout's programs must not see them."""


class Checkout:
    """A git repository with the working tree's files, as in a clone, but without the results of any run.

    Its parameters are the project's own with changes, as the user may have changed those of the tree.
    """

    def __init__(self, path: Path) -> None:
        """Uses an existing checkout."""
        self.path = path
        self.env = {name: value for name, value in os.environ.items() if name not in CALLERS}
        self.env["QUADRATURE_STATE_DIR"] = f"{path}.state"
        self.env["SHELL"] = "/bin/sh"  # DVC starts stages with it; the developer may have another
        self.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    @classmethod
    def make(cls, path: Path, parameters: dict[str, Any] | None = None) -> Self:
        """Makes a checkout with the project's own parameters, changed by `parameters` or, if None, by SMALL."""
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
        """Changes params.yaml; the keys are dotted paths."""
        with modify_yaml(self.path / "params.yaml") as tree:
            for name, value in parameters.items():
                *sections, key = name.split(".")
                section = tree
                for part in sections:
                    section = section[part]
                section[key] = copy.deepcopy(value)  # or the next parameter would change the caller's mapping

    def commit(self) -> None:
        git("add", "--all", cwd=self.path)
        git("commit", "--quiet", "--message", "state", cwd=self.path)

    def run(self, *command: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the checkout. With check, a failure raises AssertionError with its output."""
        result = subprocess.run(
            command, cwd=self.path, env={**self.env, **env}, capture_output=True, text=True, check=False
        )
        if check and result.returncode:
            raise AssertionError(f"{' '.join(command)} exited {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def stage(self, name: str, *options: str, check: bool = True, **env: str) -> Ended:
        """Runs a stage as DVC would, but with the code of the working tree instead of the checkout's copy."""
        ended = run_stage(self, name, *options, seconds=300.0, **env)
        if check and ended.returncode:
            raise AssertionError(f"{name} exited {ended.returncode}\n{ended.stderr}")
        return ended

    def copy(self, path: Path) -> Self:
        """Returns a copy in another folder, without the state of interrupted runs."""
        shutil.copytree(self.path, path, symlinks=True)
        return type(self)(path)

    def repro(self, **env: str) -> list[str]:
        """Runs `dvc repro`; returns the stages that ran, without those that DVC found up to date or cached.

        And without `check`, which runs after every change of a parameter.
        """
        output = self.run("dvc", "repro", **env).stdout
        ran = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]
        return [stage for stage in ran if stage != "check"]

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
