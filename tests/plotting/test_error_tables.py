"""Errors by position, frequency and phase, against plain loops over the windows and against pandas."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from quadrature.plotting.error_tables import make_tables, wrapped, write_table
from quadrature.storage.windows import ESTIMATE_COLUMNS


def make_columns(count=200, length=4):
    random = np.random.default_rng(0)
    lists = ("input", "target", *ESTIMATE_COLUMNS)
    columns = {name: random.normal(size=(count, length)).astype(np.float32) for name in lists}
    return columns | {"frequency": random.uniform(0.5, 2.0, count), "phase": random.uniform(0.0, 20.0, count)}


@pytest.fixture
def columns():
    return make_columns()


def tables_of(columns, bins=8, cuts=()):
    """Returns the tables of windows read in parts; each of `cuts` is the first row of a part."""
    edges = [0, *cuts, len(columns["target"])]
    parts = [
        {name: values[start:stop] for name, values in columns.items()} for start, stop in itertools.pairwise(edges)
    ]
    return make_tables(lambda: iter(parts), bins)


def test_the_error_by_position_is_the_mean_over_windows(columns):
    table = tables_of(columns)["position"]
    assert list(table.index) == [1, 2, 3, 4]
    for name in ESTIMATE_COLUMNS:
        for position in range(4):
            errors = [
                (float(a) - float(b)) ** 2
                for a, b in zip(columns[name][:, position], columns["target"][:, position], strict=True)
            ]
            assert table.loc[position + 1, name] == pytest.approx(math.fsum(errors) / 200, rel=1e-12)


def test_the_excess_is_the_distance_from_the_best_estimate_relative_to_its_error(columns):
    distance = np.square(columns["prediction"].astype(float) - columns["posterior_mean"])
    floor = np.square(columns["posterior_mean"].astype(float) - columns["target"])
    excess = tables_of(columns)["position"]["excess"]
    assert list(excess) == pytest.approx(distance.mean(axis=0) / floor.mean(axis=0), rel=1e-12)
    exact = columns | {"posterior_mean": columns["target"]}
    unknown = columns | {"posterior_mean": np.full_like(columns["target"], np.nan)}
    for found in (tables_of(exact), tables_of(unknown)):  # a floor of 0 has no multiples
        assert all(found[name]["excess"].isna().all() for name in ("position", "frequency", "phase"))


@pytest.mark.parametrize("cuts", [(), (1, 77)])
def test_the_sizes_are_shares_of_the_samples_with_a_larger_error(columns, cuts):
    columns["posterior_mean"][50:] = np.nan  # then only windows with a floor count
    table = tables_of(columns, cuts=cuts)["size"]
    assert table.index[0] == pytest.approx(1e-4 * np.abs(columns["target"]).max())
    for name in ESTIMATE_COLUMNS:
        errors = np.abs(columns[name].astype(float) - columns["target"])[:50]
        assert list(table[name]) == [pytest.approx((errors > size).mean(), abs=1e-12) for size in table.index]


@pytest.mark.parametrize("quantity", ["frequency", "phase"])
def test_the_error_by_signal_is_the_mean_over_the_windows_of_a_bin(columns, quantity):
    table = tables_of(columns)[quantity]
    values = [value % (2.0 * math.pi) if quantity == "phase" else value for value in columns[quantity]]
    low, width = min(values), (max(values) - min(values)) / 8
    bins = [min(int((value - low) / width), 7) for value in values]
    assert list(table.index) == pytest.approx([low + (number + 0.5) * width for number in sorted(set(bins))])
    assert table.index.name == quantity
    for place, number in enumerate(sorted(set(bins))):
        rows = [row for row in range(200) if bins[row] == number]
        error = np.mean((columns["prediction"][rows].astype(float) - columns["target"][rows]) ** 2)
        assert table["prediction"].iloc[place] == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize("cuts", [(1,), (100,), (3, 4, 199), range(1, 200)])
@pytest.mark.parametrize("floor", ["everywhere", "in places", "nowhere"])
def test_the_tables_are_the_same_to_the_bit_for_any_division_into_parts(columns, cuts, floor):
    columns["posterior_mean"][{"everywhere": slice(0), "in places": slice(60, 190), "nowhere": slice(None)}[floor]] = (
        np.nan
    )
    whole = tables_of(columns)
    for name, table in tables_of(columns, cuts=cuts).items():
        pd.testing.assert_frame_equal(table, whole[name], check_exact=True)


def test_the_means_are_those_of_pandas_and_numpy_to_the_bit():
    columns = make_columns(count=30_000, length=10)
    tables = tables_of(columns, bins=16, cuts=(10_000, 10_001))
    squares = {name: np.square(columns[name].astype(float) - columns["target"]) for name in ESTIMATE_COLUMNS}
    for name, values in squares.items():
        assert (tables["position"][name] == values.mean(axis=0)).all()
    errors = pd.DataFrame({name: values.mean(axis=1) for name, values in squares.items()})
    for quantity, values in (("frequency", columns["frequency"]), ("phase", wrapped(columns["phase"]))):
        edges = np.linspace(values.min(), values.max(), 17)
        number = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 15)
        expected = errors.groupby(number).mean()
        assert (tables[quantity][[*ESTIMATE_COLUMNS]].to_numpy() == expected.to_numpy()).all()


def test_a_bin_without_windows_is_left_out(columns):
    columns["frequency"] = np.repeat([1.0, 2.0], 100)
    assert list(tables_of(columns, 4)["frequency"].index) == [1.125, 1.875]


def test_a_quantity_that_does_not_vary_has_one_bin(columns):
    columns["frequency"][:] = 1.0
    assert list(tables_of(columns, 16)["frequency"].index) == [1.0]


def test_a_phase_that_rounding_left_below_a_full_turn_is_none(columns):
    columns["phase"] = np.repeat([2.0 * np.pi - 1e-9, np.pi], 100)
    assert list(tables_of(columns, 2)["phase"].index) == pytest.approx([np.pi / 4, 3 * np.pi / 4])


@pytest.mark.parametrize("cuts", [(), (30,), (50,), (120,)])
def test_where_some_windows_have_no_floor_every_estimate_is_of_the_others(columns, cuts):
    columns["posterior_mean"][:50] = np.nan
    others = tables_of({name: values[50:] for name, values in columns.items()})
    for name, table in tables_of(columns, cuts=cuts).items():
        pd.testing.assert_frame_equal(table, others[name], check_exact=True)


def test_without_a_floor_its_cells_are_empty_and_the_others_exact(columns, tmp_path):
    columns["posterior_mean"][:] = np.nan
    found = tables_of(columns)
    for name in ("position", "frequency", "phase"):
        table = found[name]
        write_table(tmp_path / "table.csv", table)
        lines = (tmp_path / "table.csv").read_text().splitlines()
        assert lines[0] == f"{name},{','.join(ESTIMATE_COLUMNS)},excess"
        assert all(line.split(",")[2] == line.split(",")[5] == "" for line in lines[1:])
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv", index_col=name), table, check_exact=True)
