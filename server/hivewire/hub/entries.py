"""Committed changes on their way to subscribers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from hivewire.access.identity import Identity
from hivewire.ledger.records import Change
from hivewire_protocol.patterns import Patterns

RECENT_CHANGES, RECENT_BYTES = 8_192, 8 << 20
"""The bounds of what is kept in memory of the log's end."""


class Topic(NamedTuple):
    """A kind of record that can be followed, and how it is shown.

    `update` gives the members of a change's push, JSON without the braces; `entry` gives a record's element in a
    snapshot, where they stand under `elements`. `served` is the part of the patterns that an identity may follow.
    """

    name: str
    kind: str
    elements: str
    update: Callable[[Change], bytes]
    entry: Callable[[Change], bytes]
    served: Callable[[Identity, Patterns], Patterns]


class Entry:
    """One change, encoded at most once however many subscribers it has."""

    __slots__ = ("_members", "change", "revision")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.revision = change.revision
        self._members: bytes | None = None

    def members(self, topic: Topic) -> bytes:
        """The members of its push."""
        if self._members is None:
            self._members = topic.update(self.change)
        return self._members


def transactions(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    """The entries of one revision each."""
    for _, group in groupby(entries, attrgetter("revision")):
        yield list(group)


class Recent:
    """The end of the log, so that whoever is only a moment behind is served without asking the journal.

    `since` is the revision behind which everything is here.
    """

    def __init__(self, revision: int) -> None:
        self.since = revision
        self._entries: list[Entry] = []
        self._bytes = 0

    def add(self, changes: Sequence[Change]) -> list[Entry]:
        """Take in committed changes; their entries."""
        entries = [Entry(change) for change in changes]
        self._entries += entries
        self._bytes += sum(map(_weight, entries))
        if len(self._entries) > RECENT_CHANGES or self._bytes > RECENT_BYTES:
            self._forget_half()
        return entries

    def clear(self, revision: int) -> None:
        """Forget everything up to this revision, the ledger's."""
        self.since = revision
        if self._entries:
            self._entries = []
            self._bytes = 0

    def _forget_half(self) -> None:
        """At once, because shortening a list costs as much as what stays in it."""
        half = len(self._entries) // 2
        self.since = self._entries[half].revision
        self._entries = self._entries[bisect_right(self._entries, self.since, key=attrgetter("revision")) :]
        self._bytes = sum(map(_weight, self._entries))

    def after(self, revision: int, most: int) -> list[Entry] | None:
        """Whole transactions after the revision, about `most` entries; None when they are not all here any more."""
        if revision < self.since:
            return None
        entries = self._entries
        start = bisect_right(entries, revision, key=attrgetter("revision"))
        end = min(start + most, len(entries))
        while 0 < end < len(entries) and entries[end].revision == entries[end - 1].revision:
            end += 1
        return entries[start:end]


def _weight(entry: Entry) -> int:
    """About the bytes that an entry holds on to: its content, and that once more when it is encoded."""
    return 500 + 2 * len(entry.change.content or b"")
