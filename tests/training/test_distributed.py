"""docs/scaling.md: its commands run, on one machine; its cluster's scripts with stand-ins for what a cluster has."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from tests.checkout import PROJECT
from tests.forked_python.server import forking
from tests.forks import clear
from tests.promises.test_readme import commands, run_commands
from tests.sshd import free_port
from tests.training.test_train import OUTPUTS

PAGE = "docs/scaling.md"
BENCHMARKS = {
    ".venv/bin/python -m benchmarks.costs.scaling": (["8", "64", "1", "2"], "| processes | windows a second |"),
    ".venv/bin/python -m benchmarks.costs.streaming 1048576 7": (["20000", "1"], "| windows in memory | seconds |"),
    ".venv/bin/python -m benchmarks.costs.streaming memory 1000000 5000000 25000000 100000000": (
        ["memory", "400000", "2000000"],
        "| training windows | peak memory (MB) |",
    ),
}
MEMORY = list(BENCHMARKS)[-1]


@pytest.fixture
def project(again):
    (again.path / ".venv").symlink_to(sys.prefix)
    again.commit()
    return again


@pytest.mark.nightly
def test_the_pages_commands_run_one_after_another_and_dvc_takes_their_results(project):
    forking(project)
    clear(project, "train")
    run_commands(project, [command for command in commands(PAGE) if "benchmarks." not in command])
    assert project.run("dvc", "status", "--quiet", check=False).returncode == 0
    assert (project.path / "data/many/targets/train/part-00000.parquet").exists()


@pytest.mark.parametrize(
    "command",
    [pytest.param(one, marks=[pytest.mark.nightly] if one != MEMORY else []) for one in BENCHMARKS],
)
def test_a_benchmark_of_the_page_prints_its_tables(command, checkout):
    assert command in commands(PAGE)
    arguments, first = BENCHMARKS[command]
    if command != MEMORY:  # a fork's memory is that of what it was forked from as well
        forking(checkout)
    assert_prints_tables(checkout, shlex.split(command)[:3], arguments, first)


@pytest.mark.nightly
def test_memory_is_flat_over_more_windows(checkout):
    _, first = BENCHMARKS[MEMORY]
    assert_prints_tables(checkout, shlex.split(MEMORY)[:3], ["memory", "2000000", "24000000"], first)


def assert_prints_tables(checkout, words, arguments, first):
    (checkout.path / ".venv").symlink_to(sys.prefix)
    lines = checkout.run(*words, *arguments).stdout.splitlines()
    assert lines[0].startswith(first)
    headers = {number - 1 for number, line in enumerate(lines) if line.startswith("|---")}
    rows = [line for number, line in enumerate(lines) if re.match(r"\| \w", line) and number not in headers]
    # What is left of a step, less its gradients, is told as 0 where the clock says that it is less.
    figures = [float(row.split("|")[2].replace(",", "")) for row in rows if not row.startswith("| rest ")]
    assert len(figures) >= 2
    assert all(figure > 0.0 for figure in figures)
    if "memory" in arguments:  # the windows kept from each step would add half
        assert max(figures) < 1.1 * min(figures)


def test_every_benchmark_of_the_page_is_run_here():
    assert {command for command in commands(PAGE) if "benchmarks." in command} == set(BENCHMARKS)


def test_slurms_script_trains(project, tmp_path):
    """With one node, whose srun runs the command and whose scontrol knows the machine by its own name."""
    (script,) = re.findall(r"^```sh\n(.*?)^```$", (PROJECT / PAGE).read_text(), re.MULTILINE | re.DOTALL)
    for name, does in (("srun", 'exec "$@"'), ("scontrol", "echo localhost")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    clear(project, "train")
    slurm = {"NNODES": "1", "JOB_ID": str(os.getpid()), "JOB_NODELIST": "localhost", "SUBMIT_DIR": str(project.path)}
    environment = {f"SLURM_{name}": value for name, value in slurm.items()}
    assert script.count(":29500") == 1
    script = script.replace(":29500", f":{free_port()}")
    project.run("bash", "-c", script, **environment, PATH=f"{tmp_path}:{project.env['PATH']}")
    assert (project.path / "models/model.safetensors").exists()
    assert (project.path / ".state").is_dir()


def test_the_jobs_command_trains(project):
    """With one pod, which is the first, and windows and targets at hand."""
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", (PROJECT / PAGE).read_text(), re.MULTILINE | re.DOTALL)
    service, job = yaml.safe_load_all(text)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    name = service["metadata"]["name"]
    assert pod["subdomain"] == name
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert f"--nnodes={job['spec']['completions']}" in container["args"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    kept = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {f"{container['workingDir']}/{Path(name).parts[0]}" for name in OUTPUTS} | {"/state"} == kept

    clear(project, "train")
    here = {
        "--nnodes=2": "--nnodes=1",
        f"--rdzv-endpoint={job['metadata']['name']}-0.{name}:29500": f"--rdzv-endpoint=localhost:{free_port()}",
        "--rdzv-id=quadrature": f"--rdzv-id={os.getpid()}",
        "s3://bucket/windows": "data/windows",
        "s3://bucket/targets": "data/targets",
    }
    assert set(here) <= set(container["args"])
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    environment["QUADRATURE_STATE_DIR"] = str(project.path / "state")
    project.run(*container["command"], *(here.get(word, word) for word in container["args"]), **environment)
    assert (project.path / "models/model.safetensors").exists()
