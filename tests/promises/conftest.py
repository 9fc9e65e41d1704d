"""Checkouts with a remote, and a real SSH server."""

import shutil

import pytest

from tests.checkout import git
from tests.promises.remotes import PAGE, blocks, copy_of, execute
from tests.sshd import serving


@pytest.fixture
def mine(finished, tmp_path):
    """A copy of the finished checkout."""
    return copy_of(finished, tmp_path)


@pytest.fixture(scope="module")
def pushed(finished, tmp_path_factory):
    """A finished checkout pushed with the page's commands for a directory, to the folder `storage` beside it."""
    checkout = copy_of(finished, tmp_path_factory.mktemp("pushed"))
    places = {"/mnt/shared/quadrature": checkout.path.parent / "storage"}
    assert "files pushed" in execute(checkout, blocks(PAGE)["A directory"], **places)
    return checkout


@pytest.fixture
def shared(pushed, tmp_path):
    """A copy of the pushed checkout and of its remote."""
    checkout, config = copy_of(pushed, tmp_path), tmp_path / "mine/.dvc/config"
    shutil.copytree(pushed.path.parent / "storage", tmp_path / "storage")
    config.write_text(config.read_text().replace(str(pushed.path.parent), str(tmp_path)))
    git("commit", "--quiet", "--all", "--message", "the test's remote", cwd=checkout.path)
    return checkout


@pytest.fixture
def server(tmp_path):
    """The port of a real SSH server; its user's key is sshd/storage_key."""
    with serving(tmp_path / "sshd") as port:
        yield port
