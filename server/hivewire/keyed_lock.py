"""A lock for each key. Tasks that wait for the same key get its lock in the order of their requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


class TooManyWaiting(Exception):
    """Too many tasks hold the lock of a key or wait for it."""


class KeyedLock(Generic[_Key]):
    """Locks for any number of keys. A key takes no memory while its lock is not held."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._queues: dict[_Key, _Queue] = {}

    @asynccontextmanager
    async def lock(self, key: _Key) -> AsyncIterator[None]:
        """The lock of a key. Raises TooManyWaiting at once when `most` tasks hold it or wait for it."""
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
        """Number of keys whose lock is held."""
        return len(self._queues)


class _Queue:
    """The lock of one key, and the number of tasks that hold it or wait for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.count = 0
