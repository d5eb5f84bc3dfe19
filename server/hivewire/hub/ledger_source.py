"""The ledger as a source: an event is a change of a record, an offset is a revision, the state is all records.

Among the records are those that decide about access. Only this file of the hub knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from hivewire.access.identity import Identity
from hivewire.access.revocations import REVOCATION, revoked_devices
from hivewire.access.tenants import CLIENT, TENANT
from hivewire.access.users import KIND as USER
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import parts_of
from hivewire.hub.source import Event, NotCovered, Row
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change, NotKept
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
    event = Event(change.revision, change.kind, change, EVENT_BYTES + 2 * len(content))
    if change.description is not None and change.kind == DEVICE:  # it moves
        event.parts = tuple(map(event_of, parts_of(change)))
    return event


class OfLedger:
    """The base of sources whose offsets are the revisions of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.covers = ledger.covers
        self.confirm = ledger.confirm

    @property
    def epoch(self) -> str:
        """The identity of the ledger's history."""
        return self._ledger.epoch

    @property
    def tip(self) -> int:
        """The ledger's revision."""
        return self._ledger.revision

    @property
    def oldest(self) -> int:
        """The first revision from which the log is complete."""
        return self._ledger.oldest

    @property
    def shared(self) -> bool:
        """Whether other gateways write to the ledger too."""
        return self._ledger.shared

    def on_gap(self, call: Callable[[], None]) -> None:
        """A ledger has no gaps."""

    def is_over(self, item: object) -> bool:
        """Nothing in it has an end."""
        return False


class LedgerSource(OfLedger):
    """The log of the ledger as a source."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.as_event = event_of

    async def since(self, offset: int, *, take: int) -> list[Event]:
        """The changes after a revision. Raises NotCovered when the log does not cover it."""
        try:
            changes = await self._ledger.since(offset, take=take)
        except NotKept as error:
            raise NotCovered(str(error)) from None
        return [event_of(change) for change in changes]

    def skip(self, offset: int, served: Patterns) -> int:
        """It has no index of its log."""
        return offset

    def safe(self, offset: int) -> int:
        """The same: what is announced is all there is."""
        return offset

    def follow(self, observer: Callable[[Sequence[Change]], None]) -> None:
        """Call the observer with the changes of each commit from now on."""
        self._ledger.observe(observer)

    def compacted(self, kind: str) -> Records:
        """The records of one kind."""
        return Records(self._ledger.kind(kind))

    # Access.

    def follow_access(self, observer: Callable[[Callable[[Identity], bool]], None]) -> None:
        """Call the observer when users, clients or revocations change, with a test for the affected identities."""
        self._ledger.observe(lambda changes: observer(_concerned(changes)), USER, CLIENT, REVOCATION)

    def follow_tenants(self, observer: Callable[[], None]) -> None:
        """Call the observer when tenants are deleted."""

        def observe(changes: Sequence[Change]) -> None:
            if any(change.kind == TENANT and change.content is None for change in changes):
                observer()

        self._ledger.observe(observe, TENANT)


def _concerned(changes: Sequence[Change]) -> Callable[[Identity], bool]:
    """Whether these changes may give access to an identity, or end it."""
    changed = {(change.kind, change.id) for change in changes}
    revoked = {change.key for change in changes if change.kind == REVOCATION}
    devices = revoked_devices(changes)

    def concerned(identity: Identity) -> bool:
        return (
            identity.subject in changed
            or identity.token in revoked
            or (bool(devices) and not devices.isdisjoint(identity.devices))
        )

    return concerned


class Records:
    """The records of one kind as a compacted log."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def records(self, names: Patterns, after: str, since: int = 0) -> Iterator[Row]:
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
