"""A gateway's end: the journal of its parent process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec
from msgspec import Raw

from hivewire.ledger.engines.parent import wire
from hivewire.ledger.journal import Entry, Recall, Take
from hivewire.ledger.records import (
    AuditFilter,
    AuditRow,
    Change,
    JournalError,
    NotDurable,
    Outline,
    Undecided,
    Unexpected,
    Unsynced,
)
from hivewire.link import ParentLink
from hivewire.stopped import Stopped
from hivewire.telemetry import Gauges

READS = 16
"""Reads that the parent is asked for at the same time; each answer has up to a few megabytes."""


class ParentJournal:
    """The log that the parent serves at a Unix socket. `on_lost` is called when the parent has gone."""

    def __init__(self, path: str, on_lost: Callable[[], None] = lambda: None) -> None:
        self._on_lost = on_lost
        self._link = ParentLink(
            path, wire.message_of, NotDurable, Undecided, Unsynced, unexpected=Unexpected, on_lost=self._lost
        )
        self._reads = asyncio.Semaphore(READS)
        self._take: Take | None = None
        self._recall: Recall = lambda notes: None
        self._changes: Sequence[Change] = ()  # of the entry that is on its way
        self.epoch = ""
        self.read_only = False
        self.tip = 0
        self.batch_bytes = 0
        self.shared = True
        self.shares_notes = True
        self.append_seconds = 0.0
        self.stopped: Stopped | None = None

    @property
    def keeper(self) -> bool:
        """Whether it is this gateway that removes what is no longer needed."""
        return self._link.keeper

    async def open(self) -> None:
        """Ask the parent for its log. Raises JournalError."""
        try:
            await self._link.connect()
            opened = await self._link.ask_for(wire.Opened, wire.Open())
        except (OSError, NotDurable) as error:
            raise JournalError(f"cannot use the ledger of the parent process: {error}") from error
        self.epoch, self.read_only, self.tip, self.batch_bytes = msgspec.structs.astuple(opened)

    async def changes(self) -> AsyncIterator[list[Change]]:
        """As the parent reads them."""
        tip = await self._link.ask_for(int, wire.Begin())
        if self._take is None:
            self.tip = tip
        while changes := wire.changes_of(await self._link.ask(wire.More())):
            yield changes

    async def follow(self, take: Take, recall: Recall) -> None:
        """First what the parent has sent since `open` and is not in `changes`."""
        self._take, self._recall = take, recall
        self._link.follow(self._heard)

    def _heard(self, message: wire.Message) -> None:
        match message:
            case wire.Others(place, encoded):
                if place > self.tip:
                    self._deliver(place, wire.changes_of(encoded))
            case wire.Stored(place):
                self._deliver(place, self._changes)
            case wire.Told(notes):
                self._recall(notes)

    def _deliver(self, place: int, changes: Sequence[Change]) -> None:
        self.tip = place
        if self._take is not None:
            self._take(Entry(place, changes))

    def _lost(self) -> None:
        self.stopped = Stopped("the parent process has gone", again=False)
        self._on_lost()

    def turn(self) -> AbstractAsyncContextManager[None]:
        """As the parent gives it."""
        return self._link.turn()

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        """As the parent answers. Raises Undecided when the parent ends before that."""
        self._changes = changes
        try:
            return await self._link.append(wire.Append(Raw(wire.encode(changes)), behind))
        finally:
            self._changes = ()

    async def confirm(self, *, quorum: bool = False) -> None:
        """The parent sends everything that was durable at the time of the call before it replies."""
        await self._link.ask(wire.Confirm(quorum))

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """As the parent reads it."""
        return wire.changes_of(await self._read(wire.History(kind, key, revision, take)))

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """As the parent reads it."""
        return wire.changes_of(await self._read(wire.Since(revision, take)))

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """As the parent reads it."""
        return await self._link.ask_for(list[Outline], wire.Outlines(after, before, take))

    async def remove(self, places: Sequence[int]) -> None:
        """The parent removes them, after it has sent earlier notes to the other gateways."""
        await self._link.ask(wire.Remove(places))

    async def append_audit(self, rows: Sequence[AuditRow]) -> None:
        """By the parent."""
        await self._link.ask(wire.AppendAudit(rows))

    async def read_audit(self, wanted: AuditFilter, *, before: int, take: int, skip: int = 0) -> list[AuditRow]:
        """As the parent reads it."""
        answer = await self._read(wire.ReadAudit(wanted, before, take, skip))
        return msgspec.msgpack.decode(answer, type=list[AuditRow])

    async def remove_audit(self, numbers: Sequence[int]) -> None:
        """By the parent."""
        await self._link.ask(wire.RemoveAudit(numbers))

    def gauges(self) -> Gauges:
        """None."""
        return {}

    async def notes(self) -> dict[str, str]:
        """As the parent reads them."""
        return await self._link.ask_for(dict[str, str], wire.Notes())

    async def remember(self, notes: Mapping[str, str]) -> None:
        """By the parent, which sends them to the other gateways."""
        await self._link.ask(wire.Remember(notes))

    async def close(self) -> None:
        """End the connection."""
        self._link.close()

    async def _read(self, request: wire.Request) -> Raw:
        async with self._reads:
            return await self._link.ask(request)
