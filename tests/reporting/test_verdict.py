"""The report's verdict and warnings: a warning for each problem of a run, none for a good run."""

import pytest

from quadrature.reporting import metrics
from quadrature.reporting.metrics import AnalyticBaselines, Baselines
from quadrature.reporting.verdict import alternatives, error_rows, headline, tiles, unseen, verdict, warnings
from quadrature.signals.params import GenerateParams
from quadrature.storage.history import History, Record
from tests.checkout import PROJECT, Checkout

WELL = metrics.TestMetrics(
    mse=0.0029, mse_standard_error=3e-5, rmse=0.054, max_abs_error=0.5, floor_mse=0.00286, floor_standard_error=None,
    floor_windows=8192, excess=0.014,
    excess_standard_error=0.0023, floor_z_score=0.5, floor_numerical_error=0.0004, floor_missing=None,
    baselines=Baselines(zero=0.5, hilbert=0.2233, least_squares=0.02088), windows=8192, seen_in_training=0.0,
    baselines_standard_error=AnalyticBaselines(zero=0.003, hilbert=0.002, least_squares=0.0002),
    in_phase_mse=0.0019, amplitude_rmse=0.0038, phase_rmse_degrees=3.99,
    floor_in_phase_mse=0.0018, floor_amplitude_rmse=0.0031, floor_phase_rmse_degrees=3.98,
    baselines_in_phase_mse=AnalyticBaselines(zero=0.5, hilbert=0.01, least_squares=0.0042),
    baselines_amplitude_rmse=AnalyticBaselines(zero=1.0, hilbert=0.27, least_squares=0.11),
    baselines_phase_rmse_degrees=AnalyticBaselines(zero=None, hilbert=28.1, least_squares=6.7),
)  # fmt: skip
FALLING = [Record(0.5, 8, 0.01, 0.3, 0.2), Record(1.0, 16, 0.0, 0.0031, 0.003)]


def said(records=FALLING, train_target="clean", **changes):
    return list(warnings(WELL.model_copy(update=changes), History(records, train_target)))


def test_the_verdict_is_one_sentence_with_the_floor_and_both_baselines():
    assert verdict(WELL) == (
        "On 8,192 windows that training has not seen, the network's mean squared error is 0.0029: 1.4 ± 0.2 % above "
        "the floor that no estimator can beat, 7.2 times smaller than that of least squares and 77 times smaller than "
        "that of the Hilbert transform. Its phase is off by 3.99 degrees, root mean square (3.98 by the best estimate "
        "of the wave, 6.7 by least squares)."
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"seen_in_training": 0.25}, "On 8,192 windows, the network's"),
        ({"floor_mse": None, "excess": None, "excess_standard_error": None}, "is 0.0029: 7.2 times smaller"),
        ({"excess": -0.01}, "1.0 ± 0.2 % below the floor"),
        ({"excess": 0.00303, "excess_standard_error": 0.00018}, "0.30 ± 0.02 % above the floor"),
        ({"phase_rmse_degrees": None}, "that of the Hilbert transform."),
        ({"floor_phase_rmse_degrees": None}, "by 3.99 degrees, root mean square (6.7 by least squares)."),
        ({"excess": 0.5, "excess_standard_error": None}, ": 50.0 % above the floor"),
        ({"excess": 11.2}, ": 12 times the floor"),
        ({"mse": 0.06}, "2.9 times larger than that of least squares and 3.7 times smaller"),
        ({"mse": 0.02088}, "as large as that of least squares"),
        ({"mse": 1e-12}, "far smaller than that of least squares"),
        ({"mse": 0.0}, "far smaller than that of least squares"),
        ({"baselines": Baselines(zero=0.5, hilbert=0.3, least_squares=0.0)}, "far larger than that of least squares"),
    ],
)  # fmt: skip
def test_the_verdict_follows_the_figures(changes, part):
    assert part in verdict(WELL.model_copy(update=changes))


def test_the_headline_and_the_tiles_compare_with_the_best_that_is_known():
    assert headline(WELL) == "1.4 ± 0.2 % above the lowest possible error"
    assert tiles(WELL) == [
        ("the network", 0.0029, 3e-5, ""),
        ("the floor", 0.00286, None, "the network is 1.4 ± 0.2 % above it"),
        ("least squares", 0.02088, 0.0002, "the network's is 7.2 times smaller"),
        ("Hilbert transform", 0.2233, 0.002, "the network's is 77 times smaller"),
    ]
    without = WELL.model_copy(update={"floor_mse": None, "excess": None, "excess_standard_error": None})
    assert headline(without) == "an error 7.2 times smaller than that of least squares"
    assert [tile.name for tile in tiles(without)] == ["the network", "least squares", "Hilbert transform"]
    assert tiles(WELL.model_copy(update={"mse": 0.02088}))[2].words == "the network's is as large"


