"""Threads that share a list of work, each item done by one thread. Does not import torch.

numpy, pyarrow and torch release Python's lock while they compute, so threads run side by side. They need no start-up,
no copies of the data and no cleanup, as worker processes would. Results do not depend on the number of threads.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(items: Iterator[Item], prepare: Callable[[], None] | None = None) -> Iterator[Item]:
    """Yields items, making the next one on a thread while the current one is used; the thread first calls `prepare`.

    An error in making an item is raised in its place.
    """
    with ThreadPoolExecutor(1, initializer=prepare) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


class Workers:
    """A pool of `threads` threads, including the caller's; the others first call `prepare`."""

    def __init__(self, threads: int, prepare: Callable[[], None] | None = None) -> None:
        self._ahead = 2 * threads
        self._others = ThreadPoolExecutor(threads - 1, initializer=prepare) if threads > 1 else None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the items that were started; the rest are dropped."""
        if self._others is not None:
            self._others.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yields function(item) for each item, in order, reading only a few items ahead of the results.

        An error in an item is raised in its place.
        """
        if self._others is None:
            yield from map(function, items)
            return
        waiting = deque[tuple[Future[Result], Item]]()
        results = deque[Future[Result]]()

        def do_next() -> None:
            try:
                future, item = waiting.popleft()
            except IndexError:
                return  # another thread took it
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)
                if not isinstance(error, Exception):
                    raise  # a signal, in the caller's thread

        def next_result() -> Result:
            # The caller works on waiting items rather than idle.
            while waiting and not results[0].done():
                do_next()
            return results.popleft().result()

        for item in items:
            results.append(Future())
            waiting.append((results[-1], item))
            self._others.submit(do_next)
            if len(results) > self._ahead:
                yield next_result()
        while results:
            yield next_result()
