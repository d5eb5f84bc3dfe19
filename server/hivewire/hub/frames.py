"""How pushes look on the wire. A frame is made once for all subscriptions that get the same bytes.

Members are joined as bytes and not encoded from objects, because the event was encoded already, once for all shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from hivewire.hub.source import Event, Topic
from hivewire_protocol.encoding import encode

Frame: TypeAlias = Callable[[bytes, "str | None"], bytes]
"""Makes a frame of the members of a push, JSON without the braces, and of the position among them, if there is one."""

Framing: TypeAlias = Callable[[str, int, bool, str], Frame]
"""See Listener.framing."""

SHAPES = 4_096
"""The most shapes that are cached, and the most frames of one round of bookmarks."""


def draining(alternatives: Sequence[str], milliseconds: int) -> bytes:
    """The members of the push about a gateway that stops: other addresses, and when to reconnect to this one."""
    return b'"alternatives":%b,"retry":%d' % (encode(alternatives), milliseconds)


class Shape:
    """How the frames of a subscription look: how its connection frames, topic, number, whether it speaks JSON-RPC.

    Equal ones are the same object (`shape_of`), so that they can be keys of the frames made so far.
    """

    __slots__ = ("_framing", "_made", "id", "rpc", "topic")

    def __init__(self, framing: Framing, topic: Topic, number: int, rpc: bool) -> None:
        self._framing = framing
        self._made: dict[str, Frame] = {}  # of each push about its topic, by what it says
        self.topic = topic
        self.id = number
        self.rpc = rpc

    def frame(self, what: str, members: bytes, position: str | None) -> bytes:
        """The frame of a push about its topic."""
        frame = self._made.get(what)
        if frame is None:
            frame = self._made[what] = self._framing(self.topic.name, self.id, self.rpc, what)
        return frame(members, position)

    def update(self, event: Event, position: str | None, conflated: bool = False, reset: bool = False, /) -> bytes:
        """The frame of one event. Without a position it says that more of its group follows."""
        head = b'"position":"%b",' % position.encode() if position is not None else b'"more":true,'
        if conflated:
            head += b'"conflated":true,'
        if reset:
            head += b'"reset":true,'
        topic = self.topic
        what = "update" if topic.what is None else topic.what(event.item)
        return self.frame(what, head + event.members(topic), position)

    def group(self, events: Sequence[Event], position: str) -> bytes:
        """The frames of events that belong together: only that of the last one has the position."""
        *others, last = events
        return b"".join([*(self.update(event, None) for event in others), self.update(last, position)])

    def notice(self, noun: str, what: str, members: bytes) -> bytes:
        """The frame of a push about the subscription itself."""
        return self._framing(noun, self.id, self.rpc, what)(members, None)

    def bookmark(self, position: str, reset: bool = False, live: bool = False) -> bytes:
        """The frame that only says how far the source has come; `live`: up to the present."""
        members = b'"position":"%b"' % position.encode()
        if reset:
            members += b',"reset":true'
        if live:
            members += b',"live":true'
        return self.frame("bookmark", members, position)

    def snapshot(self, elements: Sequence[bytes], position: str | None, reset: bool) -> bytes:
        """A frame of a snapshot; the last one, and only that, has the position at which all of it is true."""
        last = b"false" if position is None else b"true"
        members = b'"%b":[%b],"last":%b' % (self.topic.elements.encode(), b",".join(elements), last)
        if reset:
            members = b'"reset":true,' + members
        if position is not None:
            members = b'"position":"%b",%b' % (position.encode(), members)
        return self.frame("snapshot", members, position)


class PlainShape(Shape):
    """The frames of a topic for clients that know no positions."""

    __slots__ = ()

    def update(self, event: Event, position: str | None, conflated: bool = False, reset: bool = False, /) -> bytes:
        """The frame of one event: what happened, and its members."""
        topic, item = self.topic, event.item
        what = "update" if topic.what is None else topic.what(item)
        members = topic.update(item) if topic.passing else event.members(topic)
        made = self._made.get(what)  # as `frame`, without the call: this is the path of a push to one device
        return made(members, None) if made is not None else self.frame(what, members, None)


# A shape that was evicted is made again as another object. Then its frame is made twice, which only takes time.
@lru_cache(SHAPES)
def shape_of(framing: Framing, topic: Topic, number: int, rpc: bool) -> Shape:
    """The shape of these subscriptions."""
    return (PlainShape if topic.plain else Shape)(framing, topic, number, rpc)
