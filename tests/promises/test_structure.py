"""The guards: what dvc.yaml declares is what the code imports, reads and writes; the layout's rules hold."""

import ast
import functools
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dvc.utils.serialize import dump_yaml, load_yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from quadrature.commands.verify import find_stale
from quadrature.runtime.params import SECTIONS
from tests.checkout import OWN_PARAMETERS, PROJECT, Checkout
from tests.runtime.test_params import STAGES

PIPELINE = load_yaml(str(PROJECT / "dvc.yaml"))["stages"]
FREE = {"train": {"train.processes", "train.threads"}, "evaluate": {"train.threads"}}
"""Parameters that a stage reads and need not run again for, as they alter no bit of what it writes."""

IMPORTS = {
    "runtime": "",
    "storage": "runtime",
    "signals": "runtime storage",
    "tables": "runtime storage signals",
    "network": "runtime storage",
    "training": "runtime storage network",
    "posterior": "runtime storage signals",
    "scoring": "runtime storage signals posterior",
    "plotting": "runtime storage signals",
    "reporting": "runtime storage signals",
    "prediction": "runtime storage tables network",
    "experiments": "runtime storage plotting reporting",
    "planning": "storage signals scoring",
    "commands": "runtime storage signals tables network reporting prediction planning experiments",
}
"""The folders of quadrature/, each with those that it imports from beside itself."""

PACKAGES = ("stages", *(f"quadrature/{folder}" for folder in IMPORTS))

UNUSED = {
    "check": "runtime/launch runtime/threads",
    "generate": "storage/history",
    "targets": "storage/history",
    "train": "",
    "evaluate": (
        "posterior/params posterior/targets runtime/launch signals/drawing storage/fingerprint storage/history"
    ),
    "plot": "runtime/launch runtime/threads signals/drawing storage/fingerprint",
    "report": ("runtime/launch runtime/threads signals/disturbances signals/drawing signals/waves storage/fingerprint"),
}
"""Files in the folders that a stage declares which it does not import: a change of one runs it again for nothing."""


def names(entries):
    """Returns the paths in a list of dvc.yaml, which may carry options."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def outputs(stage):
    return names([*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])])


def imported_files(path):
    """Returns the first-party files that a file imports, by reading its import statements."""
    found = set()
    for node in ast.walk(ast.parse((PROJECT / path).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        candidates = [f"{module.replace('.', '/')}.py" for module in modules]
        found.update(file for file in candidates if (PROJECT / file).exists())
    return found


def closure(entry):
    reached, waiting = set(), {entry}
    while waiting:
        file = waiting.pop()
        reached.add(file)
        waiting |= imported_files(file) - reached
    return reached


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stages_code_dependencies_are_the_folders_that_it_imports_from(name):
    """Or files, where it needs little of a folder."""
    declared = {dependency for dependency in PIPELINE[name]["deps"] if dependency.startswith(PACKAGES)}
    reached = closure(f"stages/{name}.py") | {"stages/__init__.py"}
    assert declared == {path if path in declared else str(Path(path).parent) for path in reached}
    files = {str(path.relative_to(PROJECT)) for folder in declared for path in (PROJECT / folder).glob("*.py")}
    unused = {file for file in files - reached if not file.endswith("/__init__.py")}
    assert unused == {f"quadrature/{file}.py" for file in UNUSED.get(name, "").split()}


def test_the_librarys_folders_import_one_way():
    folders = {path.name for path in (PROJECT / "quadrature").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*IMPORTS}
    for folder, others in IMPORTS.items():
        files = [path.relative_to(PROJECT) for path in (PROJECT / "quadrature" / folder).glob("*.py")]
        imported = {Path(file).parent.name for path in files for file in imported_files(path)}
        assert imported - {folder} == {*others.split()}, folder
    order = [*IMPORTS]
    assert all(order.index(other) < order.index(folder) for folder, names in IMPORTS.items() for other in names.split())


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_the_parameters_it_reads(name):
    read = set()
    for key, field in STAGES[name].model_fields.items():
        path, free = field.alias or key, FREE.get(name, set())
        parts = {f"{path}.{part}" for part in getattr(field.annotation, "model_fields", {})}
        read |= parts if parts & free else {path}
    assert sorted(PIPELINE[name]["params"]) == sorted(read - FREE.get(name, set()))


@pytest.mark.parametrize("name", PIPELINE)
def test_a_stage_is_described_and_started_as_the_layout_says(name):
    assert PIPELINE[name]["desc"]
    assert PIPELINE[name]["cmd"] == f"exec python -m stages.{name}"


def test_metrics_stay_in_git_at_stage_level():
    for stage in PIPELINE.values():
        for entry in [*stage.get("metrics", []), *stage.get("plots", [])]:
            assert list(entry.values()) == [{"cache": False}]


def test_params_yaml_holds_the_sections_that_the_loader_knows():
    assert tuple(load_yaml(str(OWN_PARAMETERS))) == SECTIONS


def only(declared, tree):
    """Returns the part of a parameter tree that a list of dotted paths names."""
    part = {}
    for path in declared:
        *sections, key = path.split(".")
        source, target = tree, part
        for section in sections:
            source, target = source[section], target.setdefault(section, {})
        target[key] = source[key]
    return part


def files_under(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def bare_tree(finished, name, folder):
    """Fills a folder with what a stage declares that it reads, and nothing else."""
    for dependency in (*PIPELINE[name]["deps"], "quadrature/__init__.py"):
        source, target = finished.path / dependency, folder / dependency
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    parameters = only([*PIPELINE[name]["params"], *FREE.get(name, ())], finished.yaml("params.yaml"))
    dump_yaml(str(folder / "params.yaml"), parameters)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        (name, path)
        for name, stage in PIPELINE.items()
        for path in stage["deps"]
        # Drawn windows need nothing in data/source, and data/checked.txt is there for the order of the stages.
        if not path.startswith((*PACKAGES, "data/source", "data/checked.txt"))
    ],
)
def test_a_stage_needs_every_data_file_that_it_declares(finished, name, missing, tmp_path):
    bare_tree(finished, name, tmp_path)
    path = tmp_path / missing
    (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    result = Checkout(tmp_path).stage(name, check=False)
    assert result.returncode == 65
    assert result.stderr.splitlines()[-1].startswith(missing)
    assert not [file for file in files_under(tmp_path) if file.startswith(tuple(outputs(PIPELINE[name])))]


def test_the_librarys_packages_have_empty_init_files_so_that_no_stage_depends_on_them():
    """quadrature's own has one function for Python users, which no stage calls."""
    folders = [package for package in PACKAGES if package not in ("stages", "quadrature")]
    assert {(PROJECT / package / "__init__.py").read_text() for package in folders} == {""}


