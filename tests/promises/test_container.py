"""The image: what it copies exists and what it leaves out is made again; built and run where docker is."""

import json
import re
import shutil
import subprocess

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


def test_the_image_leaves_out_what_the_pipeline_makes():
    """And nothing that is in git, except the note in data/source."""
    made = {line.strip("/").split("/")[0] for line in (PROJECT / ".gitignore").read_text().splitlines()}
    assert {".venv", ".venv-bench", "data", "models"} <= set(IGNORED) & made
    kept = git("ls-files", cwd=PROJECT).split()
    left_out = [name for name in kept if any(name == each or name.startswith(f"{each}/") for each in IGNORED)]
    assert [name for name in left_out if not name.startswith("data/source/")] == []


def test_the_editors_container_is_this_image():
    build = json.loads((PROJECT / ".devcontainer/devcontainer.json").read_text())["build"]
    assert (PROJECT / ".devcontainer" / build["dockerfile"]).resolve() == PROJECT.resolve() / "Dockerfile"
    assert (PROJECT / ".devcontainer" / build["context"]).resolve() == PROJECT.resolve()


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not installed")
def test_the_image_runs_the_pipeline():
    subprocess.run(["docker", "build", "--quiet", "--tag", "quadrature-test", "."], cwd=PROJECT, check=True)
    done = subprocess.run(
        ["docker", "run", "--rm", "quadrature-test", "make", "quick-start"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "quick-start" in done.stdout
