"""A call that many share: while one is running, all further callers wait for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class SharedCall:
    """Calls `work` for all waiting callers, one call at a time, with a pause of `pause` seconds after each.

    Every caller gets the outcome of a call that began after it asked.
    """

    def __init__(self, work: Callable[[], Awaitable[object]], pause: float = 0.0) -> None:
        self._work = work
        self._pause = pause
        self._next: asyncio.Future[None] | None = None  # the call that has not begun yet
        self._task: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Wait for a call that begins from now on. Raises what `work` does."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        await asyncio.shield(self._next)  # a caller that is cancelled does not cancel the call for the others

    async def _run(self) -> None:
        while (current := self._next) is not None:
            self._next = None
            try:
                await self._work()
            except Exception as error:
                current.set_exception(error)
                current.exception()  # it is retrieved, also when no caller waits any more
            except BaseException:
                current.cancel()
                raise
            else:
                current.set_result(None)
            await asyncio.sleep(self._pause)

    async def close(self) -> None:
        """End the call that is running. Waiting callers are cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._next is not None:
            self._next.cancel()
