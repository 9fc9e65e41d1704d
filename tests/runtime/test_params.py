"""The strict loader: every mistake in one message, by dotted path, and values that DVC reads alike."""

import pytest
from dvc.utils.serialize import load_yaml

from quadrature.runtime.errors import ParameterError
from quadrature.runtime.params import load_params
from quadrature.runtime.settings import Section
from stages.check import Params as CheckStage
from stages.evaluate import Params as EvaluateStage
from stages.generate import Params as GenerateStage
from stages.plot import Params as PlotStage
from stages.report import Params as ReportStage
from stages.targets import Params as TargetsStage
from stages.train import Params as TrainStage
from tests.checkout import OWN_PARAMETERS, PROJECT

STAGES = {
    "check": CheckStage,
    "generate": GenerateStage,
    "targets": TargetsStage,
    "train": TrainStage,
    "evaluate": EvaluateStage,
    "plot": PlotStage,
    "report": ReportStage,
}
TEXT = OWN_PARAMETERS.read_text()


def refusal(tmp_path, text, model=TrainStage):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError) as caught:
        load_params(model, path)
    assert caught.value.exit_code == 2
    return [line.replace(str(path), "params.yaml") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("path", [PROJECT / "params.yaml", OWN_PARAMETERS], ids=["in the tree", "the project's"])
def test_the_projects_own_parameters_are_accepted_by_every_stage(path):
    for model in STAGES.values():
        load_params(model, path)


def test_a_misspelt_key_is_named_once_with_its_right_spelling(tmp_path):
    assert refusal(tmp_path, TEXT.replace("  epochs:", "  epoch:")) == [
        "train.epoch in params.yaml is not a parameter; did you mean train.epochs?"
    ]


def test_a_key_that_is_too_long_for_a_name_is_quoted_without_its_middle(tmp_path):
    long = f"epochs{'-' * 900}{{}}epochs"
    lines = refusal(tmp_path, TEXT.replace("  epochs:", f"  {long.format(1)}: 1\n  {long.format(2)}: 2\n  epochs:"))
    assert [line.partition(" in params.yaml ")[0] for line in lines] == [
        f"train.epochs{'-' * 24}...{'-' * 23}{number}epochs" for number in (1, 2)
    ]


def test_a_misspelt_section_is_named_once_with_its_right_spelling(tmp_path):
    assert refusal(tmp_path, TEXT.replace("\ntrain:", "\ntrian:")) == [
        "trian in params.yaml is not a parameter; did you mean train?"
    ]


def test_a_misspelt_section_of_another_stage_is_named_too(tmp_path):
    assert refusal(tmp_path, TEXT.replace("\nplot:", "\nplots:")) == [
        "plots in params.yaml is not a parameter; did you mean plot?"
    ]


def test_a_misspelt_choice_is_named_with_its_right_spelling(tmp_path):
    assert refusal(tmp_path, TEXT.replace("cell: gru", "cell: gur")) == [
        "model.cell in params.yaml is the text 'gur'; did you mean gru?"
    ]


def test_a_strange_choice_is_told_the_legal_ones(tmp_path):
    assert refusal(tmp_path, TEXT.replace("schedule: onecycle", "schedule: 7")) == [
        "train.schedule in params.yaml is 7; choose one of constant, cosine, onecycle"
    ]


def test_every_mistake_is_named_in_one_error(tmp_path):
    text = (
        TEXT.replace("  epochs: 32", "  epochs: 0\n  epochz: 1")
        .replace("num_layers: 1", "num_layers: 1.5")
        .replace("  bias: true ", "  # ")
        .replace("cell: gru", "cell: gruu")
        .replace("bidirectional: false", "bidirectional: no")
        .replace("  shuffle_windows:", "  threads: 2\n  shuffle_windows:")
        .replace("learning_rate: 0.03", "learning_rate: .nan")
        .replace("batch_size: 256", "batch_size: 2097152")
        .replace("dropout: 0.0", "dropout: 1.5")
        .replace("nonlinearity: tanh", "nonlinearity: [relu]")
    )
    lines = refusal(tmp_path, text)
    for expected in (
        "train.threads is in params.yaml twice",
        "train.epochz in params.yaml is not a parameter; did you mean train.epochs?",
        "train.epochs in params.yaml is 0; it should be greater than or equal to 1",
        "model.num_layers in params.yaml is 1.5; it should be a valid integer",
        "model.bias is missing from params.yaml",
        "model.cell in params.yaml is the text 'gruu'; did you mean gru?",
        "model.bidirectional in params.yaml is the text 'no'; it should be a valid boolean",
        "train.learning_rate in params.yaml is nan; it should be a finite number",
        "train.batch_size in params.yaml is 2097152; it should not be above generate.windows.train, 131072",
        "model.dropout in params.yaml is 1.5; it should be less than 1",
        "model.nonlinearity in params.yaml is ['relu']; choose one of tanh, relu",
    ):
        assert [line for line in lines if line.startswith(expected)], (expected, lines)
    assert len(lines) == 11


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "frequency: {low: 0.5, high: 2.0}",
            "frequency: {low: 3.0, high: 2.0}",
            "generate.frequency.high in params.yaml is 2.0; it should not be below low, 3.0",
        ),
        ("length: 10 ", "length: 1 ", "generate.length in params.yaml is 1; it should be greater than or equal to 2"),
        ("noise_std: 0.1", "noise_std: .inf", "generate.noise_std in params.yaml is inf; it should be a finite number"),
        ("noise_std: 0.1", "noise_std: true", "generate.noise_std in params.yaml is true; it should be a valid number"),
        (
            "harmonics: []",
            "harmonics: [0.1, -0.1]",
            "generate.harmonics.1 in params.yaml is -0.1; it should be 0, or from 1e-30 to 1e+30",
        ),
        ("harmonics: []", "harmonics: 0.1", "generate.harmonics in params.yaml is 0.1; it should be a valid list"),
        (
            "color: 0.0",
            "color: 2.5",
            "generate.noise_color in params.yaml is 2.5; it should be less than or equal to 2",
        ),
        (
            "span: 3.141592653589793",
            "span: 1_000.0",
            "generate.span in params.yaml is the text '1_000.0'; it should be",
        ),
        (
            "length: 10 ",
            "length: 2048 ",
            "generate.length in params.yaml is 2048; times shard_windows it makes 134,217,728 samples",
        ),
        (
            "test: 8192}  # windows in each split\n  shard_windows: 65536 ",
            "test: 20000000}\n  shard_windows: 1 ",
            "generate.shard_windows in params.yaml is 1; it makes 20,000,000 shards of windows.test",
        ),
        (
            "frequency: {low: 0.5, high: 2.0}",
            "frequency: {low: 0.5, high: 1.0e+12}",
            "generate.frequency in params.yaml is {'high': 1000000000000.0, 'low': 0.5}; a window then turns by",
        ),
        (
            "rate: null",
            "rate: 1000.0",
            "generate.rate in params.yaml is 1000.0; span is set, too; make one of them null",
        ),
        (
            "span: 3.141592653589793",
            "span: null",
            "generate.rate in params.yaml is null; so is span; set one of them",
        ),
        (
            "rate: null",
            "rate: 0.0",
            "generate.rate in params.yaml is 0.0; it should be from 1e-30 to 1e+30",
        ),
        (
            "amplitude: {low: 1.0,",
            "amplitude: {low: 1.0e-200,",
            "generate.amplitude.low in params.yaml is 1e-200; it should be 0, or from 1e-30 to 1e+30",
        ),
        (
            "span: 3.141592653589793",
            "span: 1.0e-200",
            "generate.span in params.yaml is 1e-200; it should be from 1e-30 to 1e+30",
        ),
    ],
)
def test_values_out_of_range_are_refused(tmp_path, old, new, expected):
    assert old in TEXT
    (line,) = refusal(tmp_path, TEXT.replace(old, new), GenerateStage)
    assert line.startswith(expected)


