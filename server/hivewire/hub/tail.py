"""One source as the hub follows it: the end of its log in memory, and the subscriptions of each of its topics."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, TypeVar

from hivewire.hub.index import Index
from hivewire.hub.source import Event, Source, Topic
from hivewire_protocol.nouns.subscription import render_position

RECENT_EVENTS, RECENT_BYTES = 8_192, 8 << 20
"""The bounds of what is kept in memory of a log's end."""

_offset: Callable[[Event], int] = attrgetter("offset")

_S = TypeVar("_S")


class Tail(Generic[_S]):
    """The end of a source's log, so that whoever is only a moment behind is served without reading the log.

    `offset`: live subscriptions have been pushed everything up to here. `since`: everything behind this offset is kept.
    `channels` are the topics that are followed, by the kind of their events.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.channels: dict[str, Channel[_S]] = {}
        self.offset = self.since = source.tip
        self._events: list[Event] = []
        self._bytes = 0

    def add(self, items: Iterable[Any]) -> list[Event]:
        """Keep what the source told of, the next of its log; it comes back as events."""
        added = list(map(self.source.as_event, items))
        self._events += added
        self._bytes += sum([event.size for event in added])
        if len(self._events) > RECENT_EVENTS or self._bytes > RECENT_BYTES:
            self._forget_half()
        return added

    def clear(self) -> None:
        """Forget everything, because nobody follows: there is nothing to push up to the source's tip."""
        self.offset = self.since = self.source.tip
        if self._events:
            self._events = []
            self._bytes = 0

    def _forget_half(self) -> None:
        """Half at once, because to shorten a list costs as much as what stays in it."""
        half = len(self._events) // 2
        self.since = self._events[half].offset
        self._events = self._events[bisect_right(self._events, self.since, key=_offset) :]
        self._bytes = sum([event.size for event in self._events])

    def after(self, offset: int, most: int) -> list[Event] | None:
        """Whole transactions behind the offset, about `most` events; None when they are not all here any more."""
        if offset < self.since:
            return None
        events = self._events
        start = bisect_right(events, offset, key=_offset)
        end = min(start + most, len(events))
        while 0 < end < len(events) and events[end].offset == events[end - 1].offset:
            end += 1
        return events[start:end]

    def channel(self, topic: Topic) -> Channel[_S]:
        """The topic as it is followed here; from its first use on."""
        channel = self.channels.get(topic.kind)
        if channel is None:
            channel = self.channels[topic.kind] = Channel(topic, self)
        return channel

    def find(self, event: Event) -> Collection[_S]:
        """The subscriptions that match the event, each once."""
        channel = self.channels.get(event.kind)
        if channel is None:
            return ()
        keys = channel.topic.keys(event.item)
        if len(keys) == 1:
            return channel.index.find(keys[0])
        return dict.fromkeys(chain.from_iterable(map(channel.index.find, keys)))

    def position(self, offset: int) -> str:
        """The position behind an offset."""
        return render_position(self.source.epoch, offset)


class Channel(Generic[_S]):
    """One topic as this gateway follows it: its source, and which subscriptions match."""

    __slots__ = ("index", "tail", "topic")

    def __init__(self, topic: Topic, tail: Tail[_S]) -> None:
        self.topic = topic
        self.tail = tail
        self.index: Index[_S] = Index()

    @property
    def stateful(self) -> bool:
        """Whether there is a state, for snapshots and conflation."""
        return self.topic.entry is not None
