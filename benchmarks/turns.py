"""Compares several ways of doing the same work: they take turns, so that a slow moment of the machine hits them all."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")


def rotated(ways: Sequence[Name], turn: int) -> list[Name]:
    """Returns the ways in order, beginning with a different one each turn."""
    first = turn % len(ways)
    return [*ways[first:], *ways[:first]]


def take_turns(ways: Mapping[Name, Callable[[], Result]], rounds: int) -> dict[Name, list[Result]]:
    """Calls each way once a round, in rotated order; returns their results by round."""
    results: dict[Name, list[Result]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in rotated(list(ways), turn):
            results[name].append(ways[name]())
    return results


def timed(work: Callable[[], object]) -> float:
    """Calls a function; returns the seconds that it took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratios(seconds: Sequence[float], others: Sequence[float]) -> list[float]:
    """Returns `seconds / others` round by round."""
    return [own / other for own, other in zip(seconds, others, strict=True)]


def spread(ratios: Sequence[float]) -> str:
    """Returns the median, the lowest and the highest ratio as text: `1.70 (1.55 to 2.19)`."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
