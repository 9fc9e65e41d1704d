"""tests.mutants finds the tests of a module, wherever they are, so that a mutant meets them first."""

import subprocess

import pytest

from tests.checkout import PROJECT
from tests.mutants import near


def test_a_modules_own_file_comes_first():
    for folder, name in (("scoring", "floor"), ("signals", "waves"), ("training", "soap"), ("storage", "places")):
        assert near(f"quadrature/{folder}/{name}.py")[0] == f"tests/{folder}/test_{name}.py"


def test_a_module_that_no_test_names_has_the_tests_of_its_folder():
    folder = sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / "tests/storage").glob("test_*.py"))
    assert near("quadrature/storage/named_nowhere.py") == folder != []


@pytest.mark.slow
def test_every_module_has_tests_near_it():
    listed = subprocess.run(
        ["git", "ls-files", "quadrature/*.py", "stages/*.py"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    modules = [name for name in listed if not name.endswith("__init__.py") and (PROJECT / name).exists()]
    assert len(modules) > 50
    assert [name for name in modules if not near(name)] == []
