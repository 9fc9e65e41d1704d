"""Each member of the recurrent family runs through the stages, and gives the same bytes twice."""

import itertools
import json

import pytest

from tests.forked_python.server import forking

FAMILY = [*itertools.product(("rnn", "lstm", "gru"), ("sequence", "stepwise"), ("last", "every"))]
BY_DVC = ("lstm", "stepwise", "every")


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """A copy of the finished checkout in which one network after another is tried.

    Without noise there is no floor, which is most of an evaluation's work and does not depend on the network.
    """
    project = finished.copy(tmp_path_factory.mktemp("family") / "checkout")
    project.set(**{"generate.noise_std": 0.0})
    project.stage("generate")
    project.stage("targets")
    return project


def choose(project, cell, execution, head):
    project.set(**{"model.cell": cell, "model.execution": execution, "model.head": head})


def is_better_than_zero(project):
    test = json.loads((project.path / "metrics/test.json").read_text())
    return test["mse"] < test["baselines"]["zero"]


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "execution", "head"), FAMILY)
def test_each_member_of_the_family_runs_and_twice_gives_the_same_bytes(project, cell, execution, head):
    choose(project, cell, execution, head)
    for name in ("train", "evaluate", "report"):
        project.stage(name)
    golden = project.digests()
    assert is_better_than_zero(project)
    for name in ("train", "evaluate"):
        project.stage(name)
    assert project.digests() == golden


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "execution", "head"),
    [pytest.param(*member, marks=() if member == BY_DVC else pytest.mark.nightly) for member in FAMILY],
)
def test_so_it_does_through_the_pipeline_and_going_back_runs_nothing(finished, again, cell, execution, head):
    choose(forking(again), cell, execution, head)
    expected = ["train", "evaluate", "plot", "report"] if (cell, execution, head) != ("gru", "sequence", "last") else []
    if head != "last":
        expected.insert(0, "targets")
    assert again.repro() == expected
    golden = again.digests()
    assert is_better_than_zero(again)
    for name in ("train", "evaluate"):
        again.stage(name)
    assert again.digests() == golden
    again.run("git", "checkout", "--quiet", "params.yaml")
    assert again.repro() == []
    assert again.digests() == finished.digests()


@pytest.mark.slow
def test_training_with_dropout_gives_the_same_bytes_in_every_process_and_depends_on_the_seed(project):
    project.set(**{"model.num_layers": 2, "model.dropout": 0.5})
    models = []
    for seed in (0, 0, 1):
        project.set(**{"train.seed": seed})
        project.stage("train")
        models.append(project.digests()["metrics/history.csv"])
    assert models[0] == models[1] != models[2]
