"""docs/remotes.md: one checkout pulls the bytes that another has pushed; commands for clouds write their settings."""

import re
import signal
import sys

import pytest
from dvc.utils.serialize import load_yaml

from quadrature.commands.heal import heal
from tests.checkout import PROJECT, git
from tests.promises.remotes import PAGE, UNTRUSTED, at, blocks, clone, execute, pull_elsewhere, remote, stored

CLOUDS = {
    "Amazon S3": ("s3", {"url": "s3://your-bucket/quadrature"}, {"profile": "your-profile"}),
    "Google Cloud Storage": (
        "gs",
        {"url": "gs://your-bucket/quadrature"},
        {"credentialpath": "{home}/keys/quadrature.json"},
    ),
    "Azure Blob Storage": (
        "azure",
        {"url": "azure://your-container/quadrature", "account_name": "your-account"},
        {"account_key": "your-key"},
    ),
}
"""By section: the extra of dvc, and the settings for .dvc/config, which is in git, and for .dvc/config.local."""

KILLED = "After a push or pull that was killed"
KILLED_PUSH = """
import os, signal
from dvc.cli import main
from dvc_data.index import collect

def stopped(*arguments, **options):
    collect._collect_from_index = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)
    return one_output(*arguments, **options)

one_output, collect._collect_from_index = collect._collect_from_index, stopped
main(["push"])
"""
"""`dvc push`, killed when it has saved its list of files for one output."""


def test_every_command_of_the_page_is_run_by_a_test():
    assert set(blocks(PAGE)) == {"A directory", "SSH", UNTRUSTED, *CLOUDS, "Pull", KILLED, "Share an experiment"}


@pytest.mark.committed_results
def test_the_sizes_on_the_page_are_those_of_dvc_lock():
    """Within a tenth, as the sizes change a little with the code."""
    lock = load_yaml(str(PROJECT / "dvc.lock"))["stages"]
    sizes = {output["path"]: output["size"] for stage in lock.values() for output in stage["outs"]}
    rows = re.findall(r"^\| `(.*)` \| ([0-9.]+) \|$", (PROJECT / PAGE).read_text(), re.MULTILINE)
    assert len(rows) == 8
    for path, megabytes in rows:
        size = sum(size for name, size in sizes.items() if name.startswith(path))
        assert float(megabytes) * 1e6 == pytest.approx(size, rel=0.1), path


@pytest.mark.nightly
def test_what_is_pushed_to_a_directory_is_pulled_into_a_clean_clone_where_nothing_runs(shared):
    pull_elsewhere(shared)


def test_damage_in_the_remote_is_refused_with_verify_and_passes_unseen_without(shared):
    model = stored(shared, "models/model.safetensors")
    content = model.read_bytes()
    model.chmod(0o644)
    model.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    model.chmod(0o444)  # as DVC leaves it: DVC would check a writable file again

    trusting = clone(shared, "trusting")
    (trusting.path / ".dvc/config.local").write_text("['remote \"storage\"']\nverify = false\n")
    trusting.run("dvc", "pull")
    assert (trusting.path / "models/model.safetensors").read_bytes() != content
    assert trusting.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"

    verifying = clone(shared, "verifying")
    pulled = verifying.run("dvc", "pull", check=False)
    assert pulled.returncode == 1
    assert pulled.stderr.splitlines()[1:2] == ["models/model.safetensors"], pulled.stderr
    assert not (verifying.path / "models/model.safetensors").exists()

    model.unlink()
    assert shared.run("dvc", "push").stdout == "1 file pushed\n"
    verifying.run("dvc", "pull")
    assert verifying.digests() == shared.digests()


def test_after_a_killed_push_heal_has_dvc_push_all_where_it_says_that_nothing_is_missing(shared, monkeypatch):
    """If this fails because DVC pushes the model without heal, change the page."""
    model = stored(shared, "models/model.safetensors")
    model.unlink()
    assert shared.run(sys.executable, "-c", KILLED_PUSH, check=False).returncode == -signal.SIGKILL
    assert shared.run("dvc", "push").stdout == "Everything is up to date.\n"
    assert not model.exists()

    monkeypatch.chdir(shared.path)
    assert heal() == []
    printed = execute(shared, blocks(PAGE)[KILLED])
    assert printed.startswith("1 file pushed\n")
    assert "in sync" in printed
    assert model.exists()


def test_a_file_of_a_folder_is_pushed_again_once_the_folders_list_is_gone(shared):
    part = stored(shared, "data/windows/train/part-00000.parquet")
    outputs = {output["path"]: output["md5"] for output in shared.yaml("dvc.lock")["stages"]["generate"]["outs"]}
    listed = outputs["data/windows/train"]
    part.unlink()
    assert shared.run("dvc", "push").stdout == "Everything is up to date.\n"
    (part.parents[1] / listed[:2] / listed[2:]).unlink()
    assert shared.run("dvc", "push").stdout == "2 files pushed\n"
    assert part.exists()


def test_an_experiment_pushed_is_pulled_and_applied_elsewhere_with_the_same_bytes(finished, shared, tmp_path):
    origin = tmp_path / "git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(origin), cwd=tmp_path)
    git("remote", "add", "origin", str(origin), cwd=shared.path)
    git("push", "--quiet", "origin", "main", cwd=shared.path)
    # Windows alone: they travel like a model, and take less time to make.
    shared.run("dvc", "exp", "run", "--name", "slower", "--set-param", "generate.seed=1", "generate")
    send, receive = re.split(r"(?<=slower\n)\n", blocks(PAGE)["Share an experiment"])
    execute(shared, send)

    theirs = clone(at(shared, origin), "theirs")
    assert "main:\n\tslower" in execute(theirs, receive)
    assert theirs.yaml("params.yaml")["generate"]["seed"] == 1
    taken, made = theirs.digests(), shared.digests()
    names = [name for name in made if name.startswith("data/windows/") or name == "dvc.lock"]
    assert [taken[name] for name in names] == [made[name] for name in names]
    assert made["data/windows/test/part-00000.parquet"] != finished.digests()["data/windows/test/part-00000.parquet"]


def test_a_pushed_run_cache_lacks_the_outputs_that_git_has(shared, tmp_path):
    """Therefore the page advises against it. If this fails because DVC now pushes them, change the page."""
    shared.run("dvc", "push", "--run-cache")
    assert any((tmp_path / "storage/runs").rglob("*"))
    assert stored(shared, "models/model.safetensors").exists()
    assert not stored(shared, "metrics/train.json").exists()


@pytest.mark.parametrize(
    "heading",
    [heading if heading == "Amazon S3" else pytest.param(heading, marks=pytest.mark.nightly) for heading in CLOUDS],
)
def test_a_clouds_commands_write_addresses_for_git_and_keys_for_this_checkout_alone(heading, checkout, tmp_path):
    extra, shared, secret = CLOUDS[heading]
    home = tmp_path / "home"
    execute(at(checkout, checkout.path, HOME=str(home)), blocks(PAGE)[heading])
    secret = {option: value.format(home=home) for option, value in secret.items()}
    assert remote(checkout.path / ".dvc/config") == {**shared, "verify": "true"}
    assert remote(checkout.path / ".dvc/config.local") == secret
    assert checkout.run("git", "status", "--porcelain").stdout == " M .dvc/config\n"
    assert f'"dvc[{extra},ssh]"' in (PROJECT / PAGE).read_text()
