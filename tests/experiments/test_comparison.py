"""Comparison of runs: which runs are one setting, which are paired, and each figure against a plain calculation."""

import datetime
import json
import math

import pytest

from quadrature.commands.compare import described, to_json
from quadrature.experiments import curves
from quadrature.experiments.comparison import LARGEST, compare, metrics_found, short_names
from quadrature.experiments.dots import MAX_ROWS, draw, interval
from quadrature.experiments.runs import Run
from quadrature.experiments.setting_tables import as_markdown, as_text, by_task
from quadrature.experiments.text_tables import markdown_table, text_table
from quadrature.reporting.page import with_error
from quadrature.runtime.errors import ParameterError


def run(name, mse=None, code="abc", **params):
    tree = {"model.cell": "gru", "train.seed": 0, "generate.seed": 0} | {
        key.replace("__", "."): value for key, value in params.items()
    }
    return Run(name, code, tree, {} if mse is None else {"mse": mse})


GRU = [run(f"gru-{seed}", mse, train__seed=seed) for seed, mse in enumerate((3.0, 5.0, 4.0))]
LSTM = [run(f"lstm-{seed}", mse, train__seed=seed, model__cell="lstm") for seed, mse in enumerate((2.0, 3.0, 3.5))]


def test_a_setting_is_all_but_the_seeds_and_the_best_comes_first():
    lstm, gru = compare([*GRU, *LSTM], ["mse"], "gru-1")
    assert [each.name for each in lstm.runs] == ["lstm-0", "lstm-1", "lstm-2"]
    assert [each.name for each in gru.runs] == ["gru-0", "gru-1", "gru-2"]
    assert (dict(lstm.varied), dict(gru.varied)) == ({"model.cell": "lstm"}, {"model.cell": "gru"})
    assert (lstm.is_reference, gru.is_reference) == (False, True)


def test_figures_are_means_and_deviations_over_seeds_and_differences_are_paired_by_seed():
    lstm, gru = compare([*GRU, *LSTM], ["mse"], "gru-0")
    assert gru.figures["mse"] == (4.0, 1.0, 3)
    differences = [-1.0, -2.0, -0.5]
    mean = sum(differences) / 3
    error = math.sqrt(sum((each - mean) ** 2 for each in differences) / 2 / 3)
    assert lstm.differences["mse"] == pytest.approx((mean, error, 3))
    assert gru.differences == {}


def test_a_parameter_may_be_a_date_as_yaml_has_it():
    dated = run("dated", 1.0, train__since=datetime.date(2024, 1, 1))
    settings = compare([GRU[0], dated], ["mse"], "gru-0")
    (table,) = by_task(settings, ["mse"])
    assert "2024-01-01" in [cell for row in table.rows for cell in row]
    assert "2024-01-01" in to_json(settings, ["mse"])


def test_json_has_null_for_a_metric_that_is_no_number():
    text = to_json(compare([run("lost", math.nan), run("found", 1.0, train__seed=1)], ["mse"], "found"), ["mse"])
    (setting,) = json.loads(text, parse_constant=pytest.fail)["settings"]  # NaN is not JSON
    assert setting["metrics"]["mse"]["runs"] == {"lost": None, "found": 1.0}


def test_only_seeds_that_both_settings_have_are_paired():
    lstm, _ = compare([*GRU[:2], *LSTM[1:]], ["mse"], "gru-0")
    assert lstm.name == "lstm-1"
    assert lstm.differences["mse"] == (-2.0, None, 1)
    assert lstm.figures["mse"].n == 2
    lstm, _ = compare([GRU[2], LSTM[0]], ["mse"], "gru-2")
    assert lstm.differences["mse"] == (None, None, 0)


def test_data_drawn_with_another_seed_is_another_pair():
    other = run("other", 1.0, model__cell="lstm", generate__seed=7)
    setting, _ = compare([GRU[0], other], ["mse"], "gru-0")
    assert setting.differences["mse"].n == 0


def test_the_same_run_told_twice_counts_once():
    (setting,) = compare([GRU[0], run("again", 3.0)], ["mse"], "gru-0")
    assert [each.name for each in setting.runs] == ["gru-0"]
    assert (dict(setting.varied), setting.figures["mse"]) == ({}, (3.0, None, 1))


def test_runs_of_other_code_are_another_setting_that_the_code_tells():
    new, old = compare([run("old", 3.0), run("new", 2.0, code="def")], ["mse"], "old")
    assert (dict(new.varied), dict(old.varied)) == ({"code": "def"}, {"code": "abc"})
    assert new.differences["mse"].mean == -1.0


def test_a_parameter_that_some_runs_lack_is_told():
    _, old = compare([run("old", 3.0), run("new", 2.0, model__head="last")], ["mse"], "old")
    assert dict(old.varied) == {"model.head": None}


