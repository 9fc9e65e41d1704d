"""What SECURITY.md promises of the code: the linter refuses calls that could run what a file holds."""

import json
import subprocess
import sys
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


def test_no_line_is_excused_from_it():
    codes = {*BANNED.values()}
    for package in ("quadrature", "stages"):
        for file in (PROJECT / package).rglob("*.py"):
            for line in file.read_text().splitlines():
                assert not codes & {word.strip(",") for word in line.partition("# noqa:")[2].split()}, f"{file}: {line}"
