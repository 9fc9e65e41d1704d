"""docs/remotes.md: what one checkout pushes another pulls, to the byte, over a directory and a real SSH server."""

import configparser
import copy
import hashlib
import os
import pwd
import re
import shutil
import subprocess
import sys

import pytest
from dvc.utils.serialize import load_yaml

from tests.checkout import PROJECT, git
from tests.sshd import free_port, make_key, running, serving

PAGE = "docs/remotes.md"
USER = pwd.getpwuid(os.getuid()).pw_name
UNTRUSTED = "On a network that you do not trust"
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
"""What each section's commands are to write: into .dvc/config, which is in git, and into .dvc/config.local."""


def blocks(document, language="bash"):
    """Returns a document's blocks of a language by the heading that they stand under, joined where they are several."""
    found = {}
    for section in re.split(r"^#+ ", (PROJECT / document).read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if programs := re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            found[heading] = "\n".join(programs)
    return found


def execute(checkout, program, check=True, **replacements):
    """Runs a block, with what stands in it for a reader's own places and names replaced; returns what it printed.

    A replacement that finds nothing to replace is a mistake: the block is not what the test believes.
    """
    for old, new in replacements.items():
        assert old in program, f"{old!r} is not in\n{program}"
        program = program.replace(old, str(new))
    result = checkout.run("bash", "-euo", "pipefail", "-c", program, check=check)
    return result.stdout + result.stderr


def at(checkout, path, **env):
    """Returns the means to run commands in another directory as in this checkout."""
    other = copy.copy(checkout)
    other.path, other.env = path, {**checkout.env, **env}
    return other


def copy_of(checkout, folder):
    """Copies a checkout, to be changed, into a folder with a home that has nobody's settings and no agent."""
    (folder / "home/.ssh").mkdir(parents=True)
    shutil.copytree(checkout.path, folder / "mine")
    return at(checkout, folder / "mine", HOME=str(folder / "home"), SSH_AUTH_SOCK="")


@pytest.fixture
def mine(finished, tmp_path):
    """A finished checkout of the test's own."""
    return copy_of(finished, tmp_path)


@pytest.fixture(scope="module")
def pushed(finished, tmp_path_factory):
    """A finished checkout after the page's commands for a directory; the remote is the folder `storage` beside it."""
    checkout = copy_of(finished, tmp_path_factory.mktemp("pushed"))
    places = {"/mnt/shared/quadrature": checkout.path.parent / "storage"}
    assert "files pushed" in execute(checkout, blocks(PAGE)["A directory"], **places)
    return checkout


@pytest.fixture
def shared(pushed, tmp_path):
    """The same, with a remote of the test's own as well."""
    checkout, config = copy_of(pushed, tmp_path), tmp_path / "mine/.dvc/config"
    shutil.copytree(pushed.path.parent / "storage", tmp_path / "storage")
    config.write_text(config.read_text().replace(str(pushed.path.parent), str(tmp_path)))
    git("commit", "--quiet", "--all", "--message", "the test's remote", cwd=checkout.path)
    return checkout


def clone(checkout, name):
    path = checkout.path.parent / name
    git("clone", "--quiet", str(checkout.path), str(path), cwd=checkout.path)
    return at(checkout, path)


def stored(checkout, output):
    """Returns where the remote in the folder beside a checkout keeps one of its files."""
    digest = hashlib.md5((checkout.path / output).read_bytes(), usedforsecurity=False).hexdigest()
    return checkout.path.parent / "storage/files/md5" / digest[:2] / digest[2:]


def pull_elsewhere(mine):
    """Follows the page in a directory beside; asserts that everything comes, and that nothing runs."""
    here = {"make environment": f"ln -s {sys.prefix} .venv", "make repro": "make --old-file environment repro"}
    url = {"https://git.example.org/you/quadrature": f"{mine.path} quadrature"}
    printed = execute(at(mine, mine.path.parent), blocks(PAGE)["Pull"], **url, **here)
    theirs = at(mine, mine.path.parent / "quadrature")
    stages = list(mine.yaml("dvc.yaml")["stages"])
    assert re.findall(r"^Stage '(.*)' didn't change, skipping$", printed, re.MULTILINE) == stages
    assert "Data and pipelines are up to date." in printed
    assert theirs.digests() == mine.digests()
    assert theirs.run("git", "status", "--porcelain").stdout == "?? .venv\n"  # the link, where a reader has a folder


@pytest.fixture
def server(tmp_path):
    """The port of a real SSH server, whose user's key is sshd/storage_key."""
    with serving(tmp_path / "sshd") as port:
        yield port


def use_ssh(checkout, port, key):
    """Writes down what the page's commands for SSH do, where they are not what is tested."""
    folder = checkout.path.parent
    (checkout.path / ".dvc/config.local").write_text(
        f"[core]\nremote = storage\n['remote \"storage\"']\nurl = ssh://127.0.0.1{folder}/storage\n"
        f"user = {USER}\nport = {port}\nkeyfile = {key}\n"
    )


def test_every_command_of_the_page_is_run_by_a_test():
    assert set(blocks(PAGE)) == {"A directory", "SSH", UNTRUSTED, *CLOUDS, "Pull", "Share an experiment"}


@pytest.mark.committed_results
def test_the_sizes_on_the_page_are_those_of_dvc_lock():
    """To a tenth, as the default's outputs change a little with the code."""
    lock = load_yaml(str(PROJECT / "dvc.lock"))["stages"]
    sizes = {output["path"]: output["size"] for stage in lock.values() for output in stage["outs"]}
    rows = re.findall(r"^\| `(.*)` \| ([0-9.]+) \|$", (PROJECT / PAGE).read_text(), re.MULTILINE)
    assert len(rows) == 5
    for path, megabytes in rows:
        size = sum(size for name, size in sizes.items() if name.startswith(path))
        assert float(megabytes) * 1e6 == pytest.approx(size, rel=0.1), path


@pytest.mark.nightly
def test_what_is_pushed_to_a_directory_is_pulled_into_a_clean_clone_where_nothing_runs(shared):
    pull_elsewhere(shared)


def test_what_is_pushed_over_ssh_is_pulled_into_a_clean_clone_where_nothing_runs(mine, server, tmp_path):
    """The clone has no .dvc/config.local; ~/.ssh/config says what stands there."""
    shutil.copy(tmp_path / "sshd/storage_key", tmp_path / "home/.ssh/storage_key")
    place = {"storage.example.org/srv/quadrature": f"127.0.0.1{tmp_path}/storage", "alice": USER, "2222": server}
    assert "files pushed" in execute(mine, blocks(PAGE)["SSH"], **place)
    assert remote(mine.path / ".dvc/config").keys() == {"url", "verify"}

    config = blocks(PAGE, "text")["SSH"].replace("storage.example.org", "127.0.0.1")
    (tmp_path / "home/.ssh/config").write_text(config.replace("alice", USER).replace("2222", str(server)))
    pull_elsewhere(mine)


def test_damage_in_the_remote_is_refused_with_verify_and_passes_unseen_without(shared):
    model = stored(shared, "models/model.safetensors")
    content = model.read_bytes()
    model.chmod(0o644)
    model.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    model.chmod(0o444)  # as DVC leaves it: a file that may be written to, it would look at again

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


def test_a_push_killed_half_way_leaves_nothing_half_under_its_name_and_is_completed_by_the_next(shared, server):
    use_ssh(shared, server, shared.path.parent / "sshd/storage_key")
    content = os.urandom(2**26)
    (shared.path / "large").write_bytes(content)
    shared.run("dvc", "add", "--quiet", "large")
    large = stored(shared, "large")
    with subprocess.Popen(["dvc", "push"], cwd=shared.path, env=shared.env, stdout=subprocess.DEVNULL) as push:
        while not sum(part.stat().st_size for part in large.parent.glob(".*.tmp")):
            assert push.poll() is None
        push.kill()
    assert not large.exists()
    assert shared.run("dvc", "push").stdout == "1 file pushed\n"
    assert large.read_bytes() == content


def test_dvc_takes_any_host_key_and_offers_its_agent(shared, server, tmp_path):
    """As the page warns: OpenSSH refuses the very server that DVC talks to. Should this fail, the warning can go."""
    known_hosts, log = tmp_path / "home/.ssh/known_hosts", tmp_path / "sshd/log"
    known_hosts.write_text(f"[127.0.0.1]:{server} {make_key(tmp_path / 'another_host_key')}")
    options = ["-F", "none", "-o", f"UserKnownHostsFile={known_hosts}", "-o", "BatchMode=yes", "-p", str(server)]
    refused = shared.run("ssh", *options, "127.0.0.1", check=False)
    assert "Host key verification failed." in refused.stderr

    use_ssh(shared, server, tmp_path / "sshd/storage_key")
    for agent, offered in (("", False), (str(tmp_path / "agent"), True)):
        assert shared.run("dvc", "status", "--cloud", SSH_AUTH_SOCK=agent).stdout.endswith("are in sync.\n")
        assert ("auth-agent-req" in log.read_text()) == offered


def test_a_tunnel_of_openssh_carries_a_push(mine, server, tmp_path):
    folder, port = tmp_path / "sshd", free_port()
    use_ssh(mine, server, folder / "storage_key")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server} {(folder / 'host_key.pub').read_text()}")
    checked = ["-o", f"UserKnownHostsFile={folder}/known_hosts", "-o", "StrictHostKeyChecking=yes"]
    login = ["-F", "none", "-o", "BatchMode=yes", "-i", folder / "storage_key", "-p", str(server), "127.0.0.1"]
    # 127.0.0.1 where the page has localhost, as the test's server does not listen at ::1.
    tunnel = ["ssh", "-N", "-L", f"{port}:127.0.0.1:{server}", *checked, *login]
    with running(tunnel, port, folder / "tunnel"):
        places = {"localhost/srv/quadrature": f"127.0.0.1{tmp_path}/storage", "2022": port}
        assert "files pushed" in execute(mine, blocks(PAGE)[UNTRUSTED], **places)
    assert stored(mine, "models/model.safetensors").exists()


