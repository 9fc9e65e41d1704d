"""A real SSH server on loopback."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"]))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(command, port, log):
    """Runs a program that serves a port, and ends it when the block ends."""
    with log.open("w") as output, subprocess.Popen(command, stderr=output) as process:
        try:
            for _ in range(1200):
                assert process.poll() is None, log.read_text()
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
            else:
                raise AssertionError(f"nobody listens at port {port}: {log.read_text()}")
            yield
        finally:
            process.terminate()


def make_key(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_name(f"{path.name}.pub").read_text()


@contextmanager
def serving(folder):
    """Runs a server with a new host key and one authorized user key, both made in a folder; yields its port."""
    if SSHD is None:
        pytest.skip("no sshd here (Debian: apt-get install openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as root, sshd does not start without it
    port = free_port()
    folder.mkdir()
    make_key(folder / "host_key")
    (folder / "authorized_keys").write_text(make_key(folder / "storage_key"))
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nPidFile none\n"
        # No PAM and no strict modes: they need root, and a home directory that only its owner can write to.
        f"AuthorizedKeysFile {folder}/authorized_keys\nUsePAM no\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\nLogLevel DEBUG\n"
    )
    with running([SSHD, "-D", "-e", "-f", folder / "config"], port, folder / "log"):
        yield port
