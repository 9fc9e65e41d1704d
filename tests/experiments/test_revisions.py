"""Revisions as git has them: names that mean several, git that refuses, other people's files that are no settings."""

import argparse
import json
import os
import shutil
from pathlib import Path

import pytest

from quadrature.commands import compare
from quadrature.experiments.revisions import MAX_FILE_BYTES, metrics_of, read_content
from quadrature.experiments.runs import experiment_names, read_run
from quadrature.runtime.errors import DataError, GitError, ParameterError
from tests.experiments.conftest import FILES, LOCK

pytestmark = pytest.mark.slow

MSE = Path("metrics/test.json")


def compared(capsys, caplog, *arguments):
    """Returns the last column of the table that compare prints, the runs, and the lines that it logs."""
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    caplog.set_level("INFO")
    caplog.clear()
    compare.main(parser.parse_args(arguments))
    return [line.split()[-1] for line in capsys.readouterr().out.splitlines()[2:]], caplog.messages


def test_experiments_of_other_commits_are_told_and_can_be_added(project, capsys, caplog):
    first = project.experiment("slower", 0.6)
    assert compared(capsys, caplog) == (["workspace", "slower"], [])
    project.commit()
    others = ["experiments of another commit are not shown; --all-commits adds them"]
    assert compared(capsys, caplog) == (["workspace"], others)
    assert compared(capsys, caplog, "--all-commits") == (["workspace", "slower"], [])
    assert compared(capsys, caplog, "main") == (["main"], [])

    project.experiment("slower", 0.7)  # as the README has it, at another commit
    assert compared(capsys, caplog) == (["workspace", "slower"], others)
    assert compared(capsys, caplog, "--all-commits") == (["workspace", first, "slower"], [])
    assert compared(capsys, caplog, "--all-commits", "main")[0] == ["main", first, "slower"]
    project.commit()
    assert compared(capsys, caplog)[1] == ["experiments of 2 other commits are not shown; --all-commits adds them"]


RECORDED = LOCK + "    params:\n      params.yaml:\n        model:\n          cell: gru\n        train.seed: 0\n"


def test_a_run_whose_parameters_changed_since_is_left_out_and_the_last_commit_takes_its_place(project, capsys, caplog):
    """Else its metrics would be shown beside parameters that they are not of."""
    project.commit(**{"dvc.lock": RECORDED})
    project.experiment("slower", 0.6)
    assert compared(capsys, caplog) == (["workspace", "slower"], [])
    project.write(**{"params.yaml": FILES["params.yaml"].replace("gru", "gro")})
    told = "workspace has metrics of another run (model.cell changed since); run `dvc repro` there"
    assert compared(capsys, caplog) == (["HEAD", "slower"], [f"left out: {told}"])
    with pytest.raises(DataError) as caught:
        compared(capsys, caplog, "workspace", "slower")
    assert str(caught.value) == told
    project.write(**{"params.yaml": "model: {cell: gru, cell: gru}"})
    assert compared(capsys, caplog)[0] == ["HEAD", "slower"]


def test_a_run_that_ended_between_two_stages_is_left_out(project, capsys, caplog):
    """The new model is there, and the metrics of the last one."""
    model = "    - path: models/model.safetensors\n      md5: {}\n"
    lock = f"{LOCK}    outs:\n{model.format('1b')}  evaluate:\n    deps:\n"
    project.commit(**{"dvc.lock": lock + model.format("1b")})
    assert compared(capsys, caplog) == (["workspace"], [])
    project.write(**{"dvc.lock": lock + model.format("0c")})
    told = (
        "workspace has metrics of another run (evaluate read another models/model.safetensors); run `dvc repro` there"
    )
    assert compared(capsys, caplog) == (["HEAD"], [f"left out: {told}"])


def test_one_experiment_that_cannot_be_read_does_not_hide_the_others(project, capsys, caplog):
    project.experiment("done", 0.6)
    begun = project.git("rev-parse", "HEAD")
    project.branch("torn", **{"metrics/test.json": "{"})
    project.git("update-ref", f"refs/exps/{begun[:2]}/{begun[2:]}/stopped", "torn")
    names, told = compared(capsys, caplog)
    assert names == ["workspace", "done"]
    assert told[0].startswith("left out: metrics/test.json at stopped is not valid JSON")
    project.commit(**{"metrics/test.json": "{"})
    project.git("update-ref", "-d", f"refs/exps/{begun[:2]}/{begun[2:]}/done")
    with pytest.raises(DataError, match=r"^metrics/test\.json is not valid JSON"):
        compared(capsys, caplog)


