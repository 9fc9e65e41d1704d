"""Ways that are compared take turns, and a ratio is of figures of the same round."""

from itertools import count

from benchmarks.turns import ratios, rotated, spread, take_turns, timed


def test_each_turn_begins_with_another_way_and_has_them_all():
    ways = ["a", "b", "c"]
    turns = [rotated(ways, turn) for turn in range(4)]
    assert turns == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_each_way_is_called_once_a_round_and_its_results_are_in_the_order_of_rounds():
    clock = count()
    assert take_turns({"a": lambda: next(clock), "b": lambda: next(clock)}, 3) == {"a": [0, 3, 4], "b": [1, 2, 5]}


def test_ratios_are_of_the_same_round_and_the_spread_has_their_median_and_ends():
    assert ratios([4.0, 9.0, 2.0], [2.0, 3.0, 2.0]) == [2.0, 3.0, 1.0]
    assert spread([2.0, 3.0, 1.0]) == "2.00 (1.00 to 3.00)"


def test_the_seconds_are_those_of_the_call(monkeypatch):
    times = iter((10.0, 12.5))
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    called = []
    assert timed(lambda: called.append(True)) == 2.5
    assert called == [True]
