"""An event loop in a thread of its own, for programs without one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from hivewire_client.errors import Stopped

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads, from `start` to `stop`."""

    is_running = False

    def __init__(self) -> None:
        self._accepting = threading.Lock()

    def start(self) -> None:
        """Start the thread."""
        self.is_running = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hivewire", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns; waits for it. It is cancelled if the waiting thread is interrupted.

        Raises Stopped if the thread does not run, or stops meanwhile.
        """
        try:
            with self._accepting:
                if not self.is_running:
                    raise Stopped("the client is closed")
                future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except BaseException:  # also an interrupt: Python would warn of a coroutine that nobody runs
            with suppress(ValueError):  # it runs already, and ends with the thread
                work.close()
            raise
        try:
            return future.result()
        except CancelledError:
            raise Stopped("the client is closed") from None
        except BaseException:
            future.cancel()
            raise

    def call(self, work: Callable[[], T]) -> T:
        """What a function returns that must run in the event loop; after `stop`, here."""

        async def run() -> T:
            return work()

        try:
            return self.run(run())
        except Stopped:
            return work()

    def stop(self) -> None:
        """End what still runs, and the thread."""
        with self._accepting:  # what comes later is refused, and what came before is ended
            self.is_running = False
            ending = asyncio.run_coroutine_threadsafe(_end_others(), self._loop)
        ending.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_others() -> None:
    """Cancel all other tasks of the loop, and wait for them; then what generators have to do, and threads."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
