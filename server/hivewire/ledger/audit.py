"""The audit: who logged in, made tokens, changed users, clients and tenants, and the activities that clients post.

Its rows are beside the log: they have no revision, are not in memory, and are bounded in number and age. Changes are
rows from the moment of their own commit (`journal.AUDITED`). What is noted here is written a second later, together
with what else came in between; failures are summed by the minute, or until somebody reads the audit. An activity is
durable before `write` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import msgspec
from msgspec.structs import replace

from hivewire.ledger.journal import MAX_APPEND, Journal
from hivewire.ledger.records import AuditFilter, AuditRow, NotDurable, Overloaded, Undecided
from hivewire.ledger.retention import DAY, Retention
from hivewire.telemetry import log

ACTIVITY = "activity"
"""The kind of what clients post. It has a bound of its own, so that they cannot push out logins and changes."""

MOST_NOTED = 10_000
"""Rows that may wait in memory; further rows are only counted."""

PORTION = 256
"""Rows that are removed at a time."""

CLOSE_SECONDS = 5.0
"""Longest wait for the storage at a stop. One over a network may need several times its `append_seconds` to give up."""

FLUSH_SECONDS = 1.0
FORGET_SECONDS = 60.0
MINUTE = 60_000
NEWEST = 1 << 62

_Key = tuple[int, str, str, str | None, str | None, str]


class Audit:
    """The audit of one gateway. `now` gives milliseconds since 1970; no caller waits for the storage for longer than
    `stall_seconds`."""

    def __init__(
        self, journal: Journal, now: Callable[[], int], retention: Retention, stall_seconds: float = 5.0
    ) -> None:
        self._journal = journal
        self._now = now
        self._most = retention.audit_rows
        self._age = round(retention.audit_days * DAY)
        self._noted: list[AuditRow] = []
        self._sums: dict[_Key, tuple[int, int]] = {}  # how many, and when the last one was
        self._asked: list[tuple[AuditRow, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._began: float | None = None  # when the write in progress began
        self._lost = 0
        self._stall_seconds = stall_seconds
        self._failing = False
        self._flushing: asyncio.Task[None] | None = None
        self._showing: asyncio.Task[None] | None = None
        self._flushes = asyncio.Lock()  # two at once would write rows twice
        self._closed = False

    async def read(self, wanted: AuditFilter, *, before: int | None = None, take: int, skip: int = 0) -> list[AuditRow]:
        """Rows with a number below `before`, those written last first, as far as they have been written."""
        before = NEWEST if before is None else min(before, NEWEST)
        return await self._journal.read_audit(wanted, before=before, take=take, skip=skip)

    def note(
        self, kind: str, subject: str, author: str | None = None, address: str | None = None, **detail: Any
    ) -> None:
        """Note that something happened; it is written in about a second."""
        if len(self._noted) >= MOST_NOTED:
            self._lost += 1
            return
        text = msgspec.json.encode(detail).decode()
        self._noted.append(AuditRow(self._now(), kind, subject, 0, author, address, detail=text))

    def sum(
        self, kind: str, subject: str, author: str | None = None, address: str | None = None, **detail: Any
    ) -> None:
        """Note something that can come very often: equal ones within a minute become one row, with the time of the
        last one."""
        now = self._now()
        key = (now // MINUTE, kind, subject, author, address, msgspec.json.encode(detail).decode())
        if key not in self._sums and len(self._sums) >= MOST_NOTED:
            key = (key[0], kind, "", None, None, '{"others":true}')
        self._sums[key] = (self._sums.get(key, (0, 0))[0] + 1, now)

    def note_failure(self, how: str, reason: str, address: str, login: str | None = None) -> None:
        """Note a failed authentication."""
        self.sum("failure", login or "", None, address, how=how, reason=reason)

    async def write(self, row: AuditRow) -> None:
        """Write a row; rows that arrive in the meantime are written together.

        Raises NotDurable: then it is not kept; and Undecided when the storage does not answer.
        """
        if self._began is not None and perf_counter() - self._began > self._stall_seconds:
            raise NotDurable("the storage does not answer")
        if len(self._asked) >= MOST_NOTED:
            raise Overloaded("too many rows are waiting to be written")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append((row, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_asked())
        try:
            await asyncio.wait_for(done, self._stall_seconds)
        except TimeoutError:
            raise Undecided("the storage does not answer") from None

    async def _write_asked(self) -> None:
        try:
            while self._asked:
                batch, self._asked = self._asked[:MAX_APPEND], self._asked[MAX_APPEND:]
                error: BaseException | None = None
                self._began = perf_counter()
                try:
                    await self._journal.append_audit([row for row, _ in batch])
                except Exception as failed:  # whatever it is, all waiting callers get it
                    error = failed if isinstance(failed, NotDurable) else NotDurable(repr(failed))
                for _, done in batch:
                    if not done.done():
                        done.set_result(None) if error is None else done.set_exception(error)
        finally:
            self._writing = self._began = None

    # What runs in the background.

    async def flush(self, *, everything: bool = False) -> None:
        """Write what was noted, and the sums of minutes that are over. Raises NotDurable; nothing is lost then."""
        async with self._flushes:
            await self._write_noted()
            minute = self._now() // MINUTE
            for key in [key for key in self._sums if everything or key[0] < minute]:
                _, kind, subject, author, address, detail = key
                count, time = self._sums.pop(key)
                self._noted.append(AuditRow(time, kind, subject, 0, author, address, count, detail))
            if self._lost:
                self._noted.append(AuditRow(self._now(), "lost", "", count=self._lost))
                self._lost = 0
            await self._write_noted()

    async def _write_noted(self) -> None:
        while self._noted:
            batch = self._noted[:MAX_APPEND]
            await self._journal.append_audit(batch)
            del self._noted[: len(batch)]

    async def forget(self) -> None:
        """Remove rows that are too old or too many, a portion at a time. Raises NotDurable."""
        oldest = self._now() - self._age
        for others in (False, True):
            wanted = AuditFilter(ACTIVITY, others)
            for doomed, skip in ((replace(wanted, until=oldest), 0), (wanted, self._most)):
                while rows := await self._journal.read_audit(doomed, before=NEWEST, take=PORTION, skip=skip):
                    await self._journal.remove_audit([row.number for row in rows])

    async def try_to_flush(self) -> None:
        """The same as `flush`; rows that cannot be written now wait. Cancelling it does not interrupt a write."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._try(self.flush))
        await asyncio.shield(self._flushing)

    async def show(self) -> None:
        """Write everything noted and counted so far, before the audit is read.

        Returns after `FLUSH_SECONDS` at the latest: a storage that does not answer must not prevent reading.
        """
        if not (self._noted or self._sums or self._lost):
            return
        if self._showing is None or self._showing.done():
            self._showing = asyncio.create_task(self._try(partial(self.flush, everything=True)))
        await asyncio.wait([self._showing], timeout=FLUSH_SECONDS)

    async def try_to_forget(self) -> None:
        """The same as `forget`; rows that cannot be removed now stay."""
        await self._try(self.forget)

    async def _try(self, work: Callable[[], Any]) -> None:
        try:
            await work()
        except Exception as error:  # whatever it is, trying again does no harm
            if not self._failing:  # once, not every second while a disk is full
                log.warning("the audit was not written; trying again later", reason=repr(error))
            self._failing = True
        else:
            self._failing = False

    async def close(self) -> None:
        """Write what was noted, if the storage takes it soon. Called again it does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                for task in (self._writing, self._flushing, self._showing):
                    if task is not None:
                        await task
                await self._try(partial(self.flush, everything=True))
        except TimeoutError:
            log.warning("the audit was not written before the stop", reason="the storage does not answer")
