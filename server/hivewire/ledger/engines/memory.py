"""An engine that keeps its log in memory: the reference for the contract, and what fast tests run on."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import islice

from msgspec.structs import replace

from hivewire.ledger.journal import AUDITED, BATCH_BYTES, NO_HISTORY, SINCE_BYTES, Entry, Recall, Take, audit_row
from hivewire.ledger.records import AuditFilter, AuditRow, Change, NotDurable, Outline
from hivewire.telemetry import Gauges


class MemoryJournal:
    """The log is a dictionary of changes by place; entries are counted from 1 on.

    `broken`, when set, is the text of the NotDurable that every write raises.
    """

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.broken: str | None = None
        self.tip = 0
        self.batch_bytes = BATCH_BYTES
        self.shared = False
        self.shares_notes = False
        self.keeper = True
        self.append_seconds = 0.0
        self._log: dict[int, Change] = {}
        self._places = 0
        self._take: Take = lambda entry: None
        self._in_doubt = False
        self._notes: dict[str, str] = {}
        self._rows: dict[int, AuditRow] = {}
        self._numbers = 0

    @property
    def read_only(self) -> bool:
        """Never."""
        return False

    @property
    def stopped(self) -> None:
        """Never."""

    async def open(self) -> None:
        """Nothing to open."""

    async def changes(self) -> AsyncIterator[list[Change]]:
        """All in one portion."""
        yield list(self._log.values())

    async def follow(self, take: Take, recall: Recall) -> None:
        """Does nothing, because no other process appends."""
        self._take = take

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Nobody else appends."""
        return nullcontext()

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        """At the next places, unless `broken`."""
        self._in_doubt = self.broken is not None
        self._fail_if_broken()
        self._store(changes)
        self._announce(changes)
        return True

    def _store(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.kind in NO_HISTORY:
                self._drop(change.kind, change.key)
            if change.kind in AUDITED:
                self._keep(audit_row(change))
            self._places += 1
            self._log[self._places] = change

    def _announce(self, changes: Sequence[Change]) -> None:
        self.tip += 1
        self._take(Entry(self.tip, changes))

    async def confirm(self, *, quorum: bool = False) -> None:
        """Nothing to wait for; after a failed append, a note shows whether the log still is `broken`."""
        if self._in_doubt:
            await self.remember({"probe": ""})
            self._in_doubt = False

    def _drop(self, kind: str, key: str) -> None:
        for place in [place for place, change in self._log.items() if (change.kind, change.key) == (kind, key)]:
            del self._log[place]

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """From change to change of the record."""
        by_revision = {
            change.revision: change for change in self._log.values() if (change.kind, change.key) == (kind, key)
        }
        found: list[Change] = []
        while len(found) < take and (change := by_revision.get(revision)) is not None:
            found.append(change)
            revision = change.previous
        return found

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """Walk the log forwards, to the end of a transaction."""
        found: list[Change] = []
        size = 0
        for change in self._log.values():
            if change.revision <= revision:
                continue
            if found and (len(found) >= take or size >= SINCE_BYTES) and change.revision != found[-1].revision:
                break
            found.append(change)
            size += len(change.content or b"")
        return found

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """Walk the log forwards."""
        found = (
            Outline(place, change.revision, change.kind, change.key, change.ordinal, len(change.content or b""))
            for place, change in self._log.items()
            if place > after and change.revision < before
        )
        return list(islice(found, take))

    async def remove(self, places: Sequence[int]) -> None:
        """Out of the dictionary, unless `broken`."""
        self._fail_if_broken()
        for place in places:
            self._log.pop(place, None)

    async def append_audit(self, rows: Sequence[AuditRow]) -> None:
        """Into a dictionary, unless `broken`."""
        self._fail_if_broken()
        for row in rows:
            self._keep(row)

    def _keep(self, row: AuditRow) -> None:
        self._numbers += 1
        self._rows[self._numbers] = replace(row, number=self._numbers)

    async def read_audit(self, wanted: AuditFilter, *, before: int, take: int, skip: int = 0) -> list[AuditRow]:
        """Walk the rows backwards."""
        found = (row for row in reversed(self._rows.values()) if row.number < before and wanted.matches(row))
        return list(islice(found, skip, skip + take))

    async def remove_audit(self, numbers: Sequence[int]) -> None:
        """Out of the dictionary, unless `broken`."""
        self._fail_if_broken()
        for number in numbers:
            self._rows.pop(number, None)

    def gauges(self) -> Gauges:
        """None."""
        return {}

    async def notes(self) -> dict[str, str]:
        """A copy."""
        return dict(self._notes)

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Into the dict, unless `broken`."""
        self._fail_if_broken()
        self._notes = {name: note for name, note in {**self._notes, **notes}.items() if note}

    def _fail_if_broken(self) -> None:
        if self.broken is not None:
            raise NotDurable(self.broken)

    async def close(self) -> None:
        """Nothing to release: a ledger opened on this object again finds everything."""