def test_stages_never_import_stages_and_the_library_never_imports_a_stage():
    for package in PACKAGES:
        for path in (PROJECT / package).glob("*.py"):
            imported = imported_files(path.relative_to(PROJECT))
            assert not [file for file in imported if file.startswith("stages/")], path


@pytest.mark.slow
def test_the_folders_that_need_no_torch_do_not_import_it():
    """One process for all of them: torch, once imported, stays."""
    free = [folder for folder in IMPORTS if folder not in ("network", "training", "prediction", "commands")]
    files = [
        path.relative_to(PROJECT) for folder in free for path in (PROJECT / "quadrature" / folder).glob("[a-z]*.py")
    ]
    modules = [str(path.with_suffix("")).replace("/", ".") for path in files]
    program = (
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules: sys.exit(name)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@functools.cache
def pins():
    """Returns the pinned versions by normalized name, for the environment at hand."""
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]
    for requirement in requirements:
        assert re.fullmatch(r"==[0-9][^*,]*", str(requirement.specifier)), requirement
    here = [pin for pin in requirements if pin.marker is None or pin.marker.evaluate()]
    return {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in here}


def test_every_requirement_of_pyproject_is_pinned():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    listed = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["pipeline"]
    for text in [*listed, *project["dependency-groups"]["dev"]]:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), text


def test_the_environment_holds_the_pinned_versions():
    for distribution in importlib.metadata.distributions():
        name = canonicalize_name(distribution.name)
        if name not in ("pip", "setuptools"):  # these come with the interpreter
            assert distribution.version.partition("+")[0] == pins()[name], name


@pytest.mark.committed_results
def test_dvc_lock_is_fresh_and_records_nothing_that_dvc_yaml_no_longer_has():
    """What `make verify` says of a clone, and what DVC passes over."""
    stale = {stage: reasons for stage, reasons in find_stale().items() if reasons}
    assert not stale, "run `make repro` and commit dvc.lock and metrics/"
    lock = load_yaml(str(PROJECT / "dvc.lock"))["stages"]
    assert set(lock) == set(PIPELINE)
    for name, stage in PIPELINE.items():
        assert {dependency["path"] for dependency in lock[name]["deps"]} == set(stage["deps"])
        assert {output["path"] for output in lock[name]["outs"]} == set(outputs(stage))
        assert set(lock[name]["params"]["params.yaml"]) == set(stage["params"])


LARGER = {}
"""Files and functions of the library and the stages beyond the guides, each with the reason."""


def test_the_project_is_small_files_and_short_functions():
    """At most 250 lines a file and 40 a function, where a reader would first feel them."""
    larger = {}
    for package in PACKAGES:
        for path in (PROJECT / package).glob("*.py"):
            text, name = path.read_text(), str(path.relative_to(PROJECT))
            if (lines := len(text.splitlines())) > 250:
                larger[name] = lines
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef) and (lines := node.end_lineno - node.lineno + 1) > 40:
                    larger[f"{name}::{node.name}"] = lines
    assert {*larger} == {*LARGER}, larger


def test_the_tests_are_small_files():
    larger = [path for path in (PROJECT / "tests").rglob("*.py") if len(path.read_text().splitlines()) > 300]
    assert not larger


def test_contributing_shows_the_imports_between_folders():
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    table = re.findall(r"^\| `(\w+)/` \| (.*) \| .* \|$", text, re.MULTILINE)
    assert {folder: " ".join(re.findall(r"\w+", others)) for folder, others in table} == IMPORTS