def test_a_batch_larger_than_the_training_split_is_refused(tmp_path):
    assert refusal(tmp_path, TEXT.replace("train: 131072", "train: 100")) == [
        "train.batch_size in params.yaml is 256; it should not be above generate.windows.train, 100"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "device is missing"),
        ("- 1\n- 2\n", "params.yaml holds [1, 2]"),
        ("train: {epochs: 1", "params.yaml is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "params.yaml is not valid YAML"),
        ("a: !!python/object/apply:os.system [true]\n", "params.yaml, line 1: write the value itself"),
        ("train:\n  epochs: !!int 012\n", "params.yaml, line 2: write the value itself"),
        ("model: {bias: !!bool y}\n", "params.yaml, line 1: write the value itself"),
        ("extra: &a\n  b: *a\n", "params.yaml, line 1: write the value itself"),
        ("device:\n  a: 1\n", "device in params.yaml is {'a': 1}; choose one of auto, cpu, cuda, mps"),
        ("train:\n", "train in params.yaml is null; it should be a section with the parameters seed, epochs"),
        ('"a\\nb": 1\n', "a b in params.yaml is not a parameter"),
        ("[" * 5000, "params.yaml is not valid YAML"),
        (f"a: {'[' * 20}{']' * 20}", "params.yaml is not valid YAML: line 1 is nested more than 16 levels deep"),
        ("a: " + "9" * 5000, "params.yaml is not valid YAML"),
    ],
)
def test_what_is_no_table_of_parameters_is_refused(tmp_path, text, expected):
    lines = refusal(tmp_path, text)
    assert [line for line in lines if line.startswith(expected)], lines


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("dropout: 0.0", "dropout: 0.5", "model.dropout in params.yaml is 0.5; it acts between layers"),
        (
            "nonlinearity: tanh",
            "nonlinearity: relu",
            "model.nonlinearity in params.yaml is the text 'relu'; cell gru has",
        ),
        ("cell: gru", "cell: GRU", "model.cell in params.yaml is the text 'GRU'; did you mean gru?"),
    ],
)
def test_a_combination_that_makes_no_sense_is_refused(tmp_path, old, new, expected):
    (line,) = refusal(tmp_path, TEXT.replace(old, new))
    assert line.startswith(expected)


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="is missing; run from the project's root"):
        load_params(TrainStage, tmp_path / "params.yaml")
    with pytest.raises(ParameterError, match=r"cannot be read \(Is a directory\)"):
        load_params(TrainStage, tmp_path)
    (tmp_path / "params.yaml").write_bytes(b"train: \xff\xfe\n")
    with pytest.raises(ParameterError, match="not valid YAML"):
        load_params(TrainStage, tmp_path / "params.yaml")


