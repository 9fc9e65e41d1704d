"""Puts a run's metrics into sentences: the verdict, warnings, and the pictures' alternative texts."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from quadrature.reporting.metrics import TestMetrics
from quadrature.signals.params import GenerateParams
from quadrature.storage.history import History

DIVERGED = 2.0
"""A run has diverged if its last validation error is this many times its lowest."""

OVERFITTED = 1.5
"""A run has overfitted if its last validation error is this many times its training error."""

_FEWER = "the network overfits. Use more training windows or fewer epochs."

LUCK = 3.0
"""A difference of so many standard errors is not due to chance."""

MISMATCH = 5.0
"""A floor_z_score beyond this is not due to chance, which reaches it once in two million evaluations."""

BASELINES = {"least_squares": "least squares", "hilbert": "the Hilbert transform", "zero": "estimating zero"}
"""The estimates that the network is compared with, in words, by their names in metrics/test.json."""


def headline(test: TestMetrics) -> str:
    """Returns the run's result in a few words."""
    if test.excess is not None:
        return f"{excess_in_words(test)} the lowest possible error"
    return f"an error {_times(test.mse, test.baselines.least_squares)} that of least squares"


class Tile(NamedTuple):
    """An estimate's mean squared error with its standard error, and how it compares with the network's, in words."""

    name: str
    mse: float
    standard_error: float | None
    words: str


def tiles(test: TestMetrics) -> list[Tile]:
    """Returns a tile for each estimate."""
    found = [Tile("the network", test.mse, test.mse_standard_error, "")]
    if test.floor_mse is not None:
        words = f"the network is {excess_in_words(test)} it"
        found.append(Tile("the floor", test.floor_mse, test.floor_standard_error, words))
    for name, words in (("least_squares", "least squares"), ("hilbert", "Hilbert transform")):
        mse, error = getattr(test.baselines, name), getattr(test.baselines_standard_error, name)
        ratio = _times(test.mse, mse).removesuffix(" than").removesuffix(" as")
        found.append(Tile(words, mse, error, f"the network's is {ratio}"))
    return found


def verdict(test: TestMetrics) -> str:
    """Returns the run's result in one sentence."""
    unseen = " that training has not seen" if test.seen_in_training == 0.0 else ""
    parts = [
        f"{_times(test.mse, getattr(test.baselines, name))} that of {BASELINES[name]}"
        for name in ("least_squares", "hilbert")
    ]
    if test.excess is not None:
        parts.insert(0, f"{excess_in_words(test)} the floor that no estimator can beat")
    *first, last = parts
    sentence = (
        f"On {test.windows:,} windows{unseen}, the network's mean squared error is {test.mse:.3g}: "
        f"{', '.join(first)} and {last}."
    )
    return f"{sentence} {phase_in_words(test)}".rstrip()


def phase_in_words(test: TestMetrics) -> str:
    """Returns a sentence on the error of the phase; nothing where it is not known."""
    phase, others = test.phase_rmse_degrees, []
    if phase is None:
        return ""
    if test.floor_phase_rmse_degrees is not None:
        others.append(f"{test.floor_phase_rmse_degrees:.3g} by the best estimate of the wave")
    if test.baselines_phase_rmse_degrees.least_squares is not None:
        others.append(f"{test.baselines_phase_rmse_degrees.least_squares:.3g} by least squares")
    beside = f" ({', '.join(others)})" if others else ""
    return f"Its phase is off by {phase:.3g} degrees, root mean square{beside}."


def excess_in_words(test: TestMetrics) -> str:
    """Returns how far the network is above or below the floor, with the standard error to at least a digit."""
    if test.excess is None:
        raise ValueError("a run without a floor has no excess")
    if abs(test.excess) >= 10.0:
        return f"{test.excess + 1.0:,.0f} times"
    percent, error, digits = 100.0 * abs(test.excess), test.excess_standard_error, 1
    if error is not None and 100.0 * error < 0.095:
        digits = 2
    scatter = "" if error is None else f" ± {100.0 * error:.{digits}f}"
    return f"{percent:.{digits}f}{scatter} % {'above' if test.excess >= 0.0 else 'below'}"


def warnings(test: TestMetrics, history: History) -> Iterator[str]:
    """Yields the problems of a run, worst first."""
    worse = [words for name, words in BASELINES.items() if test.mse >= getattr(test.baselines, name)]
    if worse:
        yield f"The network is no better than {_join_with_or(worse)}: use that, or train the network differently."
    if test.seen_in_training > 0.0:
        yield (
            f"{_percent(test.seen_in_training)} of the test windows were also in training: "
            "for these, the errors show how well the network remembers, not how well it estimates."
        )
    lowest = min(history.records, key=lambda record: record.validation_mse)
    last = history.records[-1]
    if last.validation_mse >= DIVERGED * lowest.validation_mse:
        yield (
            f"Training diverged: the validation error ended at {last.validation_mse:.3g}, after "
            f"{lowest.validation_mse:.3g} at epoch {lowest.epoch:.3g}. "
            "Lower train.learning_rate, or choose a schedule that ends low."
        )
    elif history.train_target == "clean":
        if last.validation_mse >= OVERFITTED * last.train_mse:
            ratio = last.validation_mse / last.train_mse
            yield f"The validation error is {ratio:.1f} times the training error: {_FEWER}"
    elif test.excess is not None and test.floor_mse is not None:
        # Both are errors against the posterior mean: the training error, of one component or of two, and the excess of
        # the quadrature component, which is the harder one.
        surely = (test.excess - LUCK * (test.excess_standard_error or 0.0)) * test.floor_mse
        if surely >= 2.0 * OVERFITTED * last.train_mse:
            ratio = test.excess * test.floor_mse / last.train_mse
            yield f"The excess over the floor is {ratio:.1f} times that of the training windows: {_FEWER}"
    yield from _warnings_of_the_floor(test)


