"""Carries out what is scheduled when its time has come, exactly once (fleet configuration, section 8).

The record of a schedule is deleted in the transaction that carries it out, on condition that it has not changed. So of
several gateways one does it, and none does it again after a restart.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import structs

from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.component import end
from hivewire.dispatch import Dispatcher
from hivewire.fleet.conditions import missing
from hivewire.ledger.pending import PendingWrite
from hivewire.ledger.records import Change, Expected, LedgerError, NotDurable, Refused, Transaction, Write
from hivewire.schedules import KIND, Scheduled, expiring, is_expiry, scheduled_of
from hivewire.telemetry import Gauges, log
from hivewire.unexpected import log_unexpected
from hivewire_protocol.errors import Unavailable, UserNotActive, WireError
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import ConfigurationTransact

LOOK_SECONDS = 0.5
"""Interval of reading the clock while something is scheduled, because it may jump."""

AGAIN_SECONDS = 1.0
"""Time until the next attempt when the ledger could not be written."""

AT_ONCE = 100
"""Schedules that are carried out at the same time, in up to 15 ms; then others are served."""

TIDY = 1_000
"""Schedules that are noted until those are looked for that nothing waits for any more."""

MINUTE = 60_000


class Timers:
    """The timer of all schedules of this gateway."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._ledger = dispatcher.ledger
        self._due: list[tuple[int, int, str]] = []  # a heap: when, and the revision and key of the record
        self._noted = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ledger.observe(self._note, KIND)

    def _note(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind == KIND and change.content is not None:
                scheduled = scheduled_of(change)
                if scheduled.failed is None:
                    heapq.heappush(self._due, (scheduled.at, change.revision, change.key))
                    self._noted += 1
                    self._changed.set()

    async def fire(self) -> None:
        """Carry out everything that is due. Raises LedgerError when the ledger cannot be written; it stays due then."""
        while found := self._take():
            results = await asyncio.gather(*map(self._carry_out, found), return_exceptions=True)
            self._note(change for change, error in zip(found, results, strict=True) if error is not None)
            for error in results:
                if error is not None:
                    raise error
        if self._noted >= TIDY:
            await self._tidy()

    async def _tidy(self) -> None:
        """Remove the expiries of what was written since. They would stay until their time, and count as schedules."""
        self._noted, live = 0, self._ledger.kind(KIND).live
        stale = [change for change in live.values() if is_expiry(change) and expiring(self._ledger, change) is None]
        for start in range(0, len(stale), AT_ONCE):
            await asyncio.gather(*map(self._expire, stale[start : start + AT_ONCE]))
        self._due = [each for each in self._due if each[2] in live and live[each[2]].revision == each[1]]
        heapq.heapify(self._due)

    def _take(self) -> list[Change]:
        """The next records that are due, in the order of their times."""
        found: list[Change] = []
        time = self._ledger.now()
        while self._due and self._due[0][0] <= time and len(found) < AT_ONCE:
            _, revision, key = heapq.heappop(self._due)
            change = self._ledger.get(KIND, key)
            if change is not None and change.revision == revision:  # otherwise it was cancelled, or postponed
                found.append(change)
        return found

    async def _carry_out(self, change: Change) -> None:
        if is_expiry(change):
            await self._expire(change)
            return
        scheduled = scheduled_of(change)
        try:
            await self._transact(change, scheduled)
        except Unavailable as error:
            raise NotDurable(str(error)) from None
        except WireError as error:
            await self._fail(change, scheduled, error)

    async def _expire(self, change: Change) -> None:
        """Delete an expiring record, unless it was written since, and its schedule."""
        writes = [self._done(change)]
        if (found := expiring(self._ledger, change)) is not None:
            expected = (Expected(revision=change.revision),)
            writes.insert(0, Write(found.kind, found.key, None, "", EXPIRED, expected))
        try:
            await self._ledger.commit(Transaction(writes))
        except Refused:
            if self._ledger.get(KIND, change.key) is change:  # it was put at the same moment: look again
                self._note([change])

    async def _transact(self, change: Change, scheduled: Scheduled) -> None:
        """Write the transaction as its author may make it now. Raises WireError."""
        rights = scheduled.rights
        user = None if rights is None else self._dispatcher.services.users.by_id(rights.user)
        if rights is None or user is None:
            raise UserNotActive
        if (gone := self._dispatcher.services.fleet.first_gone(scheduled.devices)) is not None:
            raise missing(gone)
        caller = Caller("", "", identity=rights.identity(user.login, now() + MINUTE))
        answer: Any = self._dispatcher.start(caller, ConfigurationTransact(changes=scheduled.changes))
        pending: PendingWrite[Reply] = await answer if asyncio.iscoroutine(answer) else answer
        transaction = pending.transaction
        transaction.writes, transaction.by = [*transaction.writes, self._done(change)], caller.identity
        try:
            await self._ledger.commit(transaction)
        except Refused as refused:
            if refused.write.kind != KIND:  # else another gateway has carried it out, or it was cancelled
                raise pending.refuse(refused) from None

    @staticmethod
    def _done(change: Change) -> Write:
        return Write(KIND, change.key, None, preconditions=(Expected(revision=change.revision),))

    async def _fail(self, change: Change, scheduled: Scheduled, error: WireError) -> None:
        """Store the reason, which `schedule/list` shows."""
        log.warning("a schedule was not carried out", schedule=change.key, code=error.code)
        failed = structs.replace(scheduled, failed=error.lasting, author=change.author, created=change.time)
        content = msgspec.json.encode(failed)
        write = Write(KIND, change.key, content, change.content_type, None, (Expected(revision=change.revision),))
        with suppress(Refused):
            await self._ledger.commit(Transaction([write]))

    # The life of the component.

    def start(self) -> None:
        """Read what is scheduled; what is overdue is carried out at once."""
        self._note(list(self._ledger.kind(KIND).live.values()))
        self._task = asyncio.create_task(self._run(), name="schedules")

    async def close(self) -> None:
        """Stop; what is due is carried out after the next start."""
        await end(self._task)

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {
            "schedules": (
                "Scheduled transactions and configurations that expire, with those that failed.",
                lambda: len(self._ledger.kind(KIND).live),
            )
        }

    async def _run(self) -> None:
        while True:
            wait = min((self._due[0][0] - self._ledger.now()) / 1_000, LOOK_SECONDS) if self._due else None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(wait, 0) if wait is not None else None)
            self._changed.clear()
            try:
                await self.fire()
            except LedgerError as error:
                log.warning("schedules wait for the storage", reason=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception as error:
                log_unexpected("a schedule could not be carried out", error)
                await asyncio.sleep(AGAIN_SECONDS)


EXPIRED = "expired"
"""The description of such a delete."""
