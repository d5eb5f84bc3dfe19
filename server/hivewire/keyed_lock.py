"""A lock for each key. Those that wait for the same key get it in the order in which they asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


class TooManyWaiting(Exception):
    """The limit of those that hold a key or wait for it is reached."""


class KeyedLock(Generic[_Key]):
    """Locks of any number of keys. A key that nobody holds or waits for takes no memory."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._queues: dict[_Key, _Queue] = {}

    @asynccontextmanager
    async def turn(self, key: _Key) -> AsyncIterator[None]:
        """Hold the lock of a key. Raises TooManyWaiting at once when `most` hold it or wait for it."""
        queue = self._queues.setdefault(key, _Queue())
        if queue.count == self._most:
            raise TooManyWaiting
        queue.count += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.count -= 1
            if not queue.count:
                del self._queues[key]

    def __len__(self) -> int:
        """Number of keys that are held or waited for."""
        return len(self._queues)


class _Queue:
    """The lock of one key, and how many hold it or wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.count = 0
