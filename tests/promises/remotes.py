"""Blocks of a document run in checkouts, and the remote beside a checkout; shared by tests of several documents."""

import configparser
import copy
import hashlib
import re
import shutil
import sys

from tests.checkout import PROJECT, git

PAGE = "docs/remotes.md"
UNTRUSTED = "On a network that you do not trust"


def blocks(document, language="bash"):
    """Returns a document's blocks in a language by heading; the blocks under one heading are joined."""
    found = {}
    for section in re.split(r"^#+ ", (PROJECT / document).read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if programs := re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            found[heading] = "\n".join(programs)
    return found


def execute(checkout, program, check=True, **replacements):
    """Runs a block with the reader's places and names replaced; returns its output.

    Asserts that each replacement has something to replace, else the block has changed.
    """
    for old, new in replacements.items():
        assert old in program, f"{old!r} is not in\n{program}"
        program = program.replace(old, str(new))
    result = checkout.run("bash", "-euo", "pipefail", "-c", program, check=check)
    return result.stdout + result.stderr


def at(checkout, path, **env):
    """Returns a copy of the checkout that runs its commands in another folder, with more variables."""
    other = copy.copy(checkout)
    other.path, other.env = path, {**checkout.env, **env}
    return other


def copy_of(checkout, folder):
    """Copies a checkout into a folder, with an empty home directory and no SSH agent; the copy can be changed."""
    (folder / "home/.ssh").mkdir(parents=True)
    shutil.copytree(checkout.path, folder / "mine")
    return at(checkout, folder / "mine", HOME=str(folder / "home"), SSH_AUTH_SOCK="")


def clone(checkout, name):
    path = checkout.path.parent / name
    git("clone", "--quiet", str(checkout.path), str(path), cwd=checkout.path)
    return at(checkout, path)


def stored(checkout, output):
    """Returns the path of a checkout's file in the remote, which is the folder `storage` beside the checkout."""
    digest = hashlib.md5((checkout.path / output).read_bytes(), usedforsecurity=False).hexdigest()
    return checkout.path.parent / "storage/files/md5" / digest[:2] / digest[2:]


def remote(config):
    """Returns the settings of the remote in a file of DVC's configuration."""
    parser = configparser.ConfigParser()
    parser.read_string("\n".join(line.strip() for line in config.read_text().splitlines()))
    return dict(parser["'remote \"storage\"'"])


def pull_elsewhere(mine):
    """Follows the page in the parent folder; asserts that all outputs arrive and that no stage runs."""
    here = {"make environment": f"ln -s {sys.prefix} .venv", "make repro": "make --old-file environment repro"}
    url = {"https://git.example.org/you/quadrature": f"{mine.path} quadrature"}
    printed = execute(at(mine, mine.path.parent), blocks(PAGE)["Pull"], **url, **here)
    theirs = at(mine, mine.path.parent / "quadrature")
    stages = list(mine.yaml("dvc.yaml")["stages"])
    assert re.findall(r"^Stage '(.*)' didn't change, skipping$", printed, re.MULTILINE) == stages
    assert "Data and pipelines are up to date." in printed
    assert theirs.digests() == mine.digests()
    assert theirs.run("git", "status", "--porcelain").stdout == "?? .venv\n"  # .gitignore names a folder, not a link
