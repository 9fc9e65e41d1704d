"""Errors by position, frequency and phase, against plain loops over the windows."""

import math

import numpy as np
import pandas as pd
import pytest

from quadrature.plotting.error_tables import error_by_frequency, error_by_phase, error_by_position, write_table
from quadrature.storage.windows import ESTIMATE_COLUMNS


@pytest.fixture
def columns():
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=(200, 4)).astype(np.float32) for name in ("input", "target", *ESTIMATE_COLUMNS)}
    return columns | {"frequency": random.uniform(0.5, 2.0, 200), "phase": random.uniform(0.0, 20.0, 200)}


def test_the_error_by_position_is_the_mean_over_windows(columns):
    table = error_by_position(columns)
    assert list(table.index) == [1, 2, 3, 4]
    for name in ESTIMATE_COLUMNS:
        for position in range(4):
            errors = [
                (float(a) - float(b)) ** 2
                for a, b in zip(columns[name][:, position], columns["target"][:, position], strict=True)
            ]
            assert table.loc[position + 1, name] == pytest.approx(math.fsum(errors) / 200, rel=1e-12)


@pytest.mark.parametrize(("function", "quantity"), [(error_by_frequency, "frequency"), (error_by_phase, "phase")])
def test_the_error_by_signal_is_the_mean_over_the_windows_of_a_bin(columns, function, quantity):
    table = function(columns, 8)
    values = [value % (2.0 * math.pi) if quantity == "phase" else value for value in columns[quantity]]
    low, width = min(values), (max(values) - min(values)) / 8
    bins = [min(int((value - low) / width), 7) for value in values]
    assert list(table.index) == pytest.approx([low + (number + 0.5) * width for number in sorted(set(bins))])
    assert table.index.name == quantity
    for place, number in enumerate(sorted(set(bins))):
        rows = [row for row in range(200) if bins[row] == number]
        error = np.mean((columns["prediction"][rows].astype(float) - columns["target"][rows]) ** 2)
        assert table["prediction"].iloc[place] == pytest.approx(error, rel=1e-12)


def test_a_quantity_that_does_not_vary_has_one_bin(columns):
    columns["frequency"][:] = 1.0
    assert list(error_by_frequency(columns, 16).index) == [1.0]


def test_a_phase_that_rounding_left_below_a_full_turn_is_none(columns):
    columns["phase"] = np.repeat([2.0 * np.pi - 1e-9, np.pi], 100)
    assert list(error_by_phase(columns, 2).index) == pytest.approx([np.pi / 4, 3 * np.pi / 4])


def test_where_some_windows_have_no_floor_every_estimate_is_of_the_others(columns):
    columns["posterior_mean"][50:] = np.nan
    some = error_by_position({name: values[:50] for name, values in columns.items()})
    pd.testing.assert_frame_equal(error_by_position(columns), some)


def test_without_a_floor_its_cells_are_empty_and_the_others_exact(columns, tmp_path):
    columns["posterior_mean"][:] = np.nan
    table = error_by_position(columns)
    write_table(tmp_path / "table.csv", table)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0] == f"position,{','.join(ESTIMATE_COLUMNS)}"
    assert all(line.split(",")[2] == "" for line in lines[1:])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv", index_col="position"), table, check_exact=True)
