"""What uvicorn gives every connection and request, in a form that takes memory only while it is used.

An `asyncio.Event` takes 0.7 KiB and a `deque` as much, mostly for a queue that is empty. A request that waits has two
events and its connection a queue: a sixth of all that it takes.
"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeVar

T = TypeVar("T")


class LightEvent(asyncio.Event):
    """An event that becomes a whole one when somebody waits for it."""

    __slots__ = ("_is_set", "_whole")

    def __init__(self, *, is_set: bool) -> None:
        # Without the initialization of the base class, which makes the queue.
        self._is_set = is_set
        self._whole: asyncio.Event | None = None

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Wake all that wait."""
        self._is_set = True
        if self._whole is not None:
            self._whole.set()
            self._whole = None

    def clear(self) -> None:
        """Let `wait` block from now on."""
        self._is_set = False

    async def wait(self) -> Literal[True]:
        """Wait until it is set."""
        if not self._is_set:
            whole = self._whole = self._whole or asyncio.Event()
            await whole.wait()
        return True


class LightQueue(list[T]):
    """A list with the methods of a deque that uvicorn uses. It has few elements, if any."""

    __slots__ = ()

    def appendleft(self, element: T) -> None:
        """Add an element at the beginning."""
        self.insert(0, element)

    def popleft(self) -> T:
        """Remove the first element."""
        return self.pop(0)
