"""A page of the messages of one device, found among many without holding them: only where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from sortedcontainers import SortedList

from hivewire.streams.message import Message
from hivewire_protocol.tenant.steps import Steps


class Selection(NamedTuple):
    """Which messages of a device are wanted, in which order, and which page of them.

    They have a `timestamp` between `after` and `before`, which are exclusive, and pass the test `matches`. They are
    sorted by `key`, if there is one, then by `timestamp`, then by insert; `descending` turns all of it around. The page
    has `take` of them, None: all, behind the first `skip`. Without `matches` and `key` only the page is read.
    """

    after: int | None = None
    before: int | None = None
    matches: Callable[[Message], bool] | None = None
    key: Callable[[Message], str] | None = None
    descending: bool = False
    skip: int = 0
    take: int | None = None


class Page:
    """Gets the events of a device, the newest first, and keeps the places of those that the page may need: the last
    event of each message."""

    def __init__(self, wanted: Selection) -> None:
        self._wanted = wanted
        self._low = -(1 << 63) if wanted.after is None else wanted.after
        self._high = 1 << 63 if wanted.before is None else wanted.before
        self._most = None if wanted.take is None else wanted.skip + wanted.take
        self._rows = SortedList()
        self._updated: set[int] = set()  # messages of which a later event was looked at
        self.reads = wanted.matches is not None or wanted.key is not None
        """Whether events must be read before it is known whether the page needs them."""

    def may_need(self, low: int, peak: int) -> bool:
        """Whether it may need events whose timestamps are from `low` to `peak`."""
        if peak <= self._low or low >= self._high:
            return False
        if self._wanted.key is not None or self._most is None or len(self._rows) < self._most:
            return True
        if not self._rows:  # it has none
            return False
        # Older ones of the same time stand before those that it has.
        return bool(peak > self._rows[0][1] if self._wanted.descending else low <= self._rows[-1][1])

    def look_at(self, events: Iterable[tuple[int, int, int, bool]]) -> Steps[list[int]]:
        """The places of those events that count, given by id, timestamp, place, and whether they are updates.

        Unless it has to read them first, they are in the page now.
        """
        found = []
        for id, timestamp, place, updated in events:
            yield
            if not self._low < timestamp < self._high or id in self._updated:
                continue
            if updated:
                self._updated.add(id)
            if self.reads:
                found.append(place)
            else:
                self._add("", timestamp, id, place)
        return found

    def take(self, messages: Iterable[Message]) -> Steps[None]:
        """Events that were read, of the places that `look_at` returned."""
        matches, key = self._wanted.matches, self._wanted.key
        for message in messages:
            yield
            if matches is None or matches(message):
                self._add("" if key is None else key(message), message.timestamp, message.id, message.place)

    def _add(self, *row: object) -> None:
        self._rows.add(row)
        if self._most is not None and len(self._rows) > self._most:
            del self._rows[0 if self._wanted.descending else -1]

    def places(self) -> Iterator[int]:
        """Where the messages of the page are, in its order."""
        rows = reversed(self._rows) if self._wanted.descending else iter(self._rows)
        return (row[-1] for row in islice(rows, self._wanted.skip, None))
