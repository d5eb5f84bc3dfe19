"""The parent's end: one journal, served to several gateways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from msgspec import Raw

from hivewire.ledger.engines.parent import wire
from hivewire.ledger.journal import SINCE_BYTES, Entry, Journal
from hivewire.ledger.records import Change, LedgerError
from hivewire.link import Link, Members, Turn, Turns


class LedgerService:
    """Serves an open journal to gateways. It appends in the order in which they ask, and sends each entry to all.

    An entry that was evaluated at an older tip is refused, so of two gateways that append at once one evaluates again.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._members = Members()
        self._turns = Turns()
        self._appending = asyncio.Lock()
        self._author: Link | None = None  # of the entry that is on its way to the storage
        self._bytes = Raw(b"")  # that entry as it came
        self.entries = 0
        """How many were appended."""
        self.late = 0
        """How many were refused because another one was faster."""

    async def start(self) -> None:
        """Follow the journal."""
        await self._journal.follow(self._take, lambda notes: None)

    def connected(self) -> Link:
        """The parent's end of one more connection."""
        gateway = _Gateway(self)
        return gateway.link

    def _take(self, entry: Entry) -> None:
        author, encoded = self._author, self._bytes
        others = wire.Others(entry.place, encoded if author is not None else Raw(wire.encode(entry.changes)))
        self._members.tell(others, author, wire.Stored(entry.place))

    async def append(self, link: Link, encoded: Raw, behind: int) -> bool:
        """As `Journal.append`."""
        async with self._appending:
            if behind != self._journal.tip:
                self.late += 1
                return False
            self._author, self._bytes = link, encoded
            try:
                stands = await self._journal.append(wire.passing_changes_of(encoded), behind=behind)
            finally:
                self._author, self._bytes = None, Raw(b"")
            self.entries += 1
            return stands

    def open(self, gateway: _Gateway) -> wire.Opened:
        """Send this gateway everything from now on."""
        self._members.join(gateway.link)
        journal = self._journal
        return wire.Opened(journal.epoch, journal.read_only, journal.tip, journal.batch_bytes)

    async def begin(self, gateway: _Gateway) -> int:
        """Let this gateway read the log as it is at the tip that this returns."""
        async with self._appending:
            await gateway.begin(self._journal)
            return self._journal.tip

    async def remember(self, link: Link, notes: Mapping[str, str]) -> None:
        """As `Journal.remember`; the others get the notes before anything that their author does next."""
        await self._journal.remember(notes)
        self._members.tell(wire.Told(dict(notes)), link)

    def passed(self, link: Link) -> None:
        """A gateway has nothing to append in its turn."""
        self._turns.end(link)

    def left(self, link: Link) -> None:
        """A connection has ended."""
        self._members.leave(link)
        self._turns.leave(link)

    async def answer(self, gateway: _Gateway, request: wire.Request) -> Any:
        """What the journal answers. Raises what it raises."""
        journal = self._journal
        match request:
            case wire.Append(changes, behind):
                return await self._turns.append(gateway.link, self.append(gateway.link, changes, behind))
            case Turn():
                return await self._turns.take(gateway.link)
            case wire.Confirm(quorum):
                return await journal.confirm(quorum=quorum)
            case wire.History(kind, key, revision, take):
                return await journal.history(kind, key, revision=revision, take=take)
            case wire.Since(revision, take):
                return await journal.since(revision, take=take)
            case wire.Outlines(after, before, take):
                return await journal.outline(after, before=before, take=take)
            case wire.Remember(notes):
                return await self.remember(gateway.link, notes)
            case wire.Notes():
                return await journal.notes()
            case wire.Remove(places):
                return await journal.remove(places)
            case wire.AppendAudit(rows):
                return await journal.append_audit(rows)
            case wire.ReadAudit(wanted, before, take, skip):
                return await journal.read_audit(wanted, before=before, take=take, skip=skip)
            case wire.RemoveAudit(numbers):
                return await journal.remove_audit(numbers)
            case wire.Open():
                return self.open(gateway)
            case wire.Begin():
                return await self.begin(gateway)
            case wire.More():
                return await gateway.more()


class _Gateway:
    """The connection of one gateway."""

    def __init__(self, service: LedgerService) -> None:
        self._service = service
        self._reading = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None
        self._log: AsyncGenerator[list[Change], None] | None = None
        self._first: list[Change] = []
        self.link = Link(self._handle, lambda body: service.passed(self.link), self._lost, expected=LedgerError)

    async def _handle(self, body: Raw) -> Any:
        return await self._service.answer(self, wire.request_of(body))

    async def begin(self, journal: Journal) -> None:
        """Begin to read the log as it is now."""
        await self._close()
        async with self._reading:
            self._log = _portions(journal)
            self._first = await anext(self._log, [])

    async def more(self) -> list[Change]:
        """The next portion of it."""
        async with self._reading:
            found, self._first = self._first, []
            if not found and self._log is not None and self.link.open:
                found = await anext(self._log, [])
            return found

    def _lost(self) -> None:
        self._service.left(self.link)
        self._closing = asyncio.create_task(self._close())

    async def _close(self) -> None:
        """Read no further: what is read keeps the storage from tidying up."""
        async with self._reading:
            if self._log is not None:
                await self._log.aclose()


async def _portions(journal: Journal) -> AsyncGenerator[list[Change], None]:
    async for changes in journal.changes():
        for portion in wire.portions(changes, SINCE_BYTES):
            yield portion
