"""Threads that share a list of work, each doing whole items of it. No torch.

numpy, pyarrow and torch let go of Python's lock while they compute, so threads work side by side without what worker
processes would cost: to start, to feed, and to end with the one that started them. What an item's result is does not
depend on how many threads there are.
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
    """A number of threads, the caller's own among them; the others first call `prepare`."""

    def __init__(self, threads: int, prepare: Callable[[], None] | None = None) -> None:
        self._ahead = 2 * threads
        self._others = ThreadPoolExecutor(threads - 1, initializer=prepare) if threads > 1 else None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends when all that was begun has ended."""
        if self._others is not None:
            self._others.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yields function(item) for each item, in order, taking few items ahead of the results.

        What goes wrong with an item is raised in its place.
        """
        if self._others is None:
            yield from map(function, items)
            return
        unbegun = deque[tuple[Future[Result], Item]]()
        results = deque[Future[Result]]()

        def do_next() -> None:
            try:
                future, item = unbegun.popleft()
            except IndexError:
                return  # somebody else has begun it
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)
                if not isinstance(error, Exception):
                    raise  # a signal to the caller's thread

        def next_result() -> Result:
            # The caller does what nobody has begun, rather than wait.
            while unbegun and not results[0].done():
                do_next()
            return results.popleft().result()

        for item in items:
            results.append(Future())
            unbegun.append((results[-1], item))
            self._others.submit(do_next)
            if len(results) > self._ahead:
                yield next_result()
        while results:
            yield next_result()
