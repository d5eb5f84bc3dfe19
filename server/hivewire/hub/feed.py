"""Subscriptions, and the feed that holds those of one connection. What they are sent is decided above."""

from __future__ import annotations

from typing import Protocol

from hivewire.access.identity import Identity
from hivewire.hub.frames import shape_of
from hivewire.hub.source import Topic
from hivewire.hub.tail import Channel, Tail
from hivewire_protocol.close import Code
from hivewire_protocol.patterns import Patterns


class Listener(Protocol):
    """A connection, as seen from here."""

    @staticmethod
    def frame(topic: str, number: int, rpc: bool, what: str, members: bytes, position: str | None, /) -> bytes:
        """What goes over the wire: `what` is `update`, `snapshot` or `bookmark`, `number` the subscription's, `rpc`
        whether it was made in JSON-RPC; `members` is JSON without braces, `position` stands in it if there is one."""

    def push(self, data: bytes) -> None:
        """Send what `frame` has made, one or several."""

    def close(self, code: Code) -> None:
        """End the connection with one of our close codes."""

    def suspend(self) -> None:
        """The identity behind the subscriptions does not count any more; nothing is pushed until another comes."""


class Copy:
    """How far the state has been copied to a subscription, by key and, for conflated runs, by offset.

    Everything up to the key `cursor` is there ('' at the beginning). A `floor` of 0 is a snapshot: all records. With a
    floor it is a conflated run: only what changed after that offset, the tombstones first, from the newest on; those at
    `before` and later are done.
    """

    __slots__ = ("before", "cursor", "floor")

    def __init__(self, floor: int, offset: int) -> None:
        self.cursor = ""
        self.floor = floor
        self.before = offset + 1


class Subscription:
    """What one subscription wants, and how far it has come.

    ```text
               begin            its peer does not read, its token expires, too much at once
    (starting) ------> live  -----------------------------------------------------------> behind
        |               ^  ^------------------------------------------------------------    |  |
        |               |                   has read the log up to the present              |  |
        |               |   has copied all of the state                                     |  |
        +---------------+--------------- copying <------------------------------------------+  |
          snapshot, reset                          the log does not reach back so far, or      |
                                                   too much of it has to be read               |
    (ended) <--- unsubscribe, connection closed, another user --- from each of them            |
    ```

    * live: gets events as they are announced; how far it has come is its tail's `offset`, not its own.
    * behind: was sent everything up to `offset`, and `sent` matching events of the transaction behind it.
    * copying (`copy`): the same, as far as the state has been copied. The events up to `offset` of keys that are copied
      were sent; those of other keys come with their records.

    `wanted` is what was asked for, `served` the part of it that the identity may follow. `last_position` is the offset
    of the last position that it was sent, for bookmarks. `generation` counts what was decided from outside, so that
    whoever waited for the log notices that it has become another question. `idle`: its peer had read nothing for long
    when it fell behind, so events may be conflated. `reset`: its next frame tells that it replaces what the client has.
    """

    __slots__ = (
        "channel",
        "conflate",
        "copy",
        "ended",
        "feed",
        "generation",
        "idle",
        "last_position",
        "live",
        "offset",
        "reset",
        "sent",
        "served",
        "shape",
        "wanted",
    )

    def __init__(self, feed: Feed, channel: Channel[Subscription], number: int, wanted: Patterns) -> None:
        self.feed = feed
        self.channel = channel
        self.shape = shape_of(feed.listener.frame, channel.topic, number, False)
        self.wanted = wanted
        self.served = channel.topic.served(feed.identity, wanted)
        self.offset = self.last_position = channel.tail.source.tip
        self.copy: Copy | None = None
        self.sent = 0
        self.generation = 0
        self.ended = False
        self.conflate = True
        self.idle = False
        self.reset = False
        self.live = False

    @property
    def id(self) -> int:
        """The number on its connection."""
        return self.shape.id

    @property
    def topic(self) -> Topic:
        """What it follows."""
        return self.channel.topic

    @property
    def position(self) -> str:
        """The position that it has reached while it is not live."""
        return self.channel.tail.position(self.offset)

    def start(self, since: tuple[str, int] | None, snapshot: bool) -> str:
        """Go on behind a position, an epoch and an offset, or begin with the present. The mode of what follows."""
        source = self.channel.tail.source
        if since is not None:
            epoch, offset = since
            if epoch == source.epoch and source.covers(offset):
                self.offset = self.last_position = offset
                return "resumed"
            self.start_over()
            return "reset"
        if snapshot and self.channel.stateful:
            self.copy_state()
            return "snapshot"
        return "live"

    def copy_state(self, floor: int = 0) -> None:
        """Begin a snapshot, or with a floor a conflated run, of the state as it is now."""
        self.live, self.sent = False, 0
        self.offset = self.channel.tail.source.tip
        self.copy = Copy(floor, self.offset)
        self.generation += 1

    def start_over(self) -> None:
        """Replace what the client has by the state, or without a state by everything that the log still has."""
        if self.channel.stateful:
            self.copy_state()
        else:
            self.live, self.sent = False, 0
            self.offset = self.channel.tail.source.oldest - 1
            self.generation += 1
        self.reset = True

    def fall_behind(self) -> None:
        """From now on it catches up from the log."""
        if self.live:
            self.live = False
            self.offset = self.channel.tail.offset

    def serve(self, names: Patterns) -> None:
        """From now on it is found by other keys."""
        index = self.channel.index
        index.remove(self.served, self)
        self.served = names
        index.add(names, self)
        self.generation += 1


