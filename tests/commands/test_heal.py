"""DVC's own files are fixed after a kill; files that DVC can read are not touched."""

import argparse
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from dvc.lock import make_lock
from dvc.repo import Repo
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import strictyaml

from quadrature.commands.heal import heal, main
from quadrature.experiments.abandoned import advise
from quadrature.runtime.errors import QuadratureError
from tests.checkout import git
from tests.forked_python.server import forking


def rwlock(pid, command="dvc repro"):
    entry = {"pid": pid, "cmd": command}
    return json.dumps({"write": {"/there/model": entry}, "read": {"/there/windows": [entry]}}).encode()


RWLOCK = rwlock(os.getpid(), f"pytest {sys.orig_argv[-1]}")  # as this process, which runs


@pytest.fixture
def project(finished, make_checkout, monkeypatch):
    """A project with the dvc.lock of a finished run, committed, and with DVC's folder for temporary files."""
    checkout = make_checkout()
    (checkout.path / "dvc.lock").write_bytes((finished.path / "dvc.lock").read_bytes())
    checkout.commit()
    (checkout.path / ".dvc/tmp").mkdir()
    monkeypatch.chdir(checkout.path)
    return checkout.path


def another_owner(_project, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its safe.directory
    return "detected dubious ownership"


def no_such_commit(project, _monkeypatch):
    (project / ".git/refs/heads/main").write_text(f"{'1' * 40}\n")
    return "not a tree object"


def broken_object(project, _monkeypatch):
    commit = git("rev-parse", "HEAD", cwd=project).strip()
    path = project / ".git/objects" / commit[:2] / commit[2:]
    path.chmod(0o644)
    path.write_bytes(b"")
    return "loose object .* is corrupt"


@pytest.mark.parametrize("harm", [another_owner, no_such_commit, broken_object])
def test_where_git_refuses_a_torn_dvc_lock_stays_and_git_says_why(project, monkeypatch, harm):
    (project / "dvc.lock").write_bytes(b"schema: '2.0'\nstages: [torn")
    reason = harm(project, monkeypatch)
    with pytest.raises(QuadratureError, match=f"^git refuses: .*{reason}.*; dvc.lock is torn and stays") as caught:
        heal()
    assert caught.value.exit_code == 69
    assert (project / "dvc.lock").read_bytes() == b"schema: '2.0'\nstages: [torn"


def test_without_any_commit_a_torn_dvc_lock_is_removed(project):
    shutil.rmtree(project / ".git")
    git("init", "--quiet", cwd=project)
    (project / "dvc.lock").write_bytes(b"schema: '2.0'\nstages: [torn")
    (line,) = heal()
    assert "is in no commit; removed" in line


def is_readable(path):
    strictyaml.load(str(path), COMPILED_LOCKFILE_SCHEMA)
    return True


@pytest.mark.parametrize("step", [633, pytest.param(211, marks=pytest.mark.nightly)])
def test_wherever_dvc_lock_is_cut_dvc_can_read_it_afterwards_and_what_was_cut_is_kept(project, step):
    lockfile, torn = project / "dvc.lock", project / ".dvc/tmp/dvc.lock.torn"
    whole = lockfile.read_bytes()
    fixed = 0
    for cut in range(0, len(whole), step):
        lockfile.write_bytes(whole[:cut])
        torn.unlink(missing_ok=True)
        lines = heal()
        assert is_readable(lockfile)
        if lines:
            fixed += 1
            assert lines == [
                "dvc.lock was torn; restored from the last commit, and the torn file is kept in .dvc/tmp/dvc.lock.torn"
            ]
            assert lockfile.read_bytes() == whole
            assert torn.read_bytes() == whole[:cut]
        else:
            assert lockfile.read_bytes() == whole[:cut]  # a cut between two records leaves the others
    assert fixed > 10


def test_a_torn_dvc_lock_that_no_commit_has_is_removed_and_each_copy_is_kept(project):
    git("rm", "--quiet", "--cached", "dvc.lock", cwd=project)
    git("commit", "--quiet", "--message", "Without it", cwd=project)
    for copy in ("dvc.lock.torn", "dvc.lock.torn.1"):
        (project / "dvc.lock").write_bytes(f"schema: '2.0'\nstages: [{copy}".encode())
        (line,) = heal()
        assert line.endswith(f"kept in .dvc/tmp/{copy}")
        assert not (project / "dvc.lock").exists()
        assert copy in (project / ".dvc/tmp" / copy).read_text()


@pytest.mark.parametrize(
    "torn",
    [b"", RWLOCK[: len(RWLOCK) // 2], RWLOCK[:-1], b"[]", b'{"write": 3}', b"\xff"],
    ids=["empty", "half", "all but a byte", "a list", "a number", "no text"],
)
def test_a_torn_rwlock_is_removed_of_the_project_and_of_its_experiments(project, torn):
    (project / ".dvc/tmp/exps").mkdir()
    names = (".dvc/tmp/rwlock", ".dvc/tmp/exps/rwlock")
    for name in names:
        (project / name).write_bytes(torn)
    assert [*advise()] == []
    assert heal() == [f"{name} was torn; removed" for name in names]
    assert not any((project / name).exists() for name in names)


def test_an_rwlock_of_only_dead_processes_is_removed(project):
    killed = subprocess.Popen(["sleep", "60"])
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it ends as a zombie
    for pid in (killed.pid, 2**22 + 1):  # above the largest process id
        (project / ".dvc/tmp/rwlock").write_bytes(rwlock(pid))
        assert heal() == [".dvc/tmp/rwlock named only dead processes; removed"]
        assert not (project / ".dvc/tmp/rwlock").exists()
    killed.wait()


def test_a_later_process_with_the_number_of_a_dead_one_is_not_taken_for_it(project):
    path = project / ".dvc/tmp/rwlock"
    for program, earlier in (("true; sleep 60", 0), ("true repro; sleep 60", 10)):
        with subprocess.Popen(["sh", "-c", program]) as later:
            path.write_bytes(rwlock(later.pid))
            os.utime(path, (time.time() - earlier,) * 2)
            found = heal()
            later.kill()
        assert found == [".dvc/tmp/rwlock named only dead processes; removed"]


def databases(project):
    with Repo(str(project)) as repo:
        return sorted(Path(repo.site_cache_dir).rglob("*.db"))


def half(content):
    return content[: len(content) // 2]


def zeros_after_the_header(content):
    return content[:100] + bytes(len(content) - 100)


def no_database(content):
    return b"x" * len(content)


@pytest.mark.parametrize("damage", [half, zeros_after_the_header, no_database])
def test_a_damaged_database_of_dvcs_is_removed_and_dvc_makes_it_again(project, damage):
    found = databases(project)
    assert len(found) == 2
    for path in found:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(sqlite3.DatabaseError):
        Repo(str(project))
    assert sorted(heal()) == [f"DVC's database {path} was damaged; removed, DVC makes it again" for path in found]
    assert {*found} <= {*databases(project)}
    assert heal() == []


def test_a_database_that_another_process_holds_is_left_alone(project):
    path = databases(project)[0]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(QuadratureError, match=f"^another process holds DVC's database {path}; wait .+") as caught:
            heal()
    assert caught.value.exit_code == 75
    assert heal() == []


@pytest.mark.skipif(sys.platform != "linux", reason="mounts")
def test_a_disk_too_full_for_dvcs_databases_is_told_before_dvc_waits_for_room_without_end(project):
    disk = project / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=512k tmpfs "$DVC_SITE_CACHE_DIR" || exit 99; exec "$0" -m quadrature heal'
    told = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, sys.executable],
        env={**os.environ, "DVC_SITE_CACHE_DIR": str(disk)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if told.returncode == 99 or told.stderr.startswith("unshare"):
        pytest.skip("users may not mount a disk of their own here")
    assert told.returncode == 74
    assert re.fullmatch(f"{disk}/repo/[0-9a-f]+: No space left on device.*\n", told.stderr)


def test_a_folder_of_records_without_a_record_is_removed(project, finished):
    """A kill before the first record of a run is whole leaves one, at which DVC fails."""
    shutil.copytree(finished.path / ".dvc/cache", project / ".dvc/cache")
    (project / "dvc.lock").unlink()
    records = sorted(project.glob(".dvc/cache/runs/*/*/*"))
    for record in records:
        record.unlink()
    half = records[0].with_name(".half.tmp")
    half.touch()
    empty = {record.parent for record in records[1:]}
    found = {f"{half.relative_to(project)} was half written; removed"}
    assert set(heal()) == found | {f"{folder.relative_to(project)} was empty; removed" for folder in empty}
    assert not [*project.glob(".dvc/cache/runs/*/*")]


def test_a_half_written_record_of_a_run_is_removed_but_not_one_that_dvc_is_about_to_rename(project, finished):
    """Ctrl-C while DVC writes a record leaves one without outputs, which DVC takes for the newest."""
    shutil.copytree(finished.path / ".dvc/cache", project / ".dvc/cache")
    (project / "dvc.lock").unlink()
    records = sorted(project.glob(".dvc/cache/runs/*/*/*"))
    torn = [record.with_name(f".{record.name[:22]}.tmp") for record in records]
    for whole, half in zip(records, torn, strict=True):
        half.write_text(whole.read_text().partition("outs:")[0])
    repro = partial(subprocess.run, [shutil.which("dvc"), "repro"], capture_output=True, text=True, check=False)
    assert repro().stderr.endswith("ERROR: failed to reproduce 'check': 'outs'\n")
    in_progress = records[0].with_name(".another.tmp")
    in_progress.write_bytes(records[0].read_bytes())
    threading.Timer(0.5, in_progress.rename, [records[0]]).start()
    assert sorted(heal()) == [f"{half.relative_to(project)} was half written; removed" for half in torn]
    assert sorted(project.glob(".dvc/cache/runs/*/*/*")) == records
    assert repro().returncode == 0
    assert (project / "dvc.lock").read_bytes() == (finished.path / "dvc.lock").read_bytes()


def test_what_dvc_can_read_and_a_merge_conflict_are_left_alone(project):
    (project / ".dvc/tmp/rwlock").write_bytes(RWLOCK)
    assert heal() == []
    assert (project / ".dvc/tmp/rwlock").read_bytes() == RWLOCK
    conflict = b"<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.0'\n>>>>>>> other\n"
    (project / "dvc.lock").write_bytes(conflict)
    with pytest.raises(QuadratureError, match=r"^dvc.lock holds a merge conflict: settle params.yaml, then run `git"):
        heal()
    assert (project / "dvc.lock").read_bytes() == conflict


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("quiet", [False, True])
def test_with_nothing_to_fix_the_command_fails_so_that_make_does_not_start_dvc_again(caplog, quiet):
    with caplog.at_level("INFO"), pytest.raises(SystemExit) as ended:
        main(argparse.Namespace(quiet=quiet))
    assert ended.value.code == 1
    assert ("nothing to fix: " in caplog.text) != quiet


@pytest.mark.parametrize("lock", ["lock", "rwlock.lock"])
def test_nothing_is_fixed_while_another_dvc_is_at_work(project, lock):
    (project / "dvc.lock").write_bytes(b"schema: '2.0'\nstages: [")
    with make_lock(str(project / ".dvc/tmp" / lock)), pytest.raises(QuadratureError, match="another DVC is at work"):
        heal()
    assert (project / "dvc.lock").read_bytes() == b"schema: '2.0'\nstages: ["


def test_a_folder_without_a_project_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QuadratureError, match=r"there is no \.dvc here"):
        heal()
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_dvc_cannot_open_is_told_in_one_line(project):
    with (project / ".dvc/config").open("a") as file:
        file.write("[core\n")
    with pytest.raises(QuadratureError, match=r"^DVC cannot open this project: .+$"):
        heal()


@pytest.mark.slow
def test_a_stage_that_fails_is_not_tried_again(checkout):
    (checkout.path / ".venv").symlink_to(sys.prefix)
    checkout.set(**{"train.learning_rate": -1.0})
    result = forking(checkout).run("make", "--old-file", "environment", "repro", check=False)
    assert result.returncode == 2
    assert (result.stdout + result.stderr).count("Running stage 'check'") == 1
