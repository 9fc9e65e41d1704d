import json

import pytest

from quadrature.experiments import revisions
from tests.checkout import git

LOCK = "schema: '2.0'\nstages:\n  train:\n    deps:\n    - path: quadrature/training\n      md5: 0a.dir\n"
FILES = {
    "params.yaml": "model:\n  cell: gru\ntrain:\n  seed: 0\n",
    "dvc.lock": LOCK,
    "metrics/test.json": json.dumps({"mse": 0.5, "excess": None}),
    "metrics/train.json": json.dumps({"epochs": 2}),
}


class Project:
    """A git repository with the files of a run, and experiments as DVC records them; no DVC was run."""

    def __init__(self, path):
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "A Tester")
        self.git("config", "user.email", "tester@example.org")
        self.commit(**FILES)

    def git(self, *arguments):
        return git(*arguments, cwd=self.path).strip()

    def write(self, **files):
        for name, text in files.items():
            (self.path / name).parent.mkdir(exist_ok=True)
            (self.path / name).write_text(text)

    def commit(self, **files):
        """Commits files, or nothing, and returns the commit. A name's commit is then looked up as in a new process."""
        revisions._commit_of.cache_clear()
        self.write(**files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "state")
        return self.git("rev-parse", "HEAD")

    def branch(self, name, **files):
        """Commits files on a new branch of main."""
        self.git("checkout", "--quiet", "-b", name, "main")
        self.commit(**files)
        self.git("checkout", "--quiet", "main")

    def experiment(self, name, mse):
        """Records an experiment of the current commit, on no branch, and returns its reference."""
        begun = self.git("rev-parse", "HEAD")
        self.git("checkout", "--quiet", "--detach")
        params = FILES["params.yaml"] + f"  learning_rate: {mse}\n"
        commit = self.commit(**{"params.yaml": params, "metrics/test.json": json.dumps({"mse": mse})})
        self.git("checkout", "--quiet", "main")
        ref = f"refs/exps/{begun[:2]}/{begun[2:]}/{name}"
        self.git("update-ref", ref, commit)
        return ref

    def object(self, name):
        """Returns the file of an object."""
        found = self.git("rev-parse", name)
        path = self.path / ".git/objects" / found[:2] / found[2:]
        path.chmod(0o644)
        return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project as working directory."""
    project = Project(tmp_path / "project")
    monkeypatch.chdir(project.path)
    return project
