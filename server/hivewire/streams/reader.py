"""Reading a log of messages: from memory, and closed segments from the storage."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice
from operator import attrgetter

from msgspec import MsgspecError

from hivewire.slices import in_order, in_slices
from hivewire.streams.contract import READ_BYTES, LogEngine
from hivewire.streams.index import Index
from hivewire.streams.message import RANDOM_BITS, ROOM, Message, NotKept, Unreadable, pick, unpack
from hivewire.streams.page import Page, Selection
from hivewire.streams.segment import Closed, Header, Postings, entry_of, postings_of
from hivewire.streams.stamps import Clock
from hivewire_protocol.tenant.steps import Steps

_place = attrgetter("place")

POSTINGS = 16
"""Postings that are cached in memory: a quarter of a megabyte each."""

PICK = 16
"""Entries that are read at once for a few messages of each."""

FIRST = 100
"""Messages of a page that are read at once before it is known how large they are; a list has so many by default."""

MOST_ENTRIES = 500
"""Entries that are read at once for all of their messages, if they are small."""

REPLAY_BYTES = 16 << 20
"""Bytes of bodies that a replay returns at most: the oldest."""


class Reader:
    """Messages in the order of their places. All methods that wait raise StreamError."""

    def __init__(self, engine: LogEngine, clock: Clock, index: Index) -> None:
        self._engine = engine
        self._clock = clock
        self._index = index
        self._postings: OrderedDict[int, Postings] = OrderedDict()

    # What there is.

    @property
    def epoch(self) -> str:
        """The identity of this log, letters and digits."""
        return self._engine.epoch

    @property
    def tip(self) -> int:
        """The place of the last message that observers got."""
        return self._index.tip

    @property
    def oldest(self) -> int:
        """The first place from which the log is complete; never decreases."""
        return self._index.oldest * ROOM

    def covers(self, place: int) -> bool:
        """Whether the log still has everything after this place."""
        return self.oldest - 1 <= place <= self.tip

    # Reading.

    def is_over(self, message: Message) -> bool:
        """Whether a stored message is not delivered any more, by its own limit."""
        return message.expires is not None and message.expires <= self._clock.wall()

    async def get(self, device: int, id: int) -> Message | None:
        """The last event of a message; None when it never was, or has expired."""
        for recent in reversed(list(self._index.in_memory())):
            if (found := recent.last_of(device, id)) is not None:
                return found
        for segment in reversed(self._index.stored()):
            if segment.may_have(id) and (at := segment.has(device)) >= 0:
                postings = await self._postings_of(segment)
                place = None if postings is None else postings.last_of(at, id)
                if place is not None:
                    return next(iter(await self._at([place], 1)), None)
        return None

    async def portions_of(self, device: int, wanted: Selection) -> AsyncIterator[list[Message]]:
        """A page of a device's messages, of each the last event, in portions of about READ_BYTES, each read when it is
        asked for.

        It takes memory for a portion, and for the places of the page and of what stands before it.
        """
        page, tip = Page(wanted), self.tip
        stored, recents = self._index.stored(), list(self._index.in_memory())
        for recent in reversed(recents):
            own = recent.of(device)
            own = own[: bisect_right(own, tip, key=_place)]
            events = ((one.id, one.timestamp, one.place, one.updated) for one in reversed(own))
            await self._read(page, await in_slices(page.look_at(events)), PICK)
        for segment in reversed(stored):
            header, at = segment.header, segment.has(device)
            if at < 0 or not page.may_need(header.low, header.peak):
                continue
            postings = await self._postings_of(segment)
            if postings is not None:
                events = ((*each, segment.updates(each[0])) for each in postings.of(at))
                await self._read(page, await in_slices(page.look_at(events)), _at_once(header))
            await asyncio.sleep(0)
        places, count = page.places(), FIRST
        while some := [*islice(places, count)]:
            read = {message.place: message for message in await self._at(sorted(some), PICK)}
            if found := [read[place] for place in some if place in read]:
                yield found
            size = sum([len(message.body) for message in found])
            count = min(max(1, READ_BYTES * len(found) // max(size, 1)), MOST_ENTRIES)
            await asyncio.sleep(0)

    async def _read(self, page: Page, places: list[int], entries: int) -> None:
        """Show the page the messages at these places, which descend; `entries` are read at a time."""
        places.reverse()
        for start in range(0, len(places), MOST_ENTRIES):
            messages = await self._at(places[start : start + MOST_ENTRIES], entries)
            await in_slices(page.take(messages))

    async def replay(
        self,
        matches: Callable[[Message], bool],
        *,
        after: int,
        upto: int | None = None,
        most: int | None = None,
        updated: bool = False,
    ) -> list[Message]:
        """The last event of each message that matches, with a timestamp after a time; the `most` oldest of them.

        With `updated` only those that were updated, and it is `changed` that is after the time. Commands that must not
        be delivered any more are left out. In the order of timestamps; those with the same one in the order of inserts.
        It returns REPLAY_BYTES at most. Events behind the place `upto` are as if they were not there: who follows the
        log from that place gets each event once.
        """
        last = self.tip if upto is None else upto
        found = Oldest(most)
        seen: set[int] = set()  # messages of which a later event was looked at
        now = self._clock.wall()
        async for portion in self._backwards(after):
            for message in reversed(portion):
                if message.place > last:
                    continue
                if message.updated:
                    key = message.device << 53 | message.id
                    if key in seen:
                        continue
                    seen.add(key)
                elif updated or (seen and message.device << 53 | message.id in seen):
                    continue
                if (message.changed if updated else message.timestamp) <= after or not matches(message):
                    continue
                if message.expires is None or message.expires > now:
                    found.add(message)
            if found.too_many:
                await in_slices(found.shorten())
        return await in_slices(found.shorten())

    async def since(self, place: int, *, take: int) -> list[Message]:
        """The events after a place in order, up to `take` and about READ_BYTES, expired commands among them.

        Nothing means that there is nothing (yet). Raises NotKept when the log does not cover the place.
        """
        recents = list(self._index.in_memory())
        found: list[Message] = []
        if place >= recents[0].first * ROOM - 1:
            for recent in recents:
                start = recent.after(place)
                found += recent.messages[start : start + take - len(found)]
        else:
            number: int | None = entry_of(place + 1)
            index = self._index
            some = 1 + take * (index.next - index.oldest) // max(index.messages, 1)  # entries have so many, on average
            while number is not None and not found:  # there may be nothing after the place in its own entry
                entries = await self._engine.forward(number, some)
                if number < recents[0].first and [number] != [first for first, _ in entries[:1]]:
                    raise NotKept("another gateway has shortened the log")
                for _, entry in entries:
                    found += [message for message in _unpack(entry) if place < message.place <= self.tip]
                    if len(found) >= take:
                        break
                number = entries[-1][0] + 1 if entries else None
            del found[take:]
        # Checked after reading, because the log may have been shortened meanwhile.
        if not self.covers(place):
            raise NotKept(f"the log reaches back to place {self.oldest}")
        return _portion(found)

    def skip(self, place: int, device: int) -> int:
        """A place up to which the device has no events after the given one, which is covered: over the segments in the
        storage without any of it, and up to its next event in memory, or the end."""
        if not self.covers(place):
            return place
        for segment in self._index.stored():
            end = (segment.header.last + 1) * ROOM - 1
            if place < end:
                if segment.has(device) >= 0:
                    return place
                place = end
        for recent in self._index.in_memory():
            own = recent.of(device)
            at = bisect_right(own, place, key=_place)
            if at < len(own):
                return max(place, own[at].place - 1)
        return max(place, self.tip)

    async def _backwards(self, after: int) -> AsyncIterator[Sequence[Message]]:
        """All messages that may have a `timestamp` or `changed` after a time, in portions, the last one first."""
        stored, recents = self._index.stored(), list(self._index.in_memory())
        for recent in reversed(recents):
            for index in range(len(recent.peaks) - 1, -1, -1):
                end, peak, _ = recent.peaks[index]
                if peak <= after:
                    break
                yield recent.messages[recent.peaks[index - 1][0] if index else 0 : end]
                await asyncio.sleep(0)
        for segment in reversed(stored):
            if segment.header.peak <= after:
                continue
            header = segment.header
            step = _at_once(header)
            for end in range(header.last, header.first - 1, -step):
                numbers = range(max(header.first, end - step + 1), end + 1)
                for _, entry in reversed(await self._engine.pick(numbers)):
                    yield _unpack(entry)
                    await asyncio.sleep(0)

    async def _at(self, places: Sequence[int], entries: int) -> list[Message]:
        """The messages at these places, which ascend, as far as they are still there. So many entries are read at
        once."""
        found: list[Message] = []
        wanted: dict[int, list[int]] = {}
        for place in places:
            recent = next((one for one in self._index.in_memory() if one.first <= entry_of(place) <= one.last), None)
            if recent is not None:
                found.append(recent.messages[recent.after(place - 1)])
            else:
                wanted.setdefault(entry_of(place), []).append(place % ROOM)
        numbers, read = list(wanted), []
        for start in range(0, len(numbers), entries):
            for number, entry in await self._engine.pick(numbers[start : start + entries]):
                read += _pick(entry, wanted[number])
                await asyncio.sleep(0)
        return read + found

    async def _postings_of(self, segment: Closed) -> Postings | None:
        first = segment.header.first
        if first in self._postings:
            self._postings.move_to_end(first)
            return self._postings[first]
        encoded = await self._engine.postings(first)
        if encoded is None:
            return None  # it was dropped meanwhile
        try:
            postings = self._postings[first] = postings_of(encoded)
        except MsgspecError as error:
            raise Unreadable(f"the postings of segment {first} are damaged") from error
        if len(self._postings) > POSTINGS:
            self._postings.popitem(last=False)
        return postings


class Oldest:
    """Collects messages, and keeps the `most` oldest of them, None: all, and about REPLAY_BYTES."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._found: list[Message] = []
        self._size = 0

    def add(self, message: Message) -> None:
        """Add one."""
        self._found.append(message)
        self._size += len(message.body)

    @property
    def too_many(self) -> bool:
        """Whether there are about twice as many as are kept."""
        most = self._most
        return self._size > 2 * REPLAY_BYTES or (most is not None and len(self._found) > 2 * most + ROOM)

    def shorten(self) -> Steps[list[Message]]:
        """Drop the latest ones. Returns those that are kept, in the order of timestamps, then of inserts."""
        found = yield from in_order(self._found, _age)
        self._found, self._size = [], 0
        for message in islice(found, self._most):
            self.add(message)
            if self._size >= REPLAY_BYTES:
                break
            yield
        return self._found


def _age(message: Message) -> tuple[int, int, int]:
    return message.timestamp, message.id >> RANDOM_BITS, message.place


def _portion(messages: list[Message]) -> list[Message]:
    """The first of these messages, until their bodies have READ_BYTES."""
    size = 0
    for count, message in enumerate(messages, 1):
        size += len(message.body)
        if size >= READ_BYTES:
            return messages[:count]
    return messages


def _at_once(header: Header) -> int:
    """How many entries of a segment are read at once: about a megabyte."""
    return min(MOST_ENTRIES, 1 + READ_BYTES * (header.last - header.first + 1) // (4 * header.size))


def _unpack(entry: bytes) -> list[Message]:
    try:
        return unpack(entry)
    except MsgspecError as error:
        raise Unreadable("an entry is damaged") from error


def _pick(entry: bytes, indexes: Sequence[int]) -> list[Message]:
    try:
        return pick(entry, indexes)
    except (MsgspecError, IndexError) as error:
        raise Unreadable("an entry is damaged") from error
