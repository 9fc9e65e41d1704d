"""Threads that share a list of work: order, errors, look-ahead."""

import threading
import time

import pytest

from quadrature.runtime.threads import Workers, prefetch


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    def wait_and_return(item):
        time.sleep(0.002 * (item % 3))
        return item

    with Workers(threads) as workers:
        assert list(workers.map(wait_and_return, range(40))) == list(range(40))
        assert list(workers.map(wait_and_return, [])) == []


def test_threads_work_side_by_side_and_the_caller_is_one_of_them():
    together = threading.Barrier(3, timeout=60)
    at_work = set()

    def work(item):
        if item < 3:
            together.wait()  # ends only if three are at it
        at_work.add(threading.get_ident())
        return item * item

    with Workers(3) as workers:
        assert list(workers.map(work, range(100))) == [item * item for item in range(100)]
    assert threading.get_ident() in at_work
    assert len(at_work) == 3


def test_the_others_prepare_themselves_and_the_caller_is_left_as_it_is():
    place = threading.local()

    def prepare():
        place.is_prepared = True

    with Workers(3, prepare) as workers:
        answers = set(
            workers.map(
                lambda _: (threading.current_thread() is threading.main_thread(), hasattr(place, "is_prepared")),
                range(100),
            )
        )
    assert answers <= {(True, False), (False, True)}


def test_few_items_are_begun_ahead_of_the_results_taken():
    taken, begun = [], []

    def items():
        for item in range(10_000):
            taken.append(item)
            yield item

    with Workers(2) as workers:
        next(workers.map(begun.append, items()))
        time.sleep(0.05)
        assert len(begun) <= len(taken) <= 5


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("mistake", [ZeroDivisionError, IndexError])
def test_an_error_reaches_the_caller_in_its_place(threads, mistake):
    def work(item):
        if item == 3:
            raise mistake("three")
        return item

    with Workers(threads) as workers:
        results = workers.map(work, range(10))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(mistake, match="three"):
            next(results)


def test_after_an_error_nothing_is_begun_or_left_at_work():
    begun, ended = [], []

    def work(item):
        begun.append(item)
        time.sleep(0.01)
        if item == 5:
            raise OSError("disk full")
        ended.append(item)

    def drain():
        with Workers(2) as workers:
            for _ in workers.map(work, range(10_000)):
                pass

    with pytest.raises(OSError, match="disk full"):
        drain()
    assert sorted(ended) == sorted(set(begun) - {5})
    assert len(begun) < 20


def test_what_stops_the_caller_stops_it_at_once():
    """A signal's exception, which falls into whatever the caller's thread is at."""
    main = threading.main_thread()

    def work(_item):
        if threading.current_thread() is main:
            raise KeyboardInterrupt
        time.sleep(0.01)

    with Workers(2) as workers, pytest.raises(KeyboardInterrupt):
        list(workers.map(work, range(100)))


def test_what_was_not_begun_is_left_when_the_caller_stops():
    begun, prepared = [], threading.Event()
    with Workers(2, prepared.wait) as workers:
        next(workers.map(begun.append, range(100)))
        threading.Timer(0.1, prepared.set).start()
    assert begun == [0]


def test_prefetch_yields_every_item_in_order_and_makes_one_ahead():
    made = []

    def make():
        for item in range(4):
            made.append(item)
            yield item

    items = prefetch(make())
    assert next(items) == 0
    assert [0, *items] == [0, 1, 2, 3]
    assert made == [0, 1, 2, 3]


def test_prefetch_makes_items_on_one_other_thread_which_it_prepares():
    prepared = []
    items = prefetch((threading.get_ident() for _ in range(3)), lambda: prepared.append(threading.get_ident()))
    assert {*items} == {*prepared} != {threading.get_ident()}
    assert len(prepared) == 1


def test_prefetch_raises_in_place_of_an_item_what_went_wrong_with_it():
    def make():
        yield 1
        raise ValueError("two")

    items = prefetch(make())
    assert next(items) == 1
    with pytest.raises(ValueError, match="two"):
        next(items)
