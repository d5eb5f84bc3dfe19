"""A source as the hub follows it: the end of its log in memory, and the subscriptions of its topics."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, TypeVar

from hivewire.hub.index import Index
from hivewire.hub.source import Event, Source, Topic
from hivewire_protocol.nouns.subscription import render_position
from hivewire_protocol.patterns import Patterns

RECENT_EVENTS, RECENT_BYTES = 8_192, 8 << 20
"""Most events and bytes of a log that are kept in memory."""

LOOK = 500
"""Events whose keys are noted at once: those of messages have a dozen, which takes 3 ms."""

_offset: Callable[[Event], int] = attrgetter("offset")

_S = TypeVar("_S")

_NONE: dict[Topic, Any] = {}


class Tail(Generic[_S]):
    """The end of a source's log in memory. Subscriptions that are a moment behind catch up without reading the disk.

    `offset`: everything up to here was pushed to live subscriptions. `since`: all events after this offset are kept.
    `channels` are the topics that are followed, by the kind of their events and by topic.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.channels: dict[str, dict[Topic, Channel[_S]]] = {}
        self.offset = self.since = source.tip
        self._events: list[Event] = []
        self._bytes = 0

    def add(self, items: Iterable[Any]) -> list[Event]:
        """Keep the next items of the log, and return them as events."""
        added = list(map(self.source.as_event, items))
        self._events += added
        self._bytes += sum([event.size for event in added])
        if len(self._events) > RECENT_EVENTS or self._bytes > RECENT_BYTES:
            self._forget_half()
        return added

    def extend_back(self, offset: int, events: list[Event]) -> None:
        """Keep what was read from the log after an offset too, if there is room and it reaches to what is kept.

        So of thousands of clients that reconnect after a restart, only the first ones read from the disk.
        """
        earlier = [event for event in events if event.offset <= self.since]
        if offset < self.since <= (events[-1].offset if events else 0) and self._has_room(earlier):
            self._events[:0] = earlier
            self._bytes += sum([event.size for event in earlier])
            self.since = offset

    def is_near(self, offset: int, events: list[Event]) -> bool:
        """Whether everything after an offset can be kept too, of which these events are the beginning."""
        return self.since - offset <= RECENT_EVENTS - len(self._events) and self._has_room(events)

    def _has_room(self, events: list[Event]) -> bool:
        size = sum([event.size for event in events])
        return len(self._events) + len(events) <= RECENT_EVENTS and self._bytes + size <= RECENT_BYTES

    def clear(self) -> None:
        """Forget all events and continue at the source's tip, because there are no subscriptions."""
        self.offset = self.since = self.source.tip
        if self._events:
            self._events = []
            self._bytes = 0

    def forget_encoded(self) -> None:
        """Encode events again when they are pushed again: their topics show something else from now on."""
        for event in self._events:
            event.encoded = None

    def _forget_half(self) -> None:
        """Forget the older half. Half at once, because shortening a list copies what remains, which is then rare."""
        half = len(self._events) // 2
        # All events of one offset go together: `since` has to lie between two transactions.
        self.since = self._events[half].offset
        self._events = self._events[bisect_right(self._events, self.since, key=_offset) :]
        self._bytes = sum([event.size for event in self._events])

    def after(self, offset: int, most: int) -> list[Event] | None:
        """Whole transactions after an offset, about `most` events; None when some of them are no longer kept."""
        if offset < self.since:
            return None
        events = self._events
        start = bisect_right(events, offset, key=_offset)
        end = min(start + most, len(events))
        # Up to the end of the transaction.
        while 0 < end < len(events) and events[end].offset == events[end - 1].offset:
            end += 1
        return events[start:end]

    def channel(self, topic: Topic) -> Channel[_S]:
        """The channel of a topic, which is created on first use."""
        channels = self.channels.setdefault(topic.kind, {})
        channel = channels.get(topic)
        if channel is None:
            channel = channels[topic] = Channel(topic, self)
        return channel

    def leave(self, channel: Channel[_S]) -> None:
        """A subscription to the topic of a channel has ended."""
        channel.followers -= 1
        if channel.topic.passing and not channel.followers:
            del self.channels[channel.topic.kind][channel.topic]

    def find(self, event: Event) -> Collection[_S]:
        """The subscriptions that match the event, each once."""
        found: Collection[_S] = ()
        for topic, channel in self.channels.get(event.kind, _NONE).items():
            keys = topic.keys(event.item)
            # With one key the index finds a subscription once; with several it may match by more than one of them.
            matching = channel.index.find(keys[0]) if len(keys) == 1 else channel.index.find_any(keys)
            found = [*found, *matching] if found else matching
        return found

    def find_each(self, events: Sequence[Event]) -> list[Collection[_S]]:
        """The same for each of several events: one collection for those that match alike, however many they match."""
        channels = self.channels.get(events[0].kind, _NONE).values()
        if len(channels) != 1 or any(event.kind != events[0].kind for event in events):
            return [*map(self.find, events)]
        [channel] = channels
        found: list[Collection[_S]] = []
        merged: dict[tuple[int, ...], Collection[_S]] = {}
        for event in events:
            keys = channel.topic.keys(event.item)
            if len(keys) != 1:
                found.append(channel.index.find_any(keys))
                continue
            parts = channel.index.parts(keys[0])
            alike = tuple(map(id, parts))
            if alike not in merged:
                merged[alike] = [*chain.from_iterable(parts)]
            found.append(merged[alike])
        return found

    def collections(self, events: Iterable[Event]) -> Collection[Collection[_S]]:
        """The subscriptions that match one of the events. One may be in several of the collections."""
        found: dict[int, Collection[_S]] = {}
        for event in events:
            for topic, channel in self.channels.get(event.kind, _NONE).items():
                for key in topic.keys(event.item):
                    for part in channel.index.parts(key):
                        found[id(part)] = part
        return found.values()

    def position(self, offset: int) -> str:
        """The position after an offset, as clients see it."""
        return render_position(self.source.epoch, self.source.safe(offset))


class Channel(Generic[_S]):
    """A topic that is followed: the tail of its source, and an index of its subscriptions."""

    __slots__ = ("_last", "_noted", "_since", "followers", "index", "tail", "topic")

    def __init__(self, topic: Topic, tail: Tail[_S]) -> None:
        self.topic = topic
        self.tail = tail
        self.index: Index[_S] = Index()
        self.followers = 0
        self._last: dict[str, int] = {}  # of each key in the tail the offset of its last event
        self._noted = self._since = 0

    def last_within(self, names: Patterns) -> int | None:
        """The offset of the last event in memory that has a key within the names; 0 when there is none.

        None when there are events that have not been looked at: a call looks at LOOK of them at most, so ask again. The
        cost depends on the number of keys and not of events, so thousands of subscriptions can come back at once.
        """
        tail = self.tail
        if tail.since < self._since:
            self._last, self._noted = {}, 0
        elif tail.since > self._since:
            self._last = {key: last for key, last in self._last.items() if last > tail.since}
        self._since = tail.since
        events = tail.after(max(self._noted, tail.since), LOOK) or ()
        for event in events:
            self._noted = offset = event.offset
            if event.kind == self.topic.kind:
                for key in self.topic.keys(event.item):
                    self._last[key] = offset
        if len(events) >= LOOK:
            return None
        if not names.prefixes:
            return max([self._last.get(key, 0) for key in names.exact], default=0)
        return max([last for key, last in self._last.items() if key in names], default=0)

    @property
    def stateful(self) -> bool:
        """Whether the topic has a state, which snapshots and conflation need."""
        return self.topic.element is not None