class Anything(Section):
    evaluate: object


SCALARS = """
1 -1 +1 0 -0 012 0o12 0x1f 0b11 1_000 09 1e3 1E3 1e-3 1e+3 1.e3 .5 -.5 .5e3 .5e-3 0.5e3 1. 01.5 1_0.5 1e400 1.5.2 +.5
.inf -.inf +.inf .nan .NaN inf nan true True TRUE tRue false yes no on off y n Yes ON null Null ~ none
2001-01-01 12:30 1:30.5 1e 1e- e3 - + . = << !!int_3 0.1 1e-05 3.141592653589793 2.5E-7 --1 1-1 '1' "1.5" gru
""".split()  # noqa: SIM905, legible as it is


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_is_read_as_dvc_reads_it_or_is_text_that_no_number_or_boolean_accepts(tmp_path, scalar):
    path = tmp_path / "params.yaml"
    path.write_text(f"evaluate: {scalar}\n")
    try:
        ours = load_params(Anything, path).evaluate
    except ParameterError:
        return  # refused: nothing passes on which the two could differ
    if not isinstance(ours, str):
        assert repr(ours) == repr(load_yaml(str(path))["evaluate"])


@pytest.mark.parametrize(("scalar", "value"), [("1e-3", 0.001), (".5", 0.5), ("1e0", 1.0), ("2", 2.0), ("1.", 1.0)])
def test_numbers_that_yaml_1_1_reads_as_text_are_numbers(tmp_path, scalar, value):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("learning_rate: 0.03", f"learning_rate: {scalar}").replace("clip: 1.0", "clip: null"))
    params = load_params(TrainStage, path).train
    assert (params.learning_rate, params.gradient_clip) == (value, None)


@pytest.mark.parametrize("scalar", ["012", "on", "yes", "1_000", "0x10", "12:30", ".5e3", "2001-01-01"])
def test_scalars_on_which_parsers_differ_are_refused_as_numbers_and_as_booleans(tmp_path, scalar):
    for old in ("hidden_size: 64", "bias: true", "dropout: 0.0"):
        (line,) = refusal(tmp_path, TEXT.replace(old, f"{old.partition(':')[0]}: {scalar}"))
        assert f"is the text '{scalar}'" in line


def test_sections_that_a_stage_does_not_name_are_not_read(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.partition("\nplot:")[0] + "\nplot: nonsense\n")
    load_params(TrainStage, path)
    with pytest.raises(ParameterError, match=r"plot in .* is the text 'nonsense'"):
        load_params(PlotStage, path)
