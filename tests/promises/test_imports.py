"""A stage loads the libraries and opens the files that it uses, and no others; importing our code does nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.checkout import PROJECT, git
from tests.promises.test_structure import PACKAGES, PIPELINE, bare_tree, files_under, outputs

COSTLY = {"PIL", "dvc", "jinja2", "matplotlib", "pandas", "pyarrow", "safetensors", "scipy", "tabulate", "torch"}
"""Libraries that a stage should load only to use them; numpy, pydantic and PyYAML are every stage's."""

LOADED = {
    "generate": {"pyarrow"},
    "train": {"pyarrow", "safetensors", "torch"},
    "evaluate": {"pyarrow", "safetensors", "scipy", "torch"},
    "plot": {"PIL", "matplotlib", "pandas", "pyarrow"},
    "report": {"PIL", "jinja2", "safetensors"},
}

SPARED = {
    "matplotlib.pyplot",  # a global state and a tenth of a second
    "scipy.signal",  # half a second, with scipy.stats
    "scipy.stats",
    "sympy",  # a third of a second, if torch's compiler is loaded
    "torch._dynamo",  # a second or more: torch's compiler, which an optimizer's constructor may load
}
"""Modules that no stage loads, though a library of its own holds them."""


def loaded(program, folder=PROJECT, env=None):
    """Returns the modules that a program has loaded in the end."""
    script = f"import json, sys\n{program}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.nightly
@pytest.mark.parametrize("stage", LOADED)
def test_a_stage_loads_the_libraries_that_it_uses_at_once(stage):
    """Which the next test holds as well, but for the moment."""
    modules = loaded(f"import stages.{stage}")
    assert modules & COSTLY == LOADED[stage]
    assert not modules & SPARED


class AtWork(NamedTuple):
    """What a stage did in a folder that has nothing but what dvc.yaml declares for it."""

    stage: str
    folder: Path
    made: set[str]
    modules: set[str]


@pytest.fixture(scope="module", params=LOADED)
def at_work(finished, request, tmp_path_factory):
    """Runs a stage in a process of its own, which imports what it finds in the folder and no other code of ours."""
    stage, folder = request.param, tmp_path_factory.mktemp("bare")
    bare_tree(finished, stage, folder)
    before = files_under(folder)
    going_on = "import os, runpy; os._exit = lambda code: code and sys.exit(code)"
    modules = loaded(f"{going_on}; runpy.run_module('stages.{stage}', run_name='__main__')", folder, finished.env)
    return AtWork(stage, folder, files_under(folder) - before, modules)


def test_a_stage_loads_the_libraries_that_it_uses_and_no_others(at_work):
    """Nor does pyarrow load pandas for it, as it does where arrays become numpy's or arrow's in the plainest way."""
    assert at_work.modules & COSTLY == LOADED[at_work.stage]
    assert not at_work.modules & SPARED


def test_a_stage_opens_no_file_and_reads_no_parameter_that_it_does_not_declare(finished, at_work):
    """Stronger than a record of what is opened: nothing else is there, and what comes out is the same."""
    declared = tuple(outputs(PIPELINE[at_work.stage]))
    assert at_work.made == {file for file in files_under(finished.path) if file.startswith(declared)}
    for file in at_work.made:
        assert (at_work.folder / file).read_bytes() == (finished.path / file).read_bytes()


QUIET = """
import importlib, logging, signal, threading, numpy, torch
names = {names!r}
for name in names:  # the libraries, whose work is their own business
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
