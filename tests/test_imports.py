"""What a stage loads is what it uses, and importing the project's code does nothing; times: benchmarks/imports.py."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.checkout import PROJECT, git
from tests.test_structure import PACKAGES

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


@pytest.mark.parametrize("stage", LOADED)
def test_a_stage_loads_the_libraries_that_it_uses_and_no_others(stage):
    modules = loaded(f"import stages.{stage}")
    assert modules & COSTLY == LOADED[stage]
    assert not modules & SPARED


@pytest.mark.parametrize("stage", LOADED)
def test_a_stage_loads_no_more_at_work(finished, stage, tmp_path):
    """Nor does pyarrow load pandas for it, as it does where arrays become numpy's or arrow's in the plainest way."""
    folder = tmp_path / "tree"
    shutil.copytree(finished.path, folder, ignore=shutil.ignore_patterns(".dvc", ".git"))
    going_on = "import os, runpy; os._exit = lambda code: code and sys.exit(code)"
    program = f"{going_on}; runpy.run_module('stages.{stage}', run_name='__main__')"
    modules = loaded(program, folder, finished.env)
    assert modules & COSTLY == LOADED[stage]
    assert not modules & SPARED


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


def test_importing_the_projects_modules_opens_nothing_starts_nothing_and_sets_nothing():
    files = [name for name in git("ls-files", *PACKAGES, cwd=PROJECT).splitlines() if name.endswith(".py")]
    names = [name.removesuffix(".py").replace("/", ".") for name in files if "__" not in name]
    assert len(names) > 40
    loaded(QUIET.format(names=names))
