"""The pipeline makes the golden bytes in twenty-four environments, which cover every pair of choices.

And docs/reproducibility.md is right about kernels: which of them keep the bytes, and which results all of them keep.
"""

import itertools
import json
import os
import random
import shutil
import subprocess

import pytest
import torch

from tests.forks import clear
from tests.torture.conftest import CELLS, REPRO

FACTORS = {
    "cell": CELLS,
    "directory": ("a folder with spaces", "Ordner für Übungen 日本", "d" * 200),
    "TZ": ("<+14>-14", "<-14>+14"),  # POSIX counts westwards: these are 14 hours before and behind UTC
    "LC_ALL": ("C", "tr_TR.UTF-8", "de_DE.UTF-8"),
    "umask": ("000", "077"),
    "PYTHONHASHSEED": ("0", "4294967295"),
    "SHELL": ("/bin/sh", "/bin/bash"),
    "home": ("none", "another"),
    "clock": ("right", "ten years on"),
    "processors": ("one", "all"),
    "OMP_NUM_THREADS": ("1", "4"),
    "MKL_NUM_THREADS": ("1", "4"),
    "MPLBACKEND": ("module://matplotlib_inline.backend_inline", ""),  # as Jupyter sets it
    "PYTHONOPTIMIZE": ("", "2"),
    "PYTHONSAFEPATH": ("1", ""),
    "PYTHONWARNINGS": ("error", ""),
    "TMPDIR": ("/nowhere", ""),
    "COLUMNS": ("0", "80"),
}


def choices(environment, count):
    """Returns the combinations of `count` choices in an environment."""
    return {*itertools.combinations(enumerate(environment), count)}


def design(count):
    """Returns `count` environments, each with the most new pairs, and then triples, of choices."""
    everything, drawn = list(itertools.product(*FACTORS.values())), random.Random(0)
    chosen = []
    seen = {size: set() for size in (2, 3)}
    for _ in range(count):
        some = drawn.sample(everything, 60)
        chosen.append(max(some, key=lambda one: [len(choices(one, size) - seen[size]) for size in seen]))
        for size in seen:
            seen[size] |= choices(chosen[-1], size)
    return chosen


DESIGN = design(24)


def test_any_two_choices_meet():
    pairs = set().union(*(choices(one, 2) for one in DESIGN))
    for (first, firsts), (second, seconds) in itertools.combinations(enumerate(FACTORS.values()), 2):
        for pair in itertools.product(firsts, seconds):
            assert ((first, pair[0]), (second, pair[1])) in pairs


KERNELS = [
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("ATEN_CPU_CAPABILITY", "avx512"),
    ("ATEN_CPU_CAPABILITY", "default"),
    ("MKL_CBWR", "AVX2"),
    ("MKL_CBWR", "COMPATIBLE"),
    ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("OPENBLAS_CORETYPE", "Haswell"),
]
"""Variables that make torch, MKL, oneDNN and OpenBLAS compute as on another processor."""

ABLE = torch.backends.cpu.get_cpu_capability()
KEEPING = {"avx2": {"AVX2", "AVX512"}, "avx512": {"AVX512"}}
"""Kernels that keep every bit, and the capabilities of processors that have them."""


CASES = {
    "environment": sorted(
        (dict(zip(FACTORS, one, strict=True)) for one in DESIGN), key=lambda one: CELLS.index(one["cell"])
    ),
    "keeping": [(cell, *one) for cell in CELLS for one in KERNELS if one[1] in KEEPING],
    "other": [(cell, *one) for cell in CELLS for one in KERNELS if one[1] not in KEEPING],
}


def pytest_generate_tests(metafunc):
    """Gives a test the first of its cases, in the number given by --torture."""
    for name in CASES.keys() & {*metafunc.fixturenames}:
        count = max(1, round(len(CASES[name]) * metafunc.config.getoption("torture")))
        metafunc.parametrize(name, CASES[name][:count])