def test_values_of_different_types_are_different_settings():
    values = [1, True, 1.0, "1", None, "None", [1], [True], {}]
    runs = [run(f"run-{index}", float(index), train__clip=value) for index, value in enumerate(values)]
    settings = compare([*runs, run("missing", 9.0)], ["mse"], "run-0")
    assert [setting.name for setting in settings] == [*(f"run-{index}" for index in range(len(values))), "missing"]
    assert [repr(setting.varied["train.clip"]) for setting in settings] == [*map(repr, values), "None"]
    assert all(setting.differences["mse"].n == 1 for setting in settings[1:])


def test_settings_with_the_same_mean_keep_the_order_of_their_runs():
    runs = [run(f"run-{size}", 1.0, model__hidden_size=size) for size in (8, 2, 4)]
    assert [setting.name for setting in compare(runs, ["mse"], "run-2")] == ["run-8", "run-2", "run-4"]


def test_the_reference_may_be_a_run_told_twice():
    gru, lstm = compare([GRU[0], run("again", 3.0), run("lstm", 4.0, model__cell="lstm")], ["mse"], "again")
    assert (gru.name, gru.is_reference) == ("gru-0", True)
    assert lstm.differences["mse"].mean == 1.0


@pytest.mark.parametrize(
    "value", [None, math.nan, math.inf, 1e301, "text", True, [3.0], pytest.param(10**400, id="huge")]
)
def test_a_run_without_the_figure_is_left_out_of_it_and_comes_last(value):
    odd = run("odd", value, model__cell="rnn")
    odd = odd._replace(metrics={"mse": value})
    *_, last = compare([GRU[0], odd], ["mse"], "gru-0")
    assert last.name == "odd"
    assert last.figures["mse"] == (None, None, 0)
    assert last.differences["mse"] == (None, None, 0)
    (table,) = by_task(compare([GRU[0], odd], ["mse"], "gru-0"), ["mse"])
    assert table.rows[-1][table.header.index("mse")] == "none"


def test_a_metric_that_no_run_has_is_refused_with_those_there_are():
    with pytest.raises(ParameterError, match="no run has the metric mes; there are mse"):
        compare(GRU, ["mes"], "gru-0")


def noisy(name, mse, excess, noise=0.2, **params):
    found = run(name, mse, generate__noise_std=noise, **params)
    return found._replace(metrics={"mse": mse, "excess": excess})


TASKS = [
    noisy("noisy-lstm", 0.012, 0.05, model__cell="lstm"),
    noisy("noisy", 0.011, 0.03),
    noisy("clean", 0.003, 0.02, noise=0.1),
    noisy("clean-rnn", 0.0031, 0.04, noise=0.1, model__cell="rnn"),
]


def test_runs_of_other_tasks_are_never_ranked_by_error_in_one_list():
    settings = compare(TASKS, ["mse", "excess"], "clean")
    assert [each.name for each in settings] == ["clean", "clean-rnn", "noisy", "noisy-lstm"]
    assert [each.differences.keys() for each in settings] == [set(), {"mse", "excess"}, {"excess"}, {"excess"}]
    first, second = by_task(settings, ["mse", "excess"])
    assert (first.title, second.title) == ("noise_std 0.1", "noise_std 0.2")
    assert first.header == second.header == ["cell", "n", "mse", "difference", "excess (%)", "runs"]
    assert first.rows[0] == ["gru", "1", "0.003", "reference", "2", "clean"]
    assert [row[3] for row in second.rows] == ["another task"] * 2
    assert json.loads(to_json(settings, ["mse"]))["settings"][2]["metrics"]["mse"]["difference"] is None
    assert [each.name for each in curves.choose(settings)] == ["clean", "clean-rnn"]


def test_the_excess_is_compared_across_tasks_in_per_cent():
    settings = compare(TASKS, ["excess"], "clean")
    assert settings[2].differences["excess"].mean == pytest.approx(0.01)
    text = "\n".join(map(as_text, by_task(settings, ["excess"])))
    assert text.startswith("noise_std 0.1\n\ncell ")
    assert [line.split() for line in text.splitlines()[-2:]] == [
        ["gru", "1", "3", "+1", "noisy"],
        ["lstm", "1", "5", "+3", "noisy-lstm"],
    ]
    assert as_markdown(by_task(settings, ["excess"])[1]).startswith("**noise\\_std 0.2**\n\n| cell ")


def test_the_number_of_windows_is_no_other_task():
    few = run("few", 2.0, generate__windows__train=100)
    settings = compare([GRU[0], few], ["mse"], "gru-0")
    assert [len(each.task) for each in settings] == [0, 0]
    assert settings[0].differences["mse"].mean == -1.0


