"""Third-party code: pinned versions, known vulnerabilities, the list of packages and the workflows' actions."""

import json
import os
import re
import runpy
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.checkout import PROJECT

WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))
AUDIT = [sys.executable, str(PROJECT / ".ci/audit.py")]
GOOD = yaml.safe_load((PROJECT / ".ci/audit.yaml").read_text())["exceptions"][0]


def constraints():
    """Returns the requirements of constraints.txt for all systems."""
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]


def test_every_package_is_one_version_of_the_index_and_none_comes_from_elsewhere():
    assert len(constraints()) > 200
    for requirement in constraints():
        assert requirement.url is None
        assert not requirement.extras
        assert requirement.name == canonicalize_name(requirement.name)
        assert re.fullmatch(r"==[0-9][^*,]*", str(requirement.specifier)), requirement
    options = [line for line in (PROJECT / "constraints.txt").read_text().splitlines() if line.startswith("-")]
    assert options == []


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does; its only vulnerability is diskcache's."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.add((asked["package"]["name"], asked["version"]))
        known = {
            "id": "GHSA-w8v5-vhqr-4h9v",
            "aliases": ["CVE-2025-69872"],
            "summary": "It unpickles",
            "published": "2026-02-11T00:00:00Z",
            "affected": [
                {
                    "package": {"name": "diskcache", "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
                }
            ],
        }
        answer = json.dumps({"vulns": [known]} if asked["package"]["name"] == "diskcache" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments):
        pass


@contextmanager
def database():
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        server.asked = set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def audit(tmp_path):
    """Returns the exit code and the output lines of an audit with given exceptions and a database at a port."""

    def run(port, exceptions):
        path = tmp_path / "exceptions.yaml"
        path.write_text(yaml.safe_dump({"exceptions": exceptions}))
        command = [*AUDIT, "--exceptions", str(path), "--database", f"http://127.0.0.1:{port}/"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout + done.stderr).replace(str(path), "FILE").splitlines()

    return run


def test_the_exceptions_in_force_have_their_form_and_are_of_packages_we_have():
    exceptions = runpy.run_path(AUDIT[1])["load_exceptions"](PROJECT / ".ci/audit.yaml")
    assert {one.package for one in exceptions} <= {requirement.name for requirement in constraints()}


@pytest.mark.slow
def test_an_audit_asks_about_what_is_installed_here_and_knows_what_is_excepted(audit):
    tomorrow = {**GOOD, "reviewed": date.today(), "expires": date.today() + timedelta(days=1)}
    (pin,) = [one for one in constraints() if one.name == "diskcache"]
    with database() as server:
        assert audit(server.server_port, []) == (
            1,
            [
                f"diskcache {str(pin.specifier)[2:]}: CVE-2025-69872, GHSA-w8v5-vhqr-4h9v, fixed in no release",
                "audit: known vulnerabilities: 1; run `make lock` to update, or except them in FILE",
            ],
        )
        assert server.asked == {
            (one.name, str(one.specifier)[2:]) for one in constraints() if one.marker is None or one.marker.evaluate()
        }
        assert audit(server.server_port, [tomorrow]) == (0, ["no known vulnerabilities, 1 excepted"])
        another = {**tomorrow, "package": "torch"}
        code, lines = audit(server.server_port, [another])
        assert code == 1
        assert "FILE: CVE-2025-69872 of torch is no longer in the database; remove it" in lines


@pytest.mark.slow
def test_an_audit_without_its_exceptions_says_so_in_one_line():
    done = subprocess.run([*AUDIT, "--exceptions", "none.yaml"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "audit: none.yaml: No such file or directory\n")


@pytest.mark.slow
def test_an_audit_that_gets_no_answer_says_so_in_one_line(audit):
    with database() as server:
        port = server.server_port
    code, (line,) = audit(port, [])
    assert code == 69
    assert line.startswith("audit: nothing was checked, as the database did not answer: requests.exceptions.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expires": date(2020, 1, 2), "reviewed": date(2020, 1, 1)}, "CVE-2025-69872 was excepted until 2020-01-02"),
        ({"expires": GOOD["reviewed"] + timedelta(days=400)}, "expires should be a day of the year after reviewed"),
        ({"expires": GOOD["reviewed"]}, "expires should be a day of the year after reviewed"),
        ({"reviewed": "yesterday"}, "reviewed: Input should be a valid date"),
        ({"reason": "fine"}, "reason: String should have at least 40 characters"),
        ({"id": "7"}, "id: String should match pattern"),
        ({"until": 3}, "until: Extra inputs are not permitted"),
    ],
)
def test_an_exception_that_is_malformed_or_over_is_refused_in_one_line(audit, change, message):
    code, (line,) = audit(9, [GOOD | change])
    assert code == 2
    assert line.startswith("audit: FILE: ")
    assert message in line


@pytest.mark.parametrize("checked", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_the_list_of_packages_is_whole_and_the_same_every_time(checkout, checked):
    (checkout.path / ".venv").symlink_to(sys.prefix)
    sbom = checkout.path / "sbom.json"
    command = checkout.run("make", "--dry-run", "--old-file", "tools", "sbom").stdout
    if not checked:  # validation against a schema takes seven seconds
        assert " requirements " in command
        command = command.replace(" requirements ", " requirements --no-validate ")
    checkout.run("sh", "-c", command)
    first = sbom.read_bytes()
    listed = {(one["name"], one["version"], one["purl"]) for one in json.loads(first)["components"]}
    pinned = {(one.name, str(one.specifier)[2:]) for one in constraints()}
    assert listed == {(name, version, f"pkg:pypi/{name}@{version}") for name, version in pinned}
    project = json.loads(first)["metadata"]["component"]
    assert (project["name"], project["version"]) == ("quadrature", "0.1.0")
    assert checkout.run("git", "status", "--porcelain", "sbom.json").stdout == ""
    sbom.unlink()
    checkout.run("sh", "-c", command, TZ="<+14>-14", PYTHONHASHSEED="1")
    assert sbom.read_bytes() == first


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_takes_its_actions_by_commit_and_can_read_and_nothing_else(path):
    text = path.read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())
    longest = 300 if path.name == "nightly.yml" else 60
    assert all(0 < job["timeout-minutes"] <= longest for job in workflow["jobs"].values())
    used = re.findall(r"\buses: *(.*)$", text, re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_the_linter_of_workflows_finds_nothing_and_would():
    """It finds an action without a commit, for which it needs no network."""
    linter = [str(Path(sys.executable).parent / "zizmor"), "--offline", "--quiet"]
    assert subprocess.run([*linter, ".github"], cwd=PROJECT, capture_output=True, check=False).returncode == 0
    loose = re.sub("@[0-9a-f]{40}", "@main", (PROJECT / ".github/workflows/ci.yml").read_text())
    done = subprocess.run([*linter, "-"], input=loose, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "unpinned-uses" in done.stdout


def test_what_dvc_knows_of_files_lies_in_a_folder_that_its_owner_alone_can_open():
    """Tested in this environment, not a new one. It keeps DVC from reading other users' pickles."""
    program = "import os; print(os.environ['DVC_SITE_CACHE_DIR'])"
    bare = {name: value for name, value in os.environ.items() if name != "DVC_SITE_CACHE_DIR"}
    found = subprocess.run([sys.executable, "-c", program], env=bare, capture_output=True, text=True, check=True)
    folder = Path(found.stdout.strip())
    assert folder == Path(sys.prefix) / "dvc"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid == os.getuid()
