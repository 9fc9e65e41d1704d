"""SECURITY.md: the linter refuses calls that could run code from a file."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.checkout import PROJECT

BANNED = {
    "import torch\ntorch.load('a')": "TID251",
    "import torch\ntorch.export.load('a')": "TID251",
    "import torch\ntorch.hub.load('a', 'b')": "TID251",
    "import pickle\npickle.load(open('a', 'rb'))": "S301",
    "import marshal\nmarshal.loads(b'')": "S302",
    "import shelve\nshelve.open('a')": "S301",
    "import pandas as pd\npd.read_pickle('a')": "S301",
    "from pickle import loads": "TID251",
    "import joblib\njoblib.load('a')": "TID251",
    "import numpy as np\nnp.load('a', allow_pickle=True)": "TID251",
    "import yaml\nyaml.load('a', Loader=yaml.CSafeLoader)": "TID251",
    "import yaml\nyaml.unsafe_load('a')": "TID251",
    "import shutil\nshutil.unpack_archive('a')": "TID251",
    "eval('1')": "S307",
    "exec('1')": "S102",
    "import yaml\nyaml.load('a', Loader=yaml.Loader)": "S506",
    "import subprocess\nsubprocess.run('a', shell=True)": "S602",
    "import os\nos.system('a')": "S605",
    "import tarfile\ntarfile.open('a').extractall()": "S202",
    "import jinja2\njinja2.Environment()": "S701",
}


@pytest.mark.parametrize("code", BANNED)
@pytest.mark.parametrize("folder", ["quadrature", "stages"])
def test_the_linter_refuses_what_could_run_code(code, folder):
    command = [Path(sys.executable).parent / "ruff", "check", "--output-format", "json"]
    command += ["--stdin-filename", f"{folder}/some.py", "-"]
    done = subprocess.run(command, cwd=PROJECT, input=f"{code}\n", capture_output=True, text=True, check=False)
    assert BANNED[code] in {found["code"] for found in json.loads(done.stdout)}


def test_the_linter_refuses_each_name_that_is_banned():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    names = settings["flake8-tidy-imports"]["banned-api"]
    assert {"pickle", "marshal", "shelve", "joblib", "numpy.load", "yaml.load", "torch.load"} <= names.keys()
    code = "".join(f"import {name.rpartition('.')[0] or name}\nprint({name})\n" for name in names)
    command = [Path(sys.executable).parent / "ruff", "check", "--output-format", "json", "--select", "TID251"]
    command += ["--stdin-filename", "quadrature/some.py", "-"]
    done = subprocess.run(command, cwd=PROJECT, input=code, capture_output=True, text=True, check=False)
    found = " ".join(each["message"] for each in json.loads(done.stdout))
    assert [name for name in names if f"`{name}` is banned" not in found] == []


def test_no_text_is_compiled_or_imported_by_a_name_that_the_linter_does_not_see():
    for package in ("quadrature", "stages"):
        for file in (PROJECT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in ("compile", "__import__", "eval", "exec"), f"{file}, line {node.lineno}"


def test_no_line_is_excused_from_it():
    codes = {*BANNED.values()}
    for package in ("quadrature", "stages"):
        for file in (PROJECT / package).rglob("*.py"):
            for line in file.read_text().splitlines():
                assert not codes & {word.strip(",") for word in line.partition("# noqa:")[2].split()}, f"{file}: {line}"
