"""A search: its ranges, its memory in experiments, and trials that do not depend on where it was stopped."""

import json

import pytest

from quadrature.commands.tune import refuse_moved_head
from quadrature.experiments.revisions import commit_of
from quadrature.experiments.search import parse_ranges, recall, suggest
from quadrature.runtime.errors import ParameterError, QuadratureError
from tests.experiments.conftest import FILES

RANGES = ("train.learning_rate=0.001..0.1", "model.hidden_size=16..64", "model.cell=gru,lstm")


def test_a_range_is_searched_by_its_logarithm_if_it_is_wide():
    rate, size, cell = parse_ranges(RANGES).values()
    assert (rate.low, rate.high, rate.log) == (0.001, 0.1, True)
    assert (size.low, size.high, size.log, type(size).__name__) == (16, 64, False, "IntDistribution")
    assert cell.choices == ("gru", "lstm")
    (mixed,) = parse_ranges(["train.gradient_clip=null,1,1e-3,true"]).values()
    assert mixed.choices == (None, 1, 0.001, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train.learning_rate", "is not a range; write train.learning_rate=0.01..0.1"),
        ("train.learning_rate=", "is not a range; write train.learning_rate=0.01..0.1"),
        ("train.learning_rate=0.1..0.01", "is not a range; write its lower end first"),
        ("train.learning_rate=1..1", "is not a range; write its lower end first"),
        ("train.learning_rate=low..high", "is not a range; write its lower end first"),
        ("model.bias=false..true", "is not a range; write its lower end first"),
        ("train.learning_rate=0..1e400", "is not a range; write its lower end first"),
        ("train.learning_rate=-.inf..0", "is not a range; write its lower end first"),
        ("model.cell=gru,", "has an empty value; write null for none"),
        ("model.cell=gru,[", "has a value that params.yaml cannot hold: ["),
    ],
)
def test_another_text_is_refused(text, told):
    with pytest.raises(ParameterError) as caught:
        parse_ranges([text])
    assert str(caught.value).startswith(f"{text} {told}")


def test_a_parameter_has_one_range():
    with pytest.raises(ParameterError, match=r"^model\.cell is given 2 times; give it one range$"):
        parse_ranges(["model.cell=gru,lstm", "model.num_layers=1..2", "model.cell=rnn,gru"])


def test_a_search_ends_where_a_commit_is_made_meanwhile(project):
    begun = commit_of("HEAD")
    refuse_moved_head()
    project.git("commit", "--quiet", "--allow-empty", "--message", "meanwhile")
    with pytest.raises(QuadratureError, match=f"^HEAD has moved from {begun[:7]} to .{{7}}; go back to continue"):
        refuse_moved_head()


def finish(project, name, rate, error, cell="gru"):
    """Records a finished experiment with a learning rate and a validation error."""
    begun = project.git("rev-parse", "HEAD")
    project.git("checkout", "--quiet", "--detach")
    params = FILES["params.yaml"].replace("gru", cell) + f"  learning_rate: {rate}\n"
    commit = project.commit(**{"params.yaml": params, "metrics/train.json": json.dumps({"validation_mse": error})})
    project.git("checkout", "--quiet", "main")
    project.git("update-ref", f"refs/exps/{begun[:2]}/{begun[2:]}/{name}", commit)


def test_the_experiments_of_this_commit_are_the_searchs_memory(project):
    finish(project, "tune-1", 0.02, 9.0)
    project.commit()
    for name, error in (("tune-10", 0.3), ("tune-9", 0.2), ("tune-11", None), ("tune-x", 0.1), ("other-1", 0.1)):
        finish(project, name, 0.01, error)
    memory = recall("tune", "validation_mse", parse_ranges(["train.learning_rate=0.005..0.05"]))
    assert [(trial.number, trial.run.name, trial.value) for trial in memory.trials] == [
        (9, "tune-9", 0.2),
        (10, "tune-10", 0.3),
    ]
    assert memory.best.run.name == "tune-9"
    assert memory.last == 11  # it has no error, and its name is taken
    elsewhere = recall("tune", "validation_mse", parse_ranges(["train.learning_rate=0.2..0.3"]))
    assert (elsewhere.trials, elsewhere.last) == ([], 11)


@pytest.mark.slow
def test_a_suggestion_depends_on_the_finished_trials_and_the_number_alone(project):
    ranges = parse_ranges(["train.learning_rate=0.001..0.1", "model.cell=gru,lstm"])
    for number in range(1, 13):
        found = recall("tune", "validation_mse", ranges).trials
        params = suggest(ranges, found, number)
        assert params == suggest(ranges, found, number)
        assert 0.001 <= params["train.learning_rate"] <= 0.1
        assert params["train.learning_rate"] == float(f"{params['train.learning_rate']:.3g}")
        finish(
            project,
            f"tune-{number}",
            params["train.learning_rate"],
            abs(params["train.learning_rate"] - 0.03),
            params["model.cell"],
        )
    found = recall("tune", "validation_mse", ranges).trials
    assert len({trial.value for trial in found}) > 6
