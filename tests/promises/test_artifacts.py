"""docs/artifacts.md: a registered version of the model is fetched by its name and loads to the same network."""

import json

import pytest
import torch
import yaml

from quadrature.network.model_file import load_model, save_model
from quadrature.runtime.errors import DataError
from tests.checkout import PROJECT, git
from tests.promises.remotes import at, blocks, copy_of, execute, stored

PAGE = "docs/artifacts.md"
MODEL = "models/model.safetensors"
URL = "https://git.example.org/you/quadrature"


@pytest.fixture(scope="module")
def registry(finished, tmp_path_factory):
    """A finished checkout with two registered versions of the model in bare git and a remote; `prod` is the first."""
    checkout = copy_of(finished, tmp_path_factory.mktemp("registry"))
    folder, pipeline, config = checkout.path.parent, checkout.path / "dvc.yaml", checkout.path / ".dvc/config"
    if "artifacts" not in checkout.yaml("dvc.yaml"):
        pipeline.write_text(pipeline.read_text() + "\n" + blocks(PAGE, "yaml")["Versions of the model"])
    config.write_text(
        f"{config.read_text()}remote = storage\n['remote \"storage\"']\nurl = {folder}/storage\nverify = true\n"
    )
    checkout.commit()
    git("init", "--quiet", "--bare", "--initial-branch=main", str(folder / "git"), cwd=folder)
    git("remote", "add", "origin", str(folder / "git"), cwd=checkout.path)
    git("push", "--quiet", "origin", "main", cwd=checkout.path)
    checkout.run("dvc", "push")
    execute(checkout, blocks(PAGE)["Register a version"])

    network = load_model(checkout.path / MODEL)
    with torch.no_grad():
        network.linear.bias += 1.0
    save_model(network, checkout.path / MODEL)
    checkout.run("dvc", "commit", "--quiet", "--force", "train")
    checkout.commit()
    checkout.run("dvc", "push")
    checkout.run("gto", "register", "quadrature", "--version", "v1.1.0")
    git("push", "--quiet", "origin", "main", "quadrature@v1.1.0", cwd=checkout.path)
    return checkout


def fetch(registry, folder, which="--stage prod"):
    """Follows the page in an empty folder, for the version that `which` selects; returns the file."""
    folder.mkdir()
    execute(
        at(registry, folder), blocks(PAGE)["Fetch it"], **{URL: registry.path.parent / "git", "--stage prod": which}
    )
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
    return folder / "model.safetensors"


def test_dvc_yaml_names_the_model_as_the_page_shows(registry):
    shown = yaml.safe_load(blocks(PAGE, "yaml")["Versions of the model"])
    assert registry.yaml("dvc.yaml")["artifacts"] == shown["artifacts"]
    assert shown["artifacts"]["quadrature"]["path"] == MODEL


def test_every_command_of_the_page_is_run_by_a_test():
    assert set(blocks(PAGE)) == {"Register a version", "Fetch it", "Fetch it and know that it is whole"}


def test_a_version_or_a_stage_is_fetched_into_an_empty_folder_and_loads_to_the_same_network(
    finished, registry, tmp_path
):
    first, second = (finished.path / MODEL).read_bytes(), (registry.path / MODEL).read_bytes()
    assert first != second
    assert fetch(registry, tmp_path / "prod").read_bytes() == first
    assert fetch(registry, tmp_path / "highest", "").read_bytes() == second

    program = blocks(PAGE, "python")["Fetch it"] + "print(network.linear.bias.tolist())"
    loaded = at(registry, tmp_path / "prod").run("python", "-c", program, PYTHONPATH=str(PROJECT)).stdout
    assert json.loads(loaded) == load_model(finished.path / MODEL).linear.bias.tolist()

    registry.run("gto", "assign", "quadrature", "--version", "v1.1.0", "--stage", "prod")
    git("push", "--quiet", "origin", "quadrature#prod#2", cwd=registry.path)
    assert fetch(registry, tmp_path / "moved").read_bytes() == second


def test_a_damaged_version_is_fetched_unseen_and_refused_by_pull(registry, tmp_path):
    """As the page warns. If this fails because DVC refuses it when fetching, remove the warning."""
    kept = stored(registry, MODEL)
    content = kept.read_bytes()
    kept.chmod(0o644)
    try:
        kept.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        kept.chmod(0o444)  # as DVC leaves it: DVC would check a writable file again
        fetched = fetch(registry, tmp_path / "fetched", "--rev v1.1.0")
        assert fetched.read_bytes() != content
        with pytest.raises(DataError, match="its SHA-256 has changed since"):
            load_model(fetched)
        whole = blocks(PAGE)["Fetch it and know that it is whole"]
        places = {URL: f"{registry.path.parent / 'git'} quadrature", "v1.0.0": "v1.1.0"}
        printed = execute(at(registry, tmp_path), whole, check=False, **places)
        assert "Checkout failed for following targets:\nmodels/model.safetensors" in printed
        assert not (tmp_path / "quadrature" / MODEL).exists()
    finally:
        kept.chmod(0o644)
        kept.write_bytes(content)
    execute(at(registry, tmp_path / "quadrature"), "dvc pull models/model.safetensors")
    assert (tmp_path / "quadrature" / MODEL).read_bytes() == content


def test_what_the_page_says_of_gto_holds(registry):
    """It registers any name. A commit has one version. A stage returns to an earlier version only by force."""
    registry.run("gto", "register", "quadratur", "--version", "v1.0.0")
    registry.run("git", "tag", "--delete", "quadratur@v1.0.0")
    again = registry.run("gto", "register", "quadrature", "--version", "v1.2.0", check=False)
    assert "already registered in this commit" in again.stderr
    back = registry.run("gto", "assign", "quadrature", "--version", "v1.0.0", "--stage", "prod", check=False)
    assert "--force" in back.stderr
    assert again.returncode == back.returncode == 1
