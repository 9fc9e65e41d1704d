"""What is edited while `dvc repro` runs is never recorded beside outputs that it did not make."""

import re
import subprocess

import pytest

from tests.checkout import git

EDITS = {
    "a parameter": lambda checkout: checkout.set(**{"train.learning_rate": 0.005}),
    "code": lambda checkout: append(checkout.path / "quadrature/training/adam.py", b"\n"),
    "an input": lambda checkout: append(checkout.path / "data/windows/validation/part-00000.parquet", b"x"),
}


def append(path, more):
    content = path.read_bytes()
    path.unlink()  # DVC's cache may be linked to it
    path.write_bytes(content + more)


def others(checkout):
    """Returns the records of all stages but `check`, which has seen all parameters."""
    return {name: stage for name, stage in checkout.yaml("dvc.lock")["stages"].items() if name != "check"}


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_while_a_stage_runs_is_refused_and_the_next_run_makes_it_right(again, edit):
    again.set(**{"train.epochs": 30})
    locked = others(again)
    command = ("dvc", "repro", "train")
    with subprocess.Popen(command, cwd=again.path, env=again.env, stderr=subprocess.PIPE, text=True) as process:
        log = []
        for line in process.stderr:
            log.append(line)
            if line.startswith("epoch 1 "):
                EDITS[edit](again)
    assert process.returncode != 0
    assert any("changed while this stage ran; its outputs are deleted: run it again" in line for line in log)
    assert others(again) == locked
    assert not (again.path / "models/model.safetensors").exists()
    if edit == "an input":
        git("checkout", "--quiet", "dvc.lock", cwd=again.path)
        again.run("dvc", "checkout", "--force", "data/windows/validation")
    again.set(**{"train.epochs": 2})
    again.repro()
    assert (again.path / "models/model.safetensors").exists()
    again.run("python", "-m", "quadrature", "verify")


@pytest.mark.slow
def test_a_rank_left_in_the_environment_makes_no_half_data_set(checkout):
    done = checkout.run("dvc", "repro", "generate", check=False, RANK="0", WORLD_SIZE="2")
    assert done.returncode != 0
    assert "RANK is set, so this process would do only a part" in done.stdout + done.stderr
    assert not (checkout.path / "dvc.lock").exists()
    checkout.run("dvc", "repro", "generate")
    assert len(list((checkout.path / "data/windows/train").iterdir())) == 4


@pytest.mark.slow
def test_a_merge_conflict_in_dvc_lock_is_named_with_the_way_out_and_that_way_works(again):
    git("switch", "--quiet", "--create", "theirs", cwd=again.path)
    for branch, bins in (("theirs", 8), ("main", 12)):
        git("switch", "--quiet", branch, cwd=again.path)
        again.set(**{"plot.bins": bins})
        again.repro()
        again.commit()
    merge = again.run("git", "merge", "theirs", check=False)
    assert "CONFLICT (content): Merge conflict in dvc.lock" in merge.stdout

    advice = "dvc.lock holds a merge conflict: settle params.yaml, then run "
    for command in ("heal", "verify"):
        refused = again.run("python", "-m", "quadrature", command, check=False)
        assert refused.returncode != 0
        assert refused.stderr.startswith(advice)
    compared = again.run("python", "-m", "quadrature", "compare", "workspace", check=False)
    assert "holds a merge conflict" in compared.stderr

    git("checkout", "--quiet", "--theirs", "params.yaml", cwd=again.path)
    commands = re.findall("`([^`]+)`", refused.stderr)
    assert len(commands) == 3
    for command in commands:
        again.run(*command.split())
    git("commit", "--quiet", "--no-edit", cwd=again.path)
    again.run("python", "-m", "quadrature", "verify")
    assert again.yaml("params.yaml")["plot"]["bins"] == 8
