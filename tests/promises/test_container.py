"""The image: what it copies exists and what it leaves out is made again; built and run where docker is."""

import json
import re
import shutil
import subprocess
from fnmatch import fnmatch

import pytest

from tests.checkout import PROJECT, git

TEXT = (PROJECT / "Dockerfile").read_text()
IGNORED = (PROJECT / ".dockerignore").read_text().split()


def test_the_environments_layer_has_all_that_the_makefile_reads_for_it():
    """`make` compares the environment with these; if one were copied later, the image would make it twice."""
    (copied,) = re.findall(r"^COPY (.+) \./$", TEXT, re.MULTILINE)
    stamp = re.search(r"^STAMP = (.*?)^CURRENT", (PROJECT / "Makefile").read_text(), re.MULTILINE | re.DOTALL)[1]
    assert set(copied.split()) == {"Makefile", *re.findall(r"[\w-]+\.(?:toml|txt)", stamp)}
    assert TEXT.index("RUN make environment") < TEXT.index("COPY . .")


def test_the_image_leaves_out_what_git_ignores_remotes_keys_among_it_and_nothing_that_is_in_git():
    for folder in ("", ".dvc/"):
        for line in (PROJECT / f"{folder}.gitignore").read_text().splitlines():
            if not line.startswith("#"):
                assert (f"{folder}{line.strip('/')}" if line.startswith("/") else f"**/{line.strip('/')}") in IGNORED
    assert ".dvc/config.local" in IGNORED
    for name in git("ls-files", cwd=PROJECT).split():
        assert not [each for each in IGNORED if fnmatch(name, each) or name.startswith(f"{each}/")], name


def test_the_editors_container_is_this_image():
    build = json.loads((PROJECT / ".devcontainer/devcontainer.json").read_text())["build"]
    assert (PROJECT / ".devcontainer" / build["dockerfile"]).resolve() == PROJECT.resolve() / "Dockerfile"
    assert (PROJECT / ".devcontainer" / build["context"]).resolve() == PROJECT.resolve()


@pytest.mark.nightly
def test_the_image_runs_the_pipeline():
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker does not run here")
    subprocess.run(["docker", "build", "--quiet", "--tag", "quadrature-test", "."], cwd=PROJECT, check=True)
    small = "make quick-start && dvc exp apply quick-start && sha256sum --check data/digests/*.sha256"
    command = ["docker", "run", "--rm", "quadrature-test", "bash", "-c", f"source .venv/bin/activate && {small}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "metrics/test.json: OK" in done.stdout
