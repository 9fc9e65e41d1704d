"""The pictures: their axes, labels and lines."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from quadrature.plotting import error_figures, figures
from quadrature.plotting.error_figures import phase_ticks
from quadrature.plotting.error_tables import make_tables
from quadrature.plotting.figures import choose_windows, style
from quadrature.plotting.time_axis import TimeAxis
from quadrature.storage.history import History, Record
from quadrature.storage.windows import ESTIMATE_COLUMNS
from tests.signals.test_waves import draw, settings

pytestmark = pytest.mark.slow

PARAMS = settings(windows={"train": 1, "validation": 1, "test": 300})
AXIS = TimeAxis.of(PARAMS)
TURN = 2.0 * np.pi


@pytest.fixture(scope="module")
def columns():
    """Test windows; the error grows from one estimate to the next."""
    columns = draw(PARAMS, "test")
    rng = np.random.default_rng(0)
    for number, name in enumerate(ESTIMATE_COLUMNS, 1):
        error = number * rng.normal(scale=0.05, size=columns["target"].shape)
        columns[name] = (columns["target"] + error).astype(np.float32)
    return columns | {"in_phase_prediction": 0.9 * columns["in_phase"]}


@pytest.fixture
def tables(columns):
    return make_tables(lambda: [columns], 4)


def keep_figures(monkeypatch):
    """Makes pictures matplotlib's figures, in place of SVG."""
    for module in (figures, error_figures):
        monkeypatch.setattr(module, "svg", lambda figure: figure)


@pytest.fixture
def pictures(columns, tables, monkeypatch):
    """The matplotlib figure of each picture."""
    keep_figures(monkeypatch)
    history = History([Record(0.5, 8, 0.01, 0.3, 0.2), Record(1.0, 16, 0.0, 0.0031, 0.003)], "clean")
    first, worst, fastest = choose_windows([columns], 6)
    return {
        "task": figures.task(fastest, AXIS),
        "learning_curves": figures.learning_curves(history),
        "predictions": figures.predictions(first, AXIS),
        "worst_windows": figures.predictions(worst, AXIS, errors=True),
        "error_by_position": error_figures.error_by_position(tables["position"]),
        "error_by_signal": error_figures.error_by_signal(tables["frequency"], tables["phase"], AXIS),
        "error_by_size": error_figures.error_by_size(tables["size"]),
    }


def drawn(panel, label):
    """Returns x and y of the line with a label."""
    return next(line for line in panel.lines if line.get_label() == label).get_data()


def test_every_axis_has_a_name_and_a_unit_where_it_has_one(pictures):
    names = {
        name: [
            figure.get_supxlabel(),
            figure.get_supylabel(),
            *(panel.get_xlabel() for panel in figure.axes),
            *(panel.get_ylabel() for panel in figure.axes),
        ]
        for name, figure in pictures.items()
    }
    assert {name: [*filter(None, labels)] for name, labels in names.items()} == {
        "task": [*["instant (radians, at frequency 1)"] * 2, "signal (units of the input)"],
        "learning_curves": ["epoch", "mean squared error", "learning rate"],
        "predictions": ["instant (radians, at frequency 1)", "signal (units of the input)"],
        "worst_windows": ["instant (radians, at frequency 1)", "signal (units of the input)"],
        "error_by_position": ["sample in the window", "mean squared error", "excess (%)"],
        "error_by_signal": [
            *("frequency (relative)", "phase of the first sample (radians)"),
            *("mean squared error", "excess (%)"),
        ],
        "error_by_size": ["error (units of the input)", "share of samples with a larger error"],
    }


def test_with_a_rate_instants_are_in_seconds_and_frequencies_in_hertz(columns, tables, monkeypatch):
    keep_figures(monkeypatch)
    axis = TimeAxis.of(settings(span=None, rate=18.0))
    first, _, fastest = choose_windows([columns], 6)
    task = figures.task(fastest, axis)
    predictions = figures.predictions(first, axis)
    signal = error_figures.error_by_signal(tables["frequency"], tables["phase"], axis)
    assert {panel.get_xlabel() for panel in task.axes} == {predictions.get_supxlabel()} == {"instant (seconds)"}
    assert signal.axes[2].get_xlabel() == "frequency (Hz)"
    instants, _ = drawn(task.axes[0], "input: sine samples")
    assert list(instants) == pytest.approx([sample / 18.0 for sample in range(10)])
    finely, cosine = drawn(task.axes[1], "its cosine, a quarter turn ahead")
    assert np.interp(instants, finely, cosine) == pytest.approx(fastest["target"][0], abs=1e-3)
    assert predictions.axes[0].get_title().startswith(f"frequency {columns['frequency'][0]:.4g} Hz, phase ")


