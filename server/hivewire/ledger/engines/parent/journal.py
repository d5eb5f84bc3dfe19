"""A gateway's end: the journal of its parent process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Raw

from hivewire.ledger.engines.parent import wire
from hivewire.ledger.journal import Entry, Recall, Stopped, Take
from hivewire.ledger.records import (
    AuditFilter,
    AuditRow,
    Change,
    JournalError,
    NotDurable,
    Outline,
    Undecided,
    Unexpected,
)
from hivewire.link import Failed, Link, LinkLost
from hivewire.telemetry import Gauges, log

READS = 16
"""Reads that the parent is asked for at once; their answers have up to a few megabytes each."""

WAITING_BYTES = 1 << 30
"""What others may write while a gateway loads. Beyond that it ends, and is started again."""

T = TypeVar("T")


class ParentJournal:
    """The log that the parent serves at a Unix socket. `on_lost` is called when the parent has gone."""

    def __init__(self, path: str, on_lost: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._on_lost = on_lost
        self._link = Link(told=self._told, lost=self._lost)
        self._reads = asyncio.Semaphore(READS)
        self._waiting: deque[wire.Message] | None = deque()  # what was told before `follow`
        self._waiting_bytes = 0
        self._take: Take = lambda entry: None
        self._recall: Recall = lambda notes: None
        self._changes: Sequence[Change] = ()  # of the entry that is on its way
        self.epoch = ""
        self.read_only = False
        self.tip = 0
        self.batch_bytes = 0
        self.shared = True
        self.keeper = False
        self.rest = self.append_seconds = 0.0
        self.stopped: Stopped | None = None
        self._closed = False

    async def open(self) -> None:
        """Ask the parent for its log. Raises JournalError."""
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self._link, self._path)
            opened = await self._ask(wire.Open(), wire.Opened)
        except (OSError, NotDurable) as error:
            raise JournalError(f"cannot use the ledger of the parent process: {error}") from error
        self.epoch, self.read_only, self.tip, self.batch_bytes = msgspec.structs.astuple(opened)

    async def changes(self) -> AsyncIterator[list[Change]]:
        """As the parent reads them."""
        tip = await self._ask(wire.Begin(), int)
        if (waiting := self._waiting) is not None:
            self.tip = tip
            self._waiting = deque(each for each in waiting if not isinstance(each, wire.Others) or each.place > tip)
        while changes := wire.changes_of(await self._asked(wire.More())):
            yield changes

    async def follow(self, take: Take, recall: Recall) -> None:
        """First what was told since `open`."""
        self._take, self._recall = take, recall
        waiting, self._waiting = self._waiting or (), None
        for message in waiting:
            self._heard(message)

    def _told(self, body: Raw) -> None:
        message = wire.message_of(body)
        if self._waiting is not None and not isinstance(message, wire.Keep):
            self._waiting.append(message)
            self._waiting_bytes += len(body)
            if self._waiting_bytes > WAITING_BYTES:
                log.error("more was written than may wait while this gateway loads", bytes=self._waiting_bytes)
                self._link.close()
        else:
            self._heard(message)

    def _heard(self, message: wire.Message) -> None:
        match message:
            case wire.Others(place, encoded):
                self._deliver(place, wire.changes_of(encoded))
            case wire.Stored(place):
                self._deliver(place, self._changes)
            case wire.Told(notes):
                self._recall(notes)
            case wire.Keep():
                self.keeper = True

    def _deliver(self, place: int, changes: Sequence[Change]) -> None:
        self.tip = place
        self._take(Entry(place, changes))

    def _lost(self) -> None:
        self.keeper = False
        if not self._closed:
            self.stopped = Stopped("the parent process has gone", again=False)
            self._on_lost()

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        """As the parent answers. Raises Undecided when it has gone meanwhile."""
        self._changes = changes
        try:
            return await self._ask(wire.Append(Raw(wire.encode(changes)), behind), bool)
        finally:
            self._changes = ()

    async def confirm(self, *, quorum: bool = False) -> None:
        """What was durable when the parent was asked has been told before its answer."""
        await self._asked(wire.Confirm(quorum))

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """As the parent reads it."""
        return wire.changes_of(await self._read(wire.History(kind, key, revision, take)))

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """As the parent reads it."""
        return wire.changes_of(await self._read(wire.Since(revision, take)))

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """As the parent reads it."""
        return await self._ask(wire.Outlines(after, before, take), list[Outline])

    async def remove(self, places: Sequence[int]) -> None:
        """By the parent, after the others have been told what was remembered before."""
        await self._asked(wire.Remove(places))

    async def append_audit(self, rows: Sequence[AuditRow]) -> None:
        """By the parent."""
        await self._asked(wire.AppendAudit(rows))

    async def read_audit(self, wanted: AuditFilter, *, before: int, take: int, skip: int = 0) -> list[AuditRow]:
        """As the parent reads it."""
        answer = await self._read(wire.ReadAudit(wanted, before, take, skip))
        return msgspec.msgpack.decode(answer, type=list[AuditRow])

    async def remove_audit(self, numbers: Sequence[int]) -> None:
        """By the parent."""
        await self._asked(wire.RemoveAudit(numbers))

    def gauges(self) -> Gauges:
        """None."""
        return {}

    async def notes(self) -> dict[str, str]:
        """As the parent reads them."""
        return await self._ask(wire.Notes(), dict[str, str])

    async def remember(self, notes: Mapping[str, str]) -> None:
        """By the parent, which tells the others."""
        await self._asked(wire.Remember(notes))

    async def close(self) -> None:
        """End the connection."""
        self._closed = True
        self._link.close()

    async def _read(self, request: wire.Request) -> Raw:
        async with self._reads:
            return await self._asked(request)

    async def _ask(self, request: wire.Request, answer: type[T]) -> T:
        return msgspec.msgpack.decode(await self._asked(request), type=answer)

    async def _asked(self, request: wire.Request) -> Raw:
        """The answer, with the errors that the ledger knows."""
        if not self._link.open:
            raise NotDurable("the ledger is not open, or the parent process has gone")
        try:
            return await self._link.ask(request)
        except LinkLost as error:
            raise Undecided("the parent process has gone") from error
        except Failed as error:
            raise _ERRORS.get(error.kind, Unexpected)(str(error)) from None


_ERRORS = {error.__name__: error for error in (NotDurable, Undecided)}
