"""An asynchronous iterator whose items are pushed from elsewhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Stream(Generic[T]):
    """Iterate over it once; it ends when it is closed, when the client is, or when the loop over it is left."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._more = asyncio.Event()
        self._end: BaseException | None = None

    async def __aiter__(self) -> AsyncIterator[T]:
        try:
            while True:
                yield await self.__anext__()
        except StopAsyncIteration:
            return
        finally:
            await self.close()

    async def __anext__(self) -> T:
        """The next item; waits for it."""
        while not self._items:
            if self._end is not None:
                raise self._end
            self._more.clear()
            await self._more.wait()
        return self._items.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __len__(self) -> int:
        """How many items wait to be read."""
        return len(self._items)

    async def close(self) -> None:
        """End the iteration."""
        self.end()

    def push(self, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        self._more.set()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes: the iteration ends after what was pushed, by raising the error if there is one."""
        if self._end is None:
            self._end = error or StopAsyncIteration()
        self._more.set()