def test_what_the_page_says_that_dvc_says_is_what_it_says(mine, server, tmp_path):
    table = (PROJECT / PAGE).read_text().partition("| it says | it means |")[2]
    said = re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)
    make_key(tmp_path / "stranger_key")
    use_ssh(mine, server, tmp_path / "stranger_key")
    printed = failure(mine, "push")
    config = mine.path / ".dvc/config.local"
    for place in ("ssh://127.0.0.1:1/storage", "ssh://storage.invalid/storage", "oss://an-extra-that-is-not-installed"):
        config.write_text(f"[core]\nremote = storage\n['remote \"storage\"']\nurl = {place}\n")
        printed += failure(mine, "push")
    config.unlink()
    printed += failure(mine, "push")
    empty = clone(mine, "empty")
    empty.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "nothing"))
    printed += failure(empty, "pull")
    assert [line for line in said if line not in printed] == []


def failure(checkout, command):
    result = checkout.run("dvc", command, check=False)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


def test_an_experiment_pushed_is_pulled_and_applied_elsewhere_with_the_same_bytes(finished, shared, tmp_path):
    origin = tmp_path / "git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(origin), cwd=tmp_path)
    git("remote", "add", "origin", str(origin), cwd=shared.path)
    git("push", "--quiet", "origin", "main", cwd=shared.path)
    # Windows alone: they take the same way as a model, and less time to make.
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
    """Which is why the page advises against it. Should this fail, DVC has come to push them."""
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


def remote(config):
    """Returns what a file of DVC's configuration says about the remote."""
    parser = configparser.ConfigParser()
    parser.read_string("\n".join(line.strip() for line in config.read_text().splitlines()))
    return dict(parser["'remote \"storage\"'"])