def test_the_task_is_a_window_and_its_wave_a_quarter_turn_ahead(pictures, columns):
    given, asked = pictures["task"].axes
    chosen = int(np.argmax(columns["frequency"]))
    instants, samples = drawn(given, "input: sine samples")
    assert list(instants) == pytest.approx(np.linspace(0.0, np.pi, 10))
    assert list(samples) == list(columns["input"][chosen])
    _, targets = drawn(asked, "target: the cosine at the same instants")
    assert list(targets) == list(columns["target"][chosen])
    finely, cosine = drawn(asked, "its cosine, a quarter turn ahead")
    assert np.interp(instants, finely, cosine) == pytest.approx(targets, abs=1e-3)
    _, sine = drawn(given, "its sine, which nobody sees")
    assert np.hypot(sine, cosine) == pytest.approx(columns["amplitude"][chosen])
    assert given.get_ylim()[0] < min(samples) < max(samples) < given.get_ylim()[1]


def test_a_wave_whose_chirp_no_column_holds_is_not_drawn(columns, monkeypatch):
    keep_figures(monkeypatch)
    for chirp, lines in ((0.0, (2, 3)), (0.5, (1, 1))):
        drawn = draw(PARAMS.model_copy(update={"chirp": chirp}), "test")
        _, _, fastest = choose_windows([{**columns, **drawn}], 6)
        assert tuple(len(panel.lines) for panel in figures.task(fastest, AXIS).axes) == lines


def test_the_learning_curves_are_the_historys(pictures):
    errors, rates = pictures["learning_curves"].axes
    assert errors.get_yscale() == "log"
    assert [list(values) for values in drawn(errors, "train (running mean)")] == [[0.5, 1.0], [0.3, 0.0031]]
    assert [list(values) for values in drawn(errors, "validation")] == [[0.5, 1.0], [0.2, 0.003]]
    assert list(rates.lines[0].get_ydata()) == [0.01, 0.0]
    assert rates.get_ylim()[0] == 0.0


def test_the_excess_of_training_is_its_error_against_the_best_estimate_over_the_floor(monkeypatch):
    keep_figures(monkeypatch)
    records = [Record(0.5, 8, 0.01, 0.3, 0.2), Record(1.0, 16, 0.0, 0.0031, 0.003)]
    _, excess, rates = figures.learning_curves(History(records, "posterior_mean"), 0.002).axes
    assert list(excess.lines[0].get_ydata()) == pytest.approx([15_000.0, 155.0])
    assert (excess.get_yscale(), excess.get_ylabel(), rates.get_xlabel()) == ("log", "training excess (%)", "epoch")
    for target, floor in (("clean", 0.002), ("posterior_mean", None), ("posterior_mean", 0.0)):
        assert len(figures.learning_curves(History(records, target), floor).axes) == 2


def test_as_many_windows_are_drawn_as_asked_for_each_with_its_wave(pictures, columns):
    panels = [panel for panel in pictures["predictions"].axes if panel.lines]
    assert len(panels) == 6
    for window, panel in enumerate(panels):
        assert list(drawn(panel, "input: sine samples")[1]) == list(columns["input"][window])
        assert list(drawn(panel, "target: cosine")[1]) == list(columns["target"][window])
        assert list(drawn(panel, "estimate of the cosine")[1]) == list(columns["prediction"][window])
        sine = drawn(panel, "estimate of the sine without noise")[1]
        assert list(sine) == list(columns["in_phase_prediction"][window])
        assert panel.get_title().startswith(f"frequency {columns['frequency'][window]:.2f}, phase ")


def test_errors_are_drawn_for_each_estimate_on_a_logarithmic_axis(pictures, tables):
    panel, below = pictures["error_by_position"].axes
    errors = tables["position"]
    assert list(below.lines[0].get_ydata()) == list(100.0 * errors["excess"])
    assert panel.get_yscale() == "log"
    for name, look in error_figures.ESTIMATES.items():
        positions, values = drawn(panel, look.label)
        assert list(positions) == [*range(1, 11)]
        assert list(values) == list(errors[name])


def test_the_sizes_of_errors_are_shares_of_samples(pictures, columns):
    (panel,) = pictures["error_by_size"].axes
    assert panel.get_xscale() == panel.get_yscale() == "log"
    sizes, shares = drawn(panel, "network")
    errors = np.abs(columns["prediction"].astype(float) - columns["target"])
    assert list(shares) == pytest.approx([(errors > size).mean() for size in sizes], abs=1e-12)
    assert (shares[0], len(sizes)) == (pytest.approx(1.0, abs=0.02), len(shares))


