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


def test_the_image_leaves_out_what_the_pipeline_makes_and_nothing_that_is_in_git():
    lines = (PROJECT / ".gitignore").read_text().splitlines()
    made = {line.strip("/") for line in lines if line.startswith(("/data/", "/models", "/.venv"))}
    assert made <= set(IGNORED)
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
    done = subprocess.run(
        ["docker", "run", "--rm", "quadrature-test", "make", "quick-start"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "quick-start" in done.stdout