def test_nothing_is_said_of_a_run_that_is_well():
    assert said() == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mse": 0.03}, "The network is no better than least squares: use that, or train the network differently."),
        (
            {"mse": 0.6},
            "The network is no better than least squares, the Hilbert transform or estimating zero: "
            "use that, or train the network differently.",
        ),
        (
            {"seen_in_training": 0.031},
            "3.1 % of the test windows were also in training: for these, the errors show how well the network "
            "remembers, not how well it estimates.",
        ),
        ({"seen_in_training": 8160 / 8192}, "Nearly all of the test windows were also in training"),
        ({"seen_in_training": 1.0}, "All of the test windows were also in training: for these, the errors show"),
        (
            {"floor_mse": None, "excess": None, "excess_standard_error": None, "floor_missing": "no noise"},
            "There is no floor to compare the error with: no noise.",
        ),
        (
            {"floor_mse": 0.021},
            "The error of least squares is below the floor, which no estimator can beat on average: this is chance, or "
            "the test windows do not match params.yaml.",
        ),
        ({"floor_windows": 128}, "The floor is that of 128 of the 8,192 windows; all would take too long."),
        (
            {"floor_z_score": -12.3},
            "The error, the floor and the excess disagree by 12 standard errors, more than chance explains: "
            "the test windows do not match params.yaml.",
        ),
    ],
)
def test_each_thing_that_is_off_is_said_once(changes, sentence):
    (warning,) = said(**changes)
    assert warning.startswith(sentence)


@pytest.mark.parametrize("score", [None, -4.9, 4.9])
def test_what_luck_can_do_is_not_held_against_a_run(score):
    assert said(floor_z_score=score) == []


def test_a_run_that_diverged_and_one_that_overfitted_are_told_apart():
    (warning,) = said([*FALLING, Record(2.0, 32, 0.01, 0.2, 0.007)])
    assert warning == (
        "Training diverged: the validation error ended at 0.007, after 0.003 at epoch 1. "
        "Lower train.learning_rate, or choose a schedule that ends low."
    )
    (warning,) = said([Record(1.0, 16, 0.0, 0.002, 0.003)])
    assert warning == (
        "The validation error is 1.5 times the training error: the network overfits. "
        "Use more training windows or fewer epochs."
    )
    assert said([Record(1.0, 16, 0.0, 0.0021, 0.003)]) == []


def test_against_the_posterior_mean_the_training_error_is_compared_with_the_excess():
    """The floor's part of the validation error is not in it. Here the excess is 4e-5 +- 7e-6."""

    def end(train_mse, **changes):
        return said([Record(1.0, 16, 0.0, train_mse, 0.003)], "posterior_mean", **changes)

    assert end(3.9e-5) == end(2e-5) == end(1e-5) == []
    (warning,) = end(5e-6)
    assert warning.startswith(
        "The excess over the floor is 8.0 times that of the training windows: the network overfit"
    )
    assert end(1e-9, excess=0.005) == []  # within three standard errors of none
    assert end(5e-6, floor_mse=None, excess=None, excess_standard_error=None, floor_missing="no noise") == [
        "There is no floor to compare the error with: no noise."
    ]


def test_the_table_of_errors_has_a_row_for_each_estimate():
    """Quadrature and in-phase components, phase, amplitude."""
    assert error_rows(WELL) == [
        ("the network", (0.0029, 0.0019, 3.99, 0.0038)),
        ("the floor", (0.00286, 0.0018, 3.98, 0.0031)),
        ("least squares", (0.02088, 0.0042, 6.7, 0.11)),
        ("Hilbert transform", (0.2233, 0.01, 28.1, 0.27)),
        ("zero", (0.5, 0.5, None, 1.0)),
    ]


def test_the_words_for_each_picture_hold_its_figures():
    words = alternatives(WELL, History(FALLING, "clean"))
    assert (
        "goes from 0.2 at epoch 0.5 to 0.003 at epoch 1; the training error ends at 0.0031" in words["learning_curves"]
    )
    assert "the network's is 0.0029, the floor's 0.00286" in words["error_by_position"]
    words = alternatives(WELL, History(FALLING, "posterior_mean"))
    assert "the training error against the posterior mean ends at 0.0031" in words["learning_curves"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "the sum of two waves, an offset, a drift or a changing frequency"),
        ({"offset_std": 0.1}, "the sum of two waves, a drift or a changing frequency"),
        ({"chirp": 0.1, "drift_std": 1.0, "offset_std": 0.1}, "the sum of two waves"),
        ({"source": "mine.parquet"}, ""),
    ],
)
def test_the_signals_that_training_did_not_have_are_named(changes, words):
    drawn = GenerateParams.model_validate(Checkout(PROJECT).yaml("params.yaml")["generate"])
    assert unseen(drawn.model_copy(update=changes)) == words
