"""A folder for windows, and two ways to run the generate stage there."""

import shutil
import subprocess
import sys

import pytest

from tests.checkout import OWN_PARAMETERS, PROJECT, Checkout
from tests.signals.running import SMALL


@pytest.fixture
def folder(tmp_path):
    """A new folder with small parameters."""
    shutil.copy(OWN_PARAMETERS, tmp_path / "params.yaml")
    folder = Checkout(tmp_path)
    folder.set(**{f"generate.{name}": value for name, value in SMALL.items()})
    return folder


@pytest.fixture
def draw(folder):
    """Runs the stage in a fork, with the test's arguments, parameters and environment variables."""

    def run(*arguments, changes=(), **variables):
        folder.set(**{f"generate.{name}": value for name, value in dict(changes).items()})
        return folder.stage("generate", *arguments, check=False, **variables)

    return run


@pytest.fixture
def start(folder):
    """Starts the stage as a process, which a test can stop. Only a process resumes what another process has drawn."""

    def run(*arguments, changes=(), **variables):
        folder.set(**{f"generate.{name}": value for name, value in dict(changes).items()})
        return subprocess.Popen(
            [sys.executable, "-m", "stages.generate", *arguments],
            cwd=folder.path,
            env={**folder.env, "PYTHONPATH": str(PROJECT), **variables},
            stderr=subprocess.PIPE,
            text=True,
        )

    return run
