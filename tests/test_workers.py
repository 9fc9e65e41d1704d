"""Threads that each compute alone: order, errors, look-ahead."""

import threading
import time

import pytest
import torch

from quadrature.workers import Workers


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    def wait_and_return(item):
        time.sleep(0.002 * (item % 3))
        return item

    with Workers(threads) as workers:
        assert list(workers.map(wait_and_return, range(40))) == list(range(40))


def test_each_thread_computes_alone_and_the_callers_stay_as_they_were():
    before = torch.get_num_threads()
    with Workers(3) as workers:
        seen = set(workers.map(lambda _: (torch.get_num_threads(), threading.get_ident()), range(30)))
    assert {threads for threads, _ in seen} == {1}
    assert threading.get_ident() not in {thread for _, thread in seen}
    assert torch.get_num_threads() == before


def test_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for item in range(1000):
            taken.append(item)
            yield item

    with Workers(2) as workers:
        results = workers.map(lambda item: item, items())
        next(results)
        assert len(taken) < 10


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_reaches_the_caller(threads):
    with Workers(threads) as workers, pytest.raises(ZeroDivisionError):
        list(workers.map(lambda item: 1 // item, [1, 0, 1]))