@pytest.mark.parametrize("count", [1, 6, 300, 1000])
@pytest.mark.parametrize("size", [1, 7, 299, 300])
def test_the_windows_chosen_are_the_first_the_worst_and_the_one_of_highest_frequency_of_all_parts(columns, count, size):
    ties = {**columns, "frequency": np.minimum(columns["frequency"], 1.8)}
    parts = [{name: values[at : at + size] for name, values in ties.items()} for at in range(0, 300, size)]
    first, worst, fastest = choose_windows(iter(parts), count)
    errors = np.square(ties["prediction"].astype(float) - ties["target"]).mean(axis=1)
    row = int(np.flatnonzero(ties["frequency"] == 1.8)[0])
    for name, values in ties.items():
        assert (first[name] == values[:count]).all()
        assert len(first[name]) == min(count, 300)
        assert (fastest[name] == values[[row]]).all()
        assert (worst[name] == values[np.argsort(-errors)[:4]]).all()


def test_the_worst_windows_say_their_errors(pictures, columns):
    errors = np.square(columns["prediction"].astype(float) - columns["target"]).mean(axis=1)
    titles = [panel.get_title() for panel in pictures["worst_windows"].axes]
    assert [title.partition(", error ")[2] for title in titles] == [f"{each:.2g}" for each in np.sort(errors)[:-5:-1]]


def test_on_a_narrow_page_panels_are_one_below_the_other(columns, tables, monkeypatch):
    keep_figures(monkeypatch)
    first, _, fastest = choose_windows([columns], 6)
    for narrow, across in ((False, (2, 4, 2)), (True, (1, 2, 1))):
        drawn = (
            figures.task(fastest, AXIS, narrow=narrow),
            figures.predictions(first, AXIS, narrow=narrow),
            error_figures.error_by_signal(tables["frequency"], tables["phase"], AXIS, narrow=narrow),
        )
        for figure, expected in zip(drawn, across, strict=True):
            figure.draw_without_rendering()
            lefts = {round(panel.get_window_extent().x0, -1) for panel in figure.axes if panel.lines}
            assert len(lefts) == expected


def test_phases_go_round_once_in_quarters(pictures):
    left, above, excess, right = pictures["error_by_signal"].axes
    assert left.get_yscale() == above.get_yscale() == "log"
    assert excess.get_yscale() == right.get_yscale() == "linear"
    assert right.get_xlim() == (0.0, TURN)
    assert list(right.get_xticks()) == pytest.approx([0.0, TURN / 4, TURN / 2, 3 * TURN / 4, TURN])
    assert [label.get_text() for label in right.get_xticklabels()] == ["0", "π/2", "π", "3π/2", "2π"]


@pytest.mark.parametrize("phases", [(0.2, 6.2), (1.0, 2.0), (-0.5, 7.0)])
def test_an_axis_of_phases_is_one_turn_whatever_is_drawn(phases):
    panel = Figure().subplots()
    panel.plot(phases, [1.0, 2.0])
    phase_ticks(panel)
    assert panel.get_xlim() == (0.0, TURN)


@pytest.mark.parametrize(
    ("largest", "label", "offset"), [(4e-3, "0.004", ""), (4e4, "40000", ""), (4e-4, "4", "1e−4"), (4e5, "4", "1e5")]
)
def test_numbers_are_written_out_from_a_thousandth_to_a_hundred_thousand(largest, label, offset):
    with style():
        figure = Figure()
        panel = figure.subplots()
        panel.plot([0.0, largest])
        panel.set_yticks([0.0, largest])
        figure.draw_without_rendering()
        assert panel.get_yticklabels()[1].get_text() == label
        assert panel.yaxis.get_offset_text().get_text() == offset


def test_a_panel_has_a_light_grid_and_no_frame_around_it():
    with style():
        figure = Figure()
        panel = figure.subplots()
        assert figure.get_constrained_layout()
    assert [side for side, spine in panel.spines.items() if spine.get_visible()] == ["left", "bottom"]
    assert all(line.get_visible() and line.get_alpha() < 0.5 for line in panel.get_xgridlines())


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e6])
def test_an_error_of_0_is_drawn_far_below_the_others_in_any_unit(tables, unit, monkeypatch):
    keep_figures(monkeypatch)
    errors = tables["position"] * unit**2
    errors.loc[3, "prediction"] = 0.0
    panel, _ = error_figures.error_by_position(errors).axes
    for name, look in error_figures.ESTIMATES.items():
        expected = errors[name].replace(0.0, 1e-17 * errors[[*error_figures.ESTIMATES]].to_numpy().max())
        assert list(drawn(panel, look.label)[1]) == list(expected)
