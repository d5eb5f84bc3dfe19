"""Reads that wait until this gateway has what they ask for: a revision, or everything written on any gateway.

Where several gateways share a log, one may be milliseconds behind another. A connection never notices, because it sees
what was answered on it; a client that writes on one gateway and reads on another gives the revision of the write.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import TypeAlias

from sortedcontainers import SortedList

from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, NotDurable
from hivewire.streams.message import NotStored
from hivewire.telemetry import Gauges
from hivewire_protocol.errors import Unavailable

WAIT_SECONDS = 5.0
"""Longest time that a read waits; then it gets 503."""

MOST = 4_096
"""Most reads that wait at the same time. One takes a few KiB."""


WhenGone: TypeAlias = Callable[[Callable[[], None] | None], None]
"""See `Caller.when_gone`."""


class Freshness:
    """All reads that wait."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._limits: set[asyncio.Timeout] = set()  # of each read that waits
        self._revisions: SortedList[tuple[int, int, asyncio.Future[None]]] = SortedList()
        self._numbers = count()
        self._asking: asyncio.Task[None] | None = None
        self._draining = False
        ledger.observe(self._reached)

    async def wait(self, at_least: int | None, fresh: bool | None, when_gone: WhenGone) -> None:
        """Return when the ledger has the revision `at_least`, and with `fresh` all that was answered before the call.

        Raises Unavailable after WAIT_SECONDS, when too many wait, and when the gateway stops. `when_gone` sets what is
        called when nobody wants the answer any more.
        """
        if fresh:
            await self.confirm(partial(self._ledger.confirm, quorum=True), when_gone)
        if at_least is not None and at_least > self._ledger.revision:
            words = f"this gateway has not reached revision {at_least}, it is at {self._ledger.revision}"
            async with self._limited(words, when_gone):
                await self._reach(at_least)

    async def confirm(self, confirm: Callable[[], Awaitable[object]], when_gone: WhenGone) -> None:
        """Wait for a confirmation of a log. Raises Unavailable as `wait`, and when the log does not confirm."""
        async with self._limited("what other gateways wrote cannot be confirmed", when_gone):
            await confirm()

    async def _reach(self, revision: int) -> None:
        waiting = (revision, next(self._numbers), asyncio.get_running_loop().create_future())
        self._revisions.add(waiting)
        if self._ledger.shared and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask())
        try:
            await waiting[2]
        finally:
            self._revisions.discard(waiting)

    async def _ask(self) -> None:
        """While a read waits, ask the log ten times a second for entries that were not announced here."""
        while self._revisions:
            await self._ledger.hear(self._ledger.revision)

    def _reached(self, changes: Sequence[Change]) -> None:
        for _, _, future in self._revisions.irange(maximum=(self._ledger.revision + 1,)):
            if not future.done():
                future.set_result(None)

    @asynccontextmanager
    async def _limited(self, failure: str, when_gone: WhenGone) -> AsyncIterator[None]:
        """Bounds of one wait. Raises Unavailable with the `failure`."""
        if self._draining:
            raise Unavailable("the gateway is stopping")
        if len(self._limits) >= MOST:
            raise Unavailable(f"{failure}: too many requests wait already")
        try:
            async with asyncio.timeout(WAIT_SECONDS) as limit:
                self._limits.add(limit)
                when_gone(lambda: _end(limit))
                yield
        except (NotDurable, NotStored) as error:
            raise Unavailable(f"{failure}: {error}") from None
        except TimeoutError:
            stopping = "the gateway is stopping"
            raise Unavailable(stopping if self._draining else f"{failure}: waited for {WAIT_SECONDS:g} s") from None
        finally:
            when_gone(None)
            self._limits.discard(limit)

    def drain(self) -> None:
        """The gateway stops: all waiting reads, now or later, get 503."""
        self._draining = True
        for limit in self._limits:
            _end(limit)

    # The life of the component.

    def start(self) -> None:
        """Does nothing: it waits with each request."""

    async def close(self) -> None:
        """Answer all that still wait."""
        self.drain()
        if self._asking is not None:
            self._asking.cancel()

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {"waiting_reads": ("Reads that wait for a revision or a confirmation.", lambda: len(self._limits))}


def _end(limit: asyncio.Timeout) -> None:
    if not limit.expired():
        limit.reschedule(0)
