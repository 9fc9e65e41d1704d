"""docs/remotes.md over a real SSH server: pushes that arrive, one that is killed, keys, tunnels and DVC's messages."""

import os
import pwd
import re
import shutil
import subprocess

from tests.checkout import PROJECT
from tests.promises.remotes import PAGE, UNTRUSTED, blocks, clone, execute, pull_elsewhere, remote, stored
from tests.sshd import free_port, make_key, running

USER = pwd.getpwuid(os.getuid()).pw_name


def use_ssh(checkout, port, key):
    """Writes the settings of the page's commands for SSH, in tests of something else."""
    folder = checkout.path.parent
    (checkout.path / ".dvc/config.local").write_text(
        f"[core]\nremote = storage\n['remote \"storage\"']\nurl = ssh://127.0.0.1{folder}/storage\n"
        f"user = {USER}\nport = {port}\nkeyfile = {key}\n"
    )


def test_what_is_pushed_over_ssh_is_pulled_into_a_clean_clone_where_nothing_runs(mine, server, tmp_path):
    """The clone has no .dvc/config.local; ~/.ssh/config has its settings."""
    shutil.copy(tmp_path / "sshd/storage_key", tmp_path / "home/.ssh/storage_key")
    place = {"storage.example.org/srv/quadrature": f"127.0.0.1{tmp_path}/storage", "alice": USER, "2222": server}
    assert "files pushed" in execute(mine, blocks(PAGE)["SSH"], **place)
    assert remote(mine.path / ".dvc/config").keys() == {"url", "verify"}

    config = blocks(PAGE, "text")["SSH"].replace("storage.example.org", "127.0.0.1")
    (tmp_path / "home/.ssh/config").write_text(config.replace("alice", USER).replace("2222", str(server)))
    pull_elsewhere(mine)


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
    """As the page warns: OpenSSH refuses the same server. If this fails because DVC does, too, remove the warning."""
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
    # 127.0.0.1 instead of the page's localhost: the test's server does not listen at ::1.
    tunnel = ["ssh", "-N", "-L", f"{port}:127.0.0.1:{server}", *checked, *login]
    with running(tunnel, port, folder / "tunnel"):
        places = {"localhost/srv/quadrature": f"127.0.0.1{tmp_path}/storage", "2022": port}
        assert "files pushed" in execute(mine, blocks(PAGE)[UNTRUSTED], **places)
    assert stored(mine, "models/model.safetensors").exists()


def test_what_the_page_says_that_dvc_says_is_what_it_says(mine, server, tmp_path):
    table = (PROJECT / PAGE).read_text().partition("| message | meaning |")[2]
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
    """Returns the message of a dvc command that fails."""
    result = checkout.run("dvc", command, check=False)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr
