"""The ledger as a source: an event is a change of a record, an offset is a revision, the state is all records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from hivewire.hub.source import Event, Row
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change
from hivewire.ledger.state import Kind
from hivewire_protocol.patterns import Patterns

EVENT_BYTES = 500
"""Approximate memory of a change without its content, in bytes."""


def key_of(change: Change) -> tuple[str]:
    """A record is found by its key."""
    return (change.key,)


def event_of(change: Change) -> Event:
    """A committed change as an event. Its content counts twice: once more when it is encoded."""
    content = change.content
    if content is None:
        return Event(change.revision, change.kind, change, EVENT_BYTES, removed=True)
    return Event(change.revision, change.kind, change, EVENT_BYTES + 2 * len(content))


class LedgerSource:
    """The log of the ledger as a source."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.covers = ledger.covers
        self.as_event = event_of

    @property
    def epoch(self) -> str:
        """The name of the ledger's history."""
        return self._ledger.epoch

    @property
    def tip(self) -> int:
        """The ledger's revision."""
        return self._ledger.revision

    @property
    def oldest(self) -> int:
        """The first revision from which the log is complete."""
        return self._ledger.oldest

    async def since(self, offset: int, *, take: int) -> list[Event]:
        """The changes after a revision. Raises NotKept when the log does not cover it."""
        return [event_of(change) for change in await self._ledger.since(offset, take=take)]

    def follow(self, observer: Callable[[Sequence[Change]], None]) -> None:
        """Call the observer with the changes of each commit from now on."""
        self._ledger.observe(observer)

    def state(self, kind: str) -> Records:
        """The records of one kind."""
        return Records(self._ledger.kind(kind))


class Records:
    """The records of one kind as the state of a topic."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def records(self, names: Patterns, after: str) -> Iterator[Row]:
        """Those within the patterns after a name, in the order of names."""
        live = self._kind.live
        for key in self._kind.within(names, after):
            change = live[key]
            yield key, change.revision, change

    def tombstones(self, after: int, before: int) -> Iterator[list[Row]]:
        """Those deleted between two revisions, newest first."""
        for revision, group in groupby(self._kind.deleted_between(after, before), attrgetter("revision")):
            yield [(change.key, revision, change) for change in group]

    def event(self, row: Row) -> Event:
        """The record's last change as an event."""
        return event_of(row[2])
