"""A stage loads only the libraries and opens only the files that it uses. Importing the project has no side effect."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.checkout import PROJECT, git
from tests.promises.test_structure import PACKAGES, PIPELINE, bare_tree, files_under, outputs

COSTLY = {"PIL", "dvc", "jinja2", "matplotlib", "pandas", "pyarrow", "safetensors", "scipy", "tabulate", "torch"}
"""Libraries that a stage should load only if it uses them. All stages use numpy, pydantic and PyYAML."""

LOADED = {
    "check": set(),
    "generate": {"pyarrow"},
    "targets": {"pyarrow"},
    "train": {"pyarrow", "safetensors", "torch"},
    "evaluate": {"pyarrow", "safetensors", "scipy", "torch"},
    "plot": {"PIL", "matplotlib", "pandas", "pyarrow"},
    "report": {"PIL", "jinja2", "pyarrow", "safetensors"},
}

SPARED = {
    "matplotlib.pyplot",  # has a global state, takes a tenth of a second
    "scipy.signal",  # half a second, as it loads scipy.stats
    "scipy.stats",
    "sympy",  # a third of a second; torch's compiler loads it
    "torch._dynamo",  # torch's compiler, a second or more; an optimizer's constructor may load it
}
"""Modules of these libraries that no stage loads."""


def loaded(program, folder=PROJECT, env=None):
    """Returns the modules that a program has loaded at its end."""
    script = f"import json, sys\n{program}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.nightly
@pytest.mark.parametrize("stage", LOADED)
def test_a_stage_loads_the_libraries_that_it_uses_at_once(stage):
    """On import. The next test checks all that a run of the stage loads."""
    modules = loaded(f"import stages.{stage}")
    assert modules & COSTLY == LOADED[stage]
    assert not modules & SPARED


class AtWork(NamedTuple):
    """A stage's run in a folder with only the dependencies that dvc.yaml declares."""

    stage: str
    folder: Path
    made: set[str]
    modules: set[str]


@pytest.fixture(scope="module", params=LOADED)
def at_work(finished, request, tmp_path_factory):
    """Runs a stage in a new process, which can import only the project's modules in the folder."""
    stage, folder = request.param, tmp_path_factory.mktemp("bare")
    bare_tree(finished, stage, folder)
    before = files_under(folder)
    going_on = "import os, runpy; os._exit = lambda code: code and sys.exit(code)"
    modules = loaded(f"{going_on}; runpy.run_module('stages.{stage}', run_name='__main__')", folder, finished.env)
    return AtWork(stage, folder, files_under(folder) - before, modules)


def test_a_stage_loads_the_libraries_that_it_uses_and_no_others(at_work):
    """Nor does pyarrow load pandas for it, as its plainest conversions to and from numpy do."""
    assert at_work.modules & COSTLY == LOADED[at_work.stage]
    assert not at_work.modules & SPARED


def test_a_stage_opens_no_file_and_reads_no_parameter_that_it_does_not_declare(finished, at_work):
    """Stronger than a record of opened files: no other file exists, and the outputs are the same."""
    declared = tuple(outputs(PIPELINE[at_work.stage]))
    assert at_work.made == {file for file in files_under(finished.path) if file.startswith(declared)}
    for file in at_work.made:
        assert (at_work.folder / file).read_bytes() == (finished.path / file).read_bytes()


QUIET = """
import importlib, logging, signal, threading, numpy, torch
names = {names!r}
for name in names:  # first the libraries, whose side effects are not tested
    importlib.import_module(name)
logging.getLogger().handlers.clear()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
torch.set_num_threads(3)
for name in list(sys.modules):
    if name.partition(".")[0] in ("quadrature", "stages"):
        del sys.modules[name]

def state():
    numbers = torch.get_rng_state().tolist(), numpy.random.get_state()[1].tolist()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return numbers, handlers, list(logging.getLogger().handlers), threading.active_count(), torch.get_num_threads()

before, done = state(), []

def watch(event, arguments):
    if event.startswith(("subprocess", "socket", "os.system", "os.mkdir", "os.remove", "os.rename")):
        done.append((event, str(arguments)))
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc")):
        done.append((event, str(arguments)))

sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
assert not done, done
assert state() == before
"""


@pytest.mark.slow
def test_importing_the_projects_modules_opens_nothing_starts_nothing_and_sets_nothing():
    files = [name for name in git("ls-files", *PACKAGES, cwd=PROJECT).splitlines() if name.endswith(".py")]
    names = [name.removesuffix(".py").replace("/", ".") for name in files if "__" not in name]
    assert len(names) > 40
    loaded(QUIET.format(names=names))