def test_of_experiments_that_share_a_name_that_of_the_current_commit_is_meant(project):
    first = project.experiment("slower", 0.6)
    project.commit()
    project.experiment("slower", 0.7)
    assert read_run("slower").metrics["mse"] == 0.7
    assert read_run(first).metrics["mse"] == 0.6


def test_a_name_of_experiments_of_other_commits_is_refused_with_their_references(project):
    refs = [project.experiment("slower", 0.6)]
    project.commit()
    refs.append(project.experiment("slower", 0.7))
    project.commit()
    with pytest.raises(ParameterError) as caught:
        read_run("slower")
    assert str(caught.value) == f"'slower' names several revisions; write one in full: {', '.join(sorted(refs))}"


def test_an_experiment_named_as_a_branch_is_listed_by_its_reference(project):
    ref = project.experiment("other", 0.6)
    project.branch("other", **{"metrics/test.json": '{"mse": 0.7}'})
    assert experiment_names() == ([ref], 0)
    assert read_run("other").metrics["mse"] == 0.7


def test_a_branch_that_only_a_remote_has_is_found_as_dvc_finds_it(project):
    commit = project.git("rev-parse", "HEAD")
    project.git("update-ref", "refs/remotes/origin/feature/one", commit)
    assert metrics_of(MSE, "feature/one") == metrics_of(MSE, "origin/feature/one") == metrics_of(MSE)
    with pytest.raises(ParameterError):
        metrics_of(MSE, "one")
    project.git("update-ref", "refs/remotes/upstream/two", commit)
    project.git("update-ref", "refs/remotes/origin/two", project.commit())
    with pytest.raises(ParameterError, match=r"^'two' names several .*: refs/remotes/origin/two, refs/remotes/up"):
        metrics_of(MSE, "two")


def test_a_queue_that_runs_is_never_seen_half_done(project):
    """DVC's other references are no experiments, and neither is its folder of temporary copies."""
    commit = project.git("rev-parse", "HEAD")
    for name in ("celery/stash", "celery/failed", "stash", "exec/EXEC_BASELINE", "apply/ORIG_HEAD", "temp/ab"):
        project.git("update-ref", f"refs/exps/{name}", commit)
    (project.path / ".dvc/tmp/exps/run/0123").mkdir(parents=True)
    project.experiment("done-10", 0.6)
    project.experiment("zz", 0.6)
    project.experiment("done-9", 0.6)
    assert experiment_names() == (["done-9", "done-10", "zz"], 0)


def damage_tree(project):
    path = project.object("HEAD^{tree}")
    path.write_bytes(path.read_bytes()[:20])


def lose_commit(project):
    project.object("HEAD").unlink()


def damage_config(project):
    with (project.path / ".git/config").open("a") as file:
        file.write("[core\n")


def point_nowhere(project):
    shutil.rmtree(project.path / ".git")
    (project.path / ".git").write_text("gitdir: /nowhere\n")


HARMS = {
    "damaged object": (damage_tree, r"is corrupt; `git fsck`"),
    "lost commit": (lose_commit, r"^git refuses: it has no commit [0-9a-f]{40}, which HEAD names"),
    "malformed configuration": (damage_config, r"^git refuses: bad config line \d+ in file \.git/config; "),
    "someone else's folder": (
        lambda _: os.environ.update(GIT_TEST_ASSUME_DIFFERENT_OWNER="1"),
        r"^git refuses: detected dubious ownership .*; run `git config --global --add safe\.directory .*` if",
    ),
    "a .git that points nowhere": (point_nowhere, r"^git refuses: not a git repository: /nowhere; "),
    "a source archive": (
        lambda project: shutil.rmtree(project.path / ".git"),
        r"^git refuses: not a git repository .*`dvc config core.no_scm true`",
    ),
    "no git": (lambda _: os.environ.update(PATH="/nowhere"), r"^git does not start .*; install git"),
}


