"""One after the other, for each key: who comes while somebody else has the turn waits for it, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


class TooManyWaiting(Exception):
    """As many as may wait for this key's turn wait already."""


class KeyedLock(Generic[_Key]):
    """The turns of any number of keys; a key that nobody holds or waits for takes no memory."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._queues: dict[_Key, _Queue] = {}

    @asynccontextmanager
    async def turn(self, key: _Key) -> AsyncIterator[None]:
        """Have the key to oneself. Raises TooManyWaiting at once when `most` have it or wait for it."""
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
        """Keys that somebody has or waits for."""
        return len(self._queues)


class _Queue:
    """Who has the turn of one key or waits for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.count = 0