class Host(Protocol):
    """What a feed needs of the hub above it."""

    def tail(self, name: str) -> Tail[Subscription]:
        """A source as the hub follows it."""

    def serve(self, feed: Feed) -> None:
        """See to it that the feed's subscriptions which are behind catch up, unless its peer does not read."""

    def forget(self, feed: Feed) -> None:
        """The connection is gone."""


class Feed:
    """The subscriptions of one connection.

    `stalled`: its peer does not read, so nothing is pushed to it. `starting`: those whose request has not been answered
    yet. `patterns` counts the name patterns of all of them. `serving`: some of them are being brought up to date.
    """

    __slots__ = (
        "_host",
        "_last_id",
        "expires",
        "identity",
        "listener",
        "patterns",
        "serving",
        "stalled",
        "starting",
        "subscriptions",
    )

    def __init__(self, host: Host, listener: Listener, identity: Identity) -> None:
        self._host = host
        self._last_id = 0
        self.listener = listener
        self.identity = identity
        self.expires = identity.expires
        self.stalled = False
        self.serving = False
        self.patterns = 0
        self.starting: list[Subscription] = []
        self.subscriptions: list[Subscription] = []

    def subscribe(self, topic: Topic, wanted: Patterns) -> Subscription:
        """A new subscription at the present; pushes begin with `begin`."""
        self._last_id += 1
        sub = Subscription(self, self._host.tail(topic.source).channel(topic), self._last_id, wanted)
        self.subscriptions.append(sub)
        self.patterns += len(wanted.exact) + len(wanted.prefixes)
        self.starting.append(sub)
        sub.channel.index.add(sub.served, sub)
        return sub

    def begin(self, rpc: bool) -> None:
        """The replies to the requests of the new ones are out: pushes may follow."""
        starting, self.starting = self.starting, []
        for sub in starting:
            if rpc:
                sub.shape = shape_of(self.listener.frame, sub.topic, sub.id, True)
            sub.live = sub.copy is None and not sub.reset and sub.offset == sub.channel.tail.source.tip
        self._host.serve(self)

    def find(self, number: int) -> Subscription | None:
        """The subscription of this number."""
        return next((sub for sub in self.subscriptions if sub.id == number), None)

    def end(self, sub: Subscription) -> None:
        """Push nothing more to it."""
        sub.channel.index.remove(sub.served, sub)
        sub.live, sub.ended = False, True
        sub.generation += 1
        self.subscriptions.remove(sub)
        self.patterns -= len(sub.wanted.exact) + len(sub.wanted.prefixes)
        if sub in self.starting:
            self.starting.remove(sub)

    def end_all(self) -> list[int]:
        """Push nothing more to any; the numbers of those that there were."""
        ended = [sub.id for sub in self.subscriptions]
        for sub in list(self.subscriptions):
            self.end(sub)
        return ended

    def close(self) -> None:
        """The connection is gone."""
        self.end_all()
        self._host.forget(self)

    def pause(self) -> None:
        """The peer does not read: push nothing more."""
        self.stalled = True

    def resume(self, idle: bool = False) -> None:
        """It reads again; `idle`: it had not read anything for so long that events may be conflated."""
        self.stalled = False
        for sub in self.subscriptions:
            sub.idle = idle and not sub.live
        self._host.serve(self)

    def suspend(self) -> None:
        """The identity does not count any more: everything stops behind what has been pushed."""
        for sub in self.subscriptions:
            sub.fall_behind()
        self.listener.suspend()

    def renew(self, identity: Identity) -> None:
        """Another token of the same user: go on where each stood, with the names that it reaches (section 6)."""
        self.identity = identity
        self.expires = identity.expires
        for sub in self.subscriptions:
            served = sub.topic.served(identity, sub.wanted)
            if served == sub.served:
                continue
            narrower = all(sub.served.contains(pattern) for pattern in served.patterns)
            sub.fall_behind()
            sub.serve(served)
            if not narrower or sub.sent:  # what was counted as sent is not what would be counted now
                sub.start_over()
        for sub in self.subscriptions:
            if not sub.live and not sub.channel.tail.source.covers(sub.offset):
                sub.start_over()
        self._host.serve(self)

    def behind(self) -> list[Subscription]:
        """Those that have to catch up."""
        return [sub for sub in self.subscriptions if not sub.live and sub not in self.starting]