@pytest.mark.parametrize("kind", HARMS)
def test_a_failure_of_git_is_told_in_its_words_and_never_taken_for_an_answer(project, monkeypatch, kind):
    for name in ("PATH", "GIT_TEST_ASSUME_DIFFERENT_OWNER"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that it is set back
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    harm, told = HARMS[kind]
    harm(project)
    for answer in (lambda: metrics_of(MSE, "HEAD"), lambda: metrics_of(Path("none.json"), "HEAD")):
        with pytest.raises(GitError, match=told) as caught:
            answer()
        assert caught.value.exit_code == 69
        assert "\n" not in str(caught.value)
    assert metrics_of(MSE)["mse"] == 0.5


@pytest.mark.parametrize("index", [b"garbage", None])
def test_a_damaged_index_is_not_needed(project, index):
    """Where DVC reads a revision, a thread of its own died of a truncated index, and nothing ended the wait for it."""
    project.experiment("done", 0.6)
    path = project.path / ".git/index"
    path.write_bytes(path.read_bytes()[:-30] if index is None else index)
    assert read_run("HEAD").metrics["mse"] == 0.5
    assert experiment_names() == (["done"], 0)


def nested(levels, brackets):
    return brackets[0] * levels + brackets[1] * levels


BOMB = "a: &a [1]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))  # noqa: B905
STRANGE = {
    "alias bomb": ("params.yaml", BOMB, "line 1: write the value itself"),
    "levels": ("params.yaml", f"a: {nested(5000, '[]')}", "is nested more than 16 levels"),
    "digits": ("params.yaml", f"a: {'9' * 5000}", "is not valid YAML"),
    "key twice": ("params.yaml", "a: 1\na: 2\n", "is in params.yaml at strange twice"),
    "no mapping": ("params.yaml", "- a\n", "it should hold sections"),
    "large": ("dvc.lock", "#" * (2**20 + 1), "holds more than 1,048,576 bytes"),
    "levels of a lock": ("dvc.lock", f"a: {nested(5000, '{}')}", "is not valid YAML"),
    "levels of metrics": ("metrics/test.json", nested(50_000, "[]"), "is nested more than 16 levels deep"),
    "some levels of metrics": ("metrics/test.json", '{"a": ' * 17 + "1" + "}" * 17, "is nested more than 16 levels"),
    "digits of a metric": ("metrics/test.json", f'{{"a": {"9" * 5000}}}', "is not valid JSON"),
    "large metrics": ("metrics/train.json", f'{{"a": {"[1]," * 2**19}}}', "holds more than 1,048,576 bytes"),
    "no object": ("metrics/train.json", "[1]", "is not a JSON object"),
    "no text": ("metrics/train.json", "\udcff", "is not UTF-8 text"),
    "empty": ("metrics/train.json", "{}", "strange has an empty metrics/train.json"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_other_peoples_files_are_read_as_strictly_as_ones_own(project, kind):
    file, text, told = STRANGE[kind]
    (project.path / file).write_bytes(text.encode(errors="surrogateescape"))
    if kind not in ("key twice", "empty"):  # their lines name the revision
        with pytest.raises(DataError) as caught:
            read_run("workspace")
        assert told in str(caught.value)
    project.git("stash", "--quiet")
    project.git("branch", "strange", "stash@{0}")
    with pytest.raises(DataError) as caught:
        read_run("strange")
    assert told in str(caught.value)
    assert str(caught.value).startswith((f"{file} at strange", "strange has", "a is in"))


def test_numbers_beyond_a_float_are_compared_and_shown(project, capsys, caplog):
    huge = "9" * 400
    files = {"params.yaml": f"model: {{cell: {huge}}}\n", "metrics/test.json": f'{{"mse": {huge}, "excess": 1}}'}
    project.branch("huge", **files)
    assert compared(capsys, caplog, "main", "huge", "--markdown")[0]
    assert compared(capsys, caplog, "main", "huge") == (["huge", "main"], [])  # main has no excess


def test_a_file_that_is_none_or_too_large_is_refused_before_it_is_read(project):
    os.mkfifo("metrics/pipe.json")
    Path("large").write_bytes(bytes(MAX_FILE_BYTES + 1))
    project.commit()
    for revision, where in ((None, ""), ("HEAD", " at HEAD")):
        with pytest.raises(DataError, match=f"^metrics{where} is not a file"):
            read_content(Path("metrics"), revision)
        with pytest.raises(DataError, match=f"^large{where} holds .* bytes; is it the right file"):
            read_content(Path("large"), revision)
    with pytest.raises(DataError, match=r"^metrics/pipe.json is not a file"):
        metrics_of(Path("metrics/pipe.json"))
    assert json.loads(read_content(MSE, "HEAD"))["mse"] == 0.5