def locale(name, folder):
    """Returns the variables that select a locale; makes the locale in a folder if the system lacks it."""
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.lower().split()
    if {name.lower(), name.lower().replace("utf-8", "utf8")} & {*known}:
        return {"LC_ALL": name}
    folder.mkdir(exist_ok=True)
    source, _, charset = name.partition(".")
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "--inputfile", source, "--charmap", charset, folder / name], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip(f"no locale {name} here (Debian: apt install locales)")
    return {"LC_ALL": name, "LOCPATH": str(folder)}


def surroundings(environment, folder):
    """Returns a command that runs another one in an environment, and its variables."""
    (folder / "home").mkdir()
    command = ["sh", "-c", 'umask "$0" && exec "$@"', environment["umask"], "env"]
    if environment["home"] == "none":
        command += ["-u", "HOME", "-u", "USER", "-u", "LOGNAME"]
    else:
        command += [f"HOME={folder / 'home'}", "USER=somebody", "LOGNAME=somebody"]
    if environment["processors"] == "one":
        if shutil.which("taskset") is None:
            pytest.skip("no taskset here, which limits the processors")
        command += ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]
    if environment["clock"] != "right":
        if shutil.which("faketime") is None:
            pytest.skip("no faketime here (Debian: apt install faketime)")
        command += ["faketime", "-f", "+10y"]
    variables = {name: value for name, value in environment.items() if name.isupper()}
    return command, {**variables, **locale(environment["LC_ALL"], folder / "locales")}


@pytest.mark.slow
def test_the_bytes_are_golden_in(environment, project_of, tally, tmp_path):
    command, variables = surroundings(environment, tmp_path)
    project = project_of(environment["cell"])
    checkout = project.copy(environment["directory"])
    with tally.trying("environments unlike the first"):
        checkout.run(*command, *REPRO, **variables)
        assert checkout.digests() == project.digests
        variables |= {"PYTHONSAFEPATH": "", "PYTHONWARNINGS": ""}  # make keeps them from the programs that it starts
        assert checkout.run(*command, "dvc", "status", "--quiet", **variables, check=False).returncode == 0
        checkout.run(*command, "python", "-m", "quadrature", "compare", **variables)


def under(kernel, project, *stages):
    """Returns a checkout whose stages ran as on another processor; skips the test if this processor cannot."""
    variable, value = kernel
    if not KEEPING.get(value, {ABLE}) & {ABLE}:
        pytest.skip(f"this processor cannot do {value}")
    if (variable, value.upper()) == ("ATEN_CPU_CAPABILITY", ABLE):
        pytest.skip(f"this processor does {value} anyway")
    checkout = project.copy("kernels", of="golden")
    for name in stages:
        clear(checkout, name)
    for name in stages:
        checkout.run("python", "-m", f"stages.{name}", **{variable: value})
    return checkout


@pytest.mark.slow
def test_kernels_keep_the_bytes(keeping, project_of, tally):
    cell, *kernel = keeping
    project = project_of(cell)
    checkout = under(kernel, project, "train", "evaluate")  # no other stage loads torch
    with tally.trying("bytes under AVX2 and AVX-512"):
        assert checkout.digests() == project.digests


@pytest.mark.slow
def test_other_kernels_keep_all_that_no_network_enters(other, project_of, tally):
    cell, *kernel = other
    project = project_of(cell)
    checkout = under(kernel, project, "generate", "targets", "train", "evaluate")
    with tally.trying("windows and floor under other kernels"):
        assert windows(checkout) == windows(project.golden)
        assert without_network(checkout) == pytest.approx(without_network(project.golden), rel=1e-9)


def windows(checkout):
    found = {path: digest for path, digest in checkout.digests().items() if path.startswith("data/windows/")}
    assert len(found) == 6
    return found


def without_network(checkout):
    """Returns the figures of metrics/test.json that do not depend on the network."""
    test = json.loads((checkout.path / "metrics/test.json").read_text())
    floor = ("floor_mse", "floor_in_phase_mse", "floor_amplitude_rmse", "floor_phase_rmse_degrees")
    return {name: test[name] for name in (*floor, "windows", "seen_in_training")} | test["baselines"]