def _warnings_of_the_floor(test: TestMetrics) -> Iterator[str]:
    if test.floor_mse is None:
        reason = f": {test.floor_missing}" if test.floor_missing else ""
        yield f"There is no floor to compare the error with{reason}."
    elif lower := [words for name, words in BASELINES.items() if getattr(test.baselines, name) < test.floor_mse]:
        yield (
            f"The error of {_join_with_or(lower)} is below the floor, which no estimator can beat on average: this is "
            "chance, or the test windows do not match params.yaml."
        )
    elif test.floor_windows < test.windows:
        yield f"The floor is that of {test.floor_windows:,} of the {test.windows:,} windows; all would take too long."
    if abs(test.floor_z_score or 0.0) > MISMATCH:
        yield (
            f"The error, the floor and the excess disagree by {abs(test.floor_z_score or 0.0):.0f} standard errors, "
            "more than chance explains: the test windows do not match params.yaml."
        )


def unseen(task: GenerateParams) -> str:
    """Returns the signals that training did not have, in words; nothing for windows of one's own, which may be any."""
    if task.source is not None:
        return ""
    others = {
        "the sum of two waves": True,
        "an offset": not task.offset_std,
        "a drift": not task.drift_std,
        "a changing frequency": not task.chirp,
    }
    return _join_with_or([words for words, is_unseen in others.items() if is_unseen])


def alternatives(test: TestMetrics, history: History) -> dict[str, str]:
    """Returns the alternative text of each picture, by its name in metrics/plots."""
    first, last = history.records[0], history.records[-1]
    aim = " against the posterior mean" if history.train_target == "posterior_mean" else ""
    floor = "" if test.floor_mse is None else f", the floor's {test.floor_mse:.3g}"
    over = (
        f"On average over all windows the network's is {test.mse:.3g}{floor}, "
        f"least squares' {test.baselines.least_squares:.3g}, the Hilbert transform's {test.baselines.hilbert:.3g}."
    )
    return {
        "task": "A window's samples scattered about a sine, and beside them the cosine at the same instants.",
        "predictions": "Test windows: samples of the sine, the true cosine, and the network's estimates.",
        "worst_windows": "The test windows with the largest errors: samples, the true cosine, and the estimates.",
        "learning_curves": (
            f"Learning curves: the validation error goes from {first.validation_mse:.3g} at epoch {first.epoch:.3g} "
            f"to {last.validation_mse:.3g} at epoch {last.epoch:.3g}; "
            f"the training error{aim} ends at {last.train_mse:.3g}."
        ),
        "error_by_position": f"Mean squared error at each sample of the window. {over}",
        "error_by_size": "The share of samples whose error is larger than a size, for the network and other estimates.",
        "error_by_signal": f"Mean squared error by frequency and by phase of the first sample. {over}",
    }


def error_rows(test: TestMetrics) -> list[tuple[str, tuple[float | None, ...]]]:
    """Returns the rows of the table of errors: an estimate in words, and its figures.

    These are the mean squared errors of the quadrature and in-phase components, and the root mean squared errors of
    phase, in degrees, and of amplitude.
    """
    in_phase, phase, amplitude = (
        test.baselines_in_phase_mse, test.baselines_phase_rmse_degrees, test.baselines_amplitude_rmse
    )  # fmt: skip
    network = (test.mse, test.in_phase_mse, test.phase_rmse_degrees, test.amplitude_rmse)
    floor = (test.floor_mse, test.floor_in_phase_mse, test.floor_phase_rmse_degrees, test.floor_amplitude_rmse)
    names = {"least_squares": "least squares", "hilbert": "Hilbert transform", "zero": "zero"}
    baselines = [
        (words, tuple(getattr(each, name) for each in (test.baselines, in_phase, phase, amplitude)))
        for name, words in names.items()
    ]
    return [("the network", network), ("the floor", floor), *baselines]


def _times(mse: float, other: float) -> str:
    """Returns how an error compares with another, in words that end before the other's name."""
    if mse == other:
        return "as large as"
    smaller = mse < other
    ratio = (other / mse if mse else float("inf")) if smaller else (mse / other if other else float("inf"))
    amount = "far" if ratio > 1e6 else f"{ratio:,.0f} times" if ratio >= 10.0 else f"{ratio:.1f} times"
    return f"{amount} {'smaller' if smaller else 'larger'} than"


def _percent(fraction: float) -> str:
    if fraction < 0.995:
        return f"{100.0 * fraction:.2g} %"
    return "All" if fraction == 1.0 else "Nearly all"


def _join_with_or(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