def test_parameters_that_alter_no_bit_are_no_difference():
    (setting,) = compare(
        [GRU[0], run("more", 3.0, train__threads=4, train__processes=2, plot__bins=3)], ["mse"], "gru-0"
    )
    assert (dict(setting.varied), [each.name for each in setting.runs]) == ({}, ["gru-0"])


def test_metrics_that_no_run_has_a_number_of_are_not_shown_by_default():
    assert metrics_found(TASKS) == ["excess", "mse"]
    assert metrics_found(GRU) == ["mse"]
    assert metrics_found([run("none")]) == ["excess", "mse"]


def test_names_lose_their_section_unless_two_would_be_the_same():
    names = ["model.cell", "generate.frequency.low", "train.batch_size", "evaluate.batch_size", "device"]
    assert [*short_names(names).values()] == [
        "cell",
        "frequency.low",
        "train.batch_size",
        "evaluate.batch_size",
        "device",
    ]


def test_an_interval_is_by_students_t():
    _, gru = compare([*GRU, *LSTM], ["mse"], "gru-0")
    assert interval(gru.figures["mse"]) == pytest.approx(4.302653 / math.sqrt(3.0))  # t of 2 degrees, 97.5 %
    assert interval(gru.figures["mse"]._replace(standard_deviation=None)) is None


@pytest.mark.slow
def test_every_setting_with_curves_has_a_row_among_the_dots_their_legend():
    """Also one that lacks the metric, and a reference that is worse than all that fit."""
    widths = [run(f"width-{width}", float(width), model__hidden_size=width) for width in range(1, MAX_ROWS + 3)]
    lacking = run("lacking", model__cell="rnn")
    for settings in (
        compare(widths, ["mse"], widths[-1].name),
        compare([*GRU, lacking], ["mse"], "gru-0"),
    ):
        shown = curves.choose(settings)
        words = draw(settings, shown, "mse").words
        for setting in shown:
            assert f"{curves.label(setting)}: " in words


def test_a_label_is_the_parameters_or_the_name_where_they_would_be_cut():
    first, second = compare([run("one", 1.0), run("two", 2.0, model__cell="rnn")], ["mse"], "one")
    assert (curves.label(first), curves.label(second)) == ("cell gru (reference)", "cell rnn")
    long = [run(name, 1.0, model__note="x" * 40, model__cell=name) for name in ("gru", "rnn")]
    long.append(run("other", 1.0))
    assert sorted(map(curves.label, compare(long, ["mse"], "gru"))) == ["cell gru, note null", "gru (reference)", "rnn"]


def test_the_largest_numbers_are_shown():
    huge = [noisy(name, value, value) for name, value in (("a", LARGEST), ("b", -LARGEST))]
    assert as_text(*by_task(compare([huge[0]], ["excess"], "a"), ["excess"]))
    seeds = [each._replace(params={**each.params, "train.seed": seed}) for seed, each in enumerate(huge)]
    assert "none" not in as_text(*by_task(compare(seeds, ["excess", "mse"], "a"), ["excess", "mse"]))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.00291533, 0.0000123, "0.002915 ± 0.000012"),
        (133.87, 3.31, "133.9 ± 3.3"),
        (1234.0, 56.7, "1234 ± 57"),
        (0.0, 0.5, "0.00 ± 0.50"),
        (1.2341e-11, 6.7e-13, "(1.234 ± 0.067)e-11"),
        (-4.5e7, 1.2e6, "(-4.50 ± 0.12)e+07"),
        (0.00291533, None, "0.002915"),
        (3.0, 0.0, "3 ± 0"),
    ],
)
def test_a_value_has_the_digits_that_its_error_leaves_it(value, error, text):
    assert with_error(value, error) == text


def test_json_holds_every_runs_figure():
    lstm, gru = (json.loads(json.dumps(described(each))) for each in compare([*GRU, *LSTM], ["mse"], "gru-0"))
    assert lstm["metrics"]["mse"]["runs"] == {"lstm-0": 2.0, "lstm-1": 3.0, "lstm-2": 3.5}
    assert lstm["metrics"]["mse"]["difference"]["n"] == 3
    assert (gru["reference"], gru["metrics"]["mse"]["difference"]) == (True, None)


def test_no_cell_breaks_a_table():
    cells = ["a|b", "c\nd", "e\x1b[31mf", "<b>g</b>", "[h](javascript:i)", "*j*", "`k`", "\u202el"]
    lines = text_table(["run", "\x1b[2J\nvalue"], [[cell, "1"] for cell in cells]).splitlines()
    assert len(lines) == 2 + len(cells)
    assert all(line.isprintable() for line in lines)
    assert "\\x1b[2J value" in lines[0]
    assert "\\u202el" in lines[-1]
    lines = markdown_table(["run", "value"], [[cell, "1"] for cell in cells]).splitlines()
    assert len(lines) == 2 + len(cells)
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}
    assert "<b>" not in "".join(lines)
    assert "\\[h\\](" in lines[6]
