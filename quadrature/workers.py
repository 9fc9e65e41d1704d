"""Threads that each compute alone.

torch splits one operation over threads, and sums in another order for each number of them; its threads spin while
they wait for each other, which slows whatever else runs on the machine. Here each thread computes whole pieces of
work instead, one operation at a time, so that the bits do not depend on how many threads there are.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A number of threads; one means none beside the caller's own."""

    def __init__(self, threads: int) -> None:
        self._ahead = 2 * threads
        self._pool = ThreadPoolExecutor(threads, initializer=compute_alone) if threads > 1 else None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yields function(item) for each item, in order, taking few items ahead of the results."""
        if self._pool is None:
            yield from map(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self._pool.submit(function, item))
            if len(waiting) > self._ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def compute_alone() -> None:
    """Has torch compute on the calling thread alone."""
    torch.set_num_threads(1)
