"""Long work in slices: a generator that yields every few milliseconds and returns its result.

A caller on an event loop lets other tasks run at each yield; one in a worker process calls `at_once`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Steps: TypeAlias = Generator[None, None, T]


def at_once(steps: Steps[T]) -> T:
    """The result of the work, done without pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
