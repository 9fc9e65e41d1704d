"""The installed package in an empty folder: the command and `import quadrature`, with the listed requirements alone."""

import importlib.metadata
import math
import os
import shutil
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.checkout import PROJECT

pytestmark = pytest.mark.slow

BLOCKED = """
import runpy, sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["quadrature", *sys.argv[1:]]
runpy.run_module("quadrature", run_name="__main__")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of the package, built from the working tree and installed without its requirements."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(PROJECT / "quadrature", source / "quadrature", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


@pytest.fixture
def empty(installed, finished, tmp_path):
    """Returns a function that runs a program in an empty folder with a model and the installed package."""
    folder = tmp_path / "empty"
    folder.mkdir()
    shutil.copy(finished.path / "models/model.safetensors", folder)
    env = {**os.environ, "PYTHONPATH": str(installed)}

    def run(*command, **options):
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, **options)
        return done.returncode, done.stdout, done.stderr

    run.folder = folder
    return run


def required(name, seen):
    """Adds a distribution and those that it requires here, without extras, to `seen`."""
    if canonicalize_name(name) in seen:
        return
    seen.add(canonicalize_name(name))
    for text in importlib.metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required(requirement.name, seen)


def absent():
    """Returns the modules of this environment that `pip install` of the project, without extras, would not install."""
    listed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    there = set()
    for text in listed:
        required(Requirement(text).name, there)
    found = importlib.metadata.packages_distributions()
    return {module for module, names in found.items() if not {canonicalize_name(name) for name in names} & there}


def test_the_command_and_the_function_work_in_an_empty_folder(empty, installed):
    signal = "\n".join(["volts", *(repr(math.sin(0.4 * sample)) for sample in range(60))])
    (empty.folder / "signal.csv").write_text(signal + "\n")
    command = str(installed / "bin/quadrature")
    options = ("--input", "signal.csv", "--column", "volts", "--hop", "1", "--output", "estimates.csv")
    code, _, told = empty(command, "predict", "--model", "model.safetensors", *options)
    assert code == 0, told
    assert len((empty.folder / "estimates.csv").read_text().splitlines()) == 61
    assert empty(command, "--version")[:2] == (0, f"quadrature {version_of(installed)}\n")
    program = "import quadrature; print(quadrature.__file__, quadrature.load('model.safetensors').window_length)"
    assert empty(sys.executable, "-c", program) == (0, f"{installed}/quadrature/__init__.py 10\n", "")


def version_of(installed):
    (metadata,) = installed.glob("quadrature-*.dist-info/METADATA")
    return next(line.split()[1] for line in metadata.read_text().splitlines() if line.startswith("Version: "))


def test_the_listed_requirements_are_enough_and_a_command_of_the_pipeline_says_what_it_needs(empty):
    blocked = absent()
    assert {"dvc", "pandas", "matplotlib", "optuna"} <= blocked
    assert not {"torch", "numpy", "pyarrow", "scipy"} & blocked
    alone = (sys.executable, "-c", BLOCKED.format(absent=sorted(blocked)))
    code, said, told = empty(*alone, "live", "--model", "model.safetensors", input="0.1\n" * 12)
    assert code == 0, told
    header, *rows = said.splitlines()
    assert header == "in_phase,quadrature,amplitude,phase,frequency"
    assert [row == ",,,," for row in rows] == [True] * 9 + [False] * 3  # the first window ends with the tenth sample
    plan = ("plan", "--rate", "1000", "--band", "45", "55", "--amplitude", "1", "2", "--noise", "0.1", "--length", "20")
    code, said, told = empty(*alone, *plan)
    assert (code, "phase" in said) == (0, True), told
    for name in ("verify", "compare"):
        code, said, told = empty(*alone, name)
        assert (code, said) == (69, "")
        assert told.startswith(f"quadrature {name} needs ")
        assert told.endswith(": install this project with its extra `pipeline`\n")
        assert told.count("\n") == 1
    code, said, told = empty(*alone, "--print-completion", "zsh")
    assert (code, told) == (0, "")
    assert "--hop" in said
    assert "--reference" not in said  # an option of compare, which is not installed


def test_the_wheel_holds_the_templates_and_no_stage(installed):
    assert (installed / "quadrature/reporting/templates/report.html").exists()
    assert not (installed / "stages").exists()
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"bin", "quadrature"}
