"""Subscriptions, and feeds, which hold the subscriptions of one connection. Hub and catch-up decide what is pushed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, Protocol

from msgspec import structs

from hivewire.access.identity import ANONYMOUS, Identity
from hivewire.hub.frames import Frame, draining, shape_of
from hivewire.hub.source import Event, Topic
from hivewire.hub.tail import Channel, Tail
from hivewire_protocol import times
from hivewire_protocol.close import Code
from hivewire_protocol.encoding import encode
from hivewire_protocol.patterns import Patterns

NEVER = 1 << 62
"""An expiry that does not come, in milliseconds since 1970."""

NOTHING = Patterns(())

MAX_HELD_KEYS = 10_000
"""The most keys and name patterns in all subscriptions of one connection; they take a few MiB. A subscription to what
the caller may see takes one for each name, network and type of its token, or for each pair of the last two."""


class Listener(Protocol):
    """A connection as feeds see it. `outlives_token`: it can get another token, so it is told that one expires."""

    outlives_token: bool

    @staticmethod
    def framing(topic: str, number: int, rpc: bool, what: str, /) -> Frame:
        """What frames a push. `what` is its last word, such as `update`; `number` is the subscription's; `rpc` says
        that it was made in JSON-RPC."""

    def push(self, data: bytes) -> None:
        """Send one or several encoded frames."""

    def close(self, code: Code) -> None:
        """Close the connection with one of our close codes."""

    def authenticated(self) -> None:
        """The caller has authenticated."""

    def suspend(self) -> None:
        """The identity is no longer valid. Nothing is pushed until the connection has another one."""


class Copy:
    """The progress of copying the state to a subscription: by key and, for conflated runs, by offset.

    All records up to the key `cursor` were sent ('' at the beginning). With a `floor` of 0 it is a snapshot of all
    records. With another floor it is a conflated run of what changed after that offset: first the tombstones, from the
    newest to the oldest, of which those at `before` and later were sent; then the records.

    Two cursors are all that is kept, whatever the size of the state and however many subscriptions copy it.
    """

    __slots__ = ("before", "cursor", "floor")

    def __init__(self, floor: int, offset: int) -> None:
        self.cursor = ""
        self.floor = floor
        self.before = offset + 1


class Replay:
    """Stored events that a new subscription gets before all others, and the bytes that they keep in memory."""

    __slots__ = ("__weakref__", "events", "size")

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = deque(events)
        self.size = sum([event.size for event in self.events])


class Subscription:
    """One subscription: what it follows, and how far it has come.

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

    * live: gets events as they are announced. Its progress is the `offset` of its tail, so that a push to thousands
      does not write to each of them; its own `offset` is not valid.
    * behind: was sent everything up to `offset`, and `sent` matching events of the next transaction.
    * copying (`copy`): the same for the keys that were copied already. Events of the other keys are not sent, because
      their records will be copied later and include them.

    `wanted` are the requested patterns, `served` the part of them that the identity may follow. `last_position` is the
    offset of the last position that was sent, for bookmarks. `generation` grows when the subscription is changed from
    outside; a task that has waited for the log compares it and drops its result. `idle`: the peer had not read for long
    when it fell behind, so events may be conflated. `reset`: the next frame says that it replaces the client's state.
    `resuming`: it reads the log from an earlier position, because it was resumed, paused or too slow, and is told when
    it is up to date. `replay` is pushed before anything else. `noted` is for whoever made the subscription. `device` is
    the record of a device that is online while it is there, 0 for none.
    """

    __slots__ = (
        "channel",
        "conflate",
        "copy",
        "device",
        "ended",
        "feed",
        "generation",
        "idle",
        "last_position",
        "live",
        "noted",
        "offset",
        "replay",
        "reset",
        "resuming",
        "sent",
        "served",
        "shape",
        "wanted",
    )

    def __init__(
        self, feed: Feed, channel: Channel[Subscription], number: int, wanted: Patterns, served: Patterns
    ) -> None:
        self.feed = feed
        self.channel = channel
        self.shape = shape_of(feed.listener.framing, channel.topic, number, False)
        self.wanted = wanted
        self.served = served
        self.offset = self.last_position = channel.tail.source.tip
        self.copy: Copy | None = None
        self.sent = 0
        self.generation = 0
        self.ended = False
        self.conflate = True
        self.idle = False
        self.reset = self.resuming = False
        self.live = False
        self.replay: Replay | None = None
        self.noted: Any = None
        self.device = 0

    @property
    def id(self) -> int:
        """Its number on the connection, which clients know as `subscriptionId`."""
        return self.shape.id

    @property
    def topic(self) -> Topic:
        """The topic that it follows."""
        return self.channel.topic

    @property
    def size(self) -> int:
        """How many keys and patterns it takes: those that are asked for, or what they stand for within a scope."""
        return size_of(self.wanted, self.served)

    @property
    def position(self) -> str:
        """Its position; only valid while it is not live."""
        return self.channel.tail.position(self.offset)

    @property
    def resumable(self) -> str:
        """The position from which its client could resume now: what a conflated run brings is behind its floor."""
        return self.channel.tail.position(self.offset if self.copy is None else self.copy.floor)

    @property
    def lag(self) -> int:
        """How many offsets of its source were not sent to it yet: 0 while it is live, at least 1 during a copy."""
        return 0 if self.live else max(self.channel.tail.source.tip - self.offset, int(self.copy is not None))

    def start(self, since: tuple[str, int] | None, snapshot: bool, earliest: int = 0) -> str:
        """Resume after a position (epoch and offset), or begin at the tip. Returns the mode for the reply.

        A position before `earliest` cannot be resumed.
        """
        source = self.channel.tail.source
        if since is not None:
            epoch, offset = since
            # Offsets of another epoch belong to another history. Those before the log cannot be resumed either.
            covered = epoch == source.epoch and source.covers(offset) and offset >= earliest
            if covered and self.topic.latest:
                self.copy_state(floor=offset)
                return "resumed"
            if covered and not self.topic.volatile:
                self.offset = self.last_position = offset
                self.resuming = True
                return "resumed"
            self.start_over()
            return "reset"
        if snapshot and self.channel.stateful:
            self.copy_state()
            return "snapshot"
        return "live"

    def copy_state(self, floor: int = 0) -> None:
        """Begin a snapshot, or with a floor a conflated run, of the current state."""
        # The last frame of the copy says that the client is up to date; a bookmark would say it twice.
        self.live, self.sent, self.resuming = False, 0, False
        self.offset = self.channel.tail.source.tip
        self.copy = Copy(floor, self.offset)
        self.generation += 1  # a read of the log that is in progress is of no use now

    def start_over(self) -> None:
        """Replace the client's state by a snapshot, or for a topic without state by what the log still has."""
        if self.channel.stateful:
            self.copy_state()
        else:
            self.live, self.sent, self.resuming = False, 0, True
            self.offset = self.channel.tail.source.oldest - 1
            self.generation += 1
        self.reset = True

    def fall_behind(self, paused: bool = False) -> None:
        """Catch up from the log from now on. `paused`: for a while, so tell its client when it is up to date again."""
        self.resuming = self.resuming or (paused and not self.feed.plain)
        if self.live:  # otherwise its own offset is valid already, and perhaps before that of the tail
            self.live = False
            self.offset = self.channel.tail.offset

    def serve(self, names: Patterns) -> None:
        """Serve other patterns from now on."""
        index, former = self.channel.index, self.served
        index.remove(former, self)
        self.feed.patterns -= self.size
        self.served = names
        self.feed.patterns += self.size
        index.add(names, self)
        self.generation += 1
        if self.topic.switched is not None:
            self.topic.switched(self, former)


def size_of(wanted: Patterns, served: Patterns) -> int:
    """The size of a subscription to these patterns: both are kept, and a token that reaches none may get others."""
    return max(wanted.size, served.size)


class Host(Protocol):
    """What a feed needs of the hub, as a protocol, so that the two do not import each other."""

    def tail(self, name: str) -> Tail[Subscription]:
        """A source as the hub follows it."""

    def serve(self, feed: Feed) -> None:
        """Let the feed's subscriptions that are behind catch up, unless its peer does not read."""

    def watch_token(self, feed: Feed) -> None:
        """Warn the feed before its token expires."""

    def why_paused(self, feed: Feed) -> str | None:
        """The reason that its subscribers get when the feed is suspended; None for none."""

    def forget(self, feed: Feed) -> None:
        """The connection is gone."""

    def part(self, sub: Subscription) -> None:
        """A subscription ended or was paused: its device may be offline."""


class Feed:
    """The subscriptions of one connection.

    `stalled`: nothing is pushed, because the peer does not read (`unread`), or because it has to be found out whether
    the identity is still valid (`doubted`). `starting`: subscriptions whose reply has not been sent yet, which a push
    must not overtake. `numbers` gives them their ids. `patterns` is the size of all subscriptions together.
    `serving`: a catch-up of some of them is running. `timer` fires when the token needs a push or has expired; `warned`
    and `paused` say which pushes were sent.
    """

    __slots__ = (
        "_host",
        "_numbers",
        "doubted",
        "expires",
        "identity",
        "listener",
        "patterns",
        "paused",
        "serving",
        "stalled",
        "starting",
        "subscriptions",
        "timer",
        "unread",
        "warned",
    )

    plain = False
    """Whether its subscribers know no positions, and so no bookmarks."""

    def __init__(
        self, host: Host, listener: Listener, identity: Identity, numbers: Iterator[int] | None = None
    ) -> None:
        self._host = host
        self._numbers = numbers if numbers is not None else count(1)
        self.listener = listener
        self.identity = identity
        self.expires = identity.expires
        self.stalled = self.unread = self.doubted = False
        self.serving = False
        self.patterns = 0
        self.warned = self.paused = False
        self.timer: asyncio.TimerHandle | None = None
        self.starting: list[Subscription] = []
        self.subscriptions: list[Subscription] = []

    def subscribe(self, topic: Topic, wanted: Patterns, served: Patterns | None = None) -> Subscription:
        """A new subscription at the tip of its source. Pushes start with `begin`. `served` is what the topic serves of
        what is wanted, if that is known."""
        channel = self._host.tail(topic.source).channel(topic)
        channel.followers += 1
        if served is None:
            served = topic.served(self.identity, wanted)
        sub = Subscription(self, channel, next(self._numbers), wanted, served)
        self.subscriptions.append(sub)
        self.patterns += sub.size
        self.starting.append(sub)
        # The index finds it from now on, but it is not live before `begin`: the client has to know its number first.
        # What is announced until then comes from the log.
        sub.channel.index.add(sub.served, sub)
        if topic.joined is not None:
            topic.joined(sub)
        return sub

    def begin(self, rpc: bool) -> None:
        """Start pushing to new subscriptions, because the replies to their requests were sent."""
        starting, self.starting = self.starting, []
        # The token may have ended since the request, when the new subscriptions could not get a push about it yet. Then
        # `serve` suspends the feed, which pushes it to all.
        ended = self._host.why_paused(self) is not None
        if ended:
            self.paused = False
        for sub in starting:
            if rpc:
                sub.shape = shape_of(self.listener.framing, sub.topic, sub.id, True)
            # The source may have moved on since the request; then the subscription catches up before it is live.
            current = sub.offset == sub.channel.tail.source.tip
            waits = sub.copy is not None or sub.reset or sub.resuming or sub.replay is not None
            sub.live = current and not waits and not ended
        if self.warned:
            self._warn(starting)
        self._host.serve(self)

    def find(self, number: int) -> Subscription | None:
        """The subscription with this number."""
        return next((sub for sub in self.subscriptions if sub.id == number), None)

    def end(self, sub: Subscription) -> None:
        """End a subscription."""
        sub.channel.index.remove(sub.served, sub)
        sub.channel.tail.leave(sub.channel)
        sub.live, sub.ended, sub.replay = False, True, None
        sub.generation += 1
        self.subscriptions.remove(sub)
        self.patterns -= sub.size
        if sub in self.starting:
            self.starting.remove(sub)
        self._host.part(sub)

    def end_all(self) -> list[int]:
        """End all subscriptions; returns their numbers."""
        ended = [sub.id for sub in self.subscriptions]
        for sub in list(self.subscriptions):
            self.end(sub)
        return ended

    def close(self) -> None:
        """The connection has ended."""
        if self.timer is not None:
            self.timer.cancel()
        self.end_all()
        self._host.forget(self)

    def pause(self) -> None:
        """Stop pushing, because the peer does not read."""
        self.stalled = self.unread = True

    def doubt(self) -> None:
        """Stop pushing until it is found out whether the identity is still valid, and what it may follow."""
        self.stalled = self.doubted = True

    def trust(self) -> None:
        """The end of doubt."""
        self.doubted, self.stalled = False, self.unread

    def resume(self, idle: bool = False) -> None:
        """Continue pushing: the peer reads again. `idle`: it had paused so long that events may be conflated."""
        self.unread, self.stalled = False, self.doubted
        for sub in self.subscriptions:
            # One that is still live has missed nothing: no event matched it meanwhile.
            sub.idle = idle and not sub.live
        self._host.serve(self)

    def suspend(self) -> None:
        """Stop pushing, because the identity is no longer valid. Every subscription keeps its position."""
        # They stay, because the same user may send another token, or be unlocked: then they continue without a gap.
        for sub in self.subscriptions:
            sub.fall_behind(paused=True)
        # A peer that does not read gets this push when it reads again: it is served then, which suspends it once more.
        if not self.paused and not self.stalled and (reason := self._host.why_paused(self)) is not None:
            self.paused = True
            self._tell(self.subscriptions, "subscription", "paused", b'"reason":%b' % encode(reason))
        self.listener.suspend()

    def go_on(self) -> None:
        """The identity is valid, perhaps again, and its rights may have changed."""
        self.paused = False
        # What others follow depends on the token alone, which is the same.
        self._adapt([sub for sub in self.subscriptions if sub.topic.scoped])

    def warn(self) -> None:
        """Tell the subscribers once that the token expires soon, unless they do not read."""
        if not self.warned:
            self.warned = True
            self._warn(self.subscriptions)

    def drain(self, alternatives: Sequence[str], milliseconds: int) -> None:
        """Tell the subscribers that the gateway stops, unless they do not read."""
        self._tell(self.subscriptions, "server", "draining", draining(alternatives, milliseconds))

    def _warn(self, subscriptions: Iterable[Subscription]) -> None:
        self._tell(subscriptions, "token", "expiring", b'"expires":%b' % encode(times.render(self.expires)))

    def _tell(self, subscriptions: Iterable[Subscription], noun: str, what: str, members: bytes) -> None:
        if self.listener.outlives_token and not self.stalled:
            told = [sub for sub in subscriptions if sub.topic.tells_expiry and sub not in self.starting]
            self.listener.push(b"".join([sub.shape.notice(noun, what, members) for sub in told]))

    def renew(self, identity: Identity) -> None:
        """Continue with another token of the same user, which may cover other names (section 6)."""
        if identity.expires != self.expires:  # otherwise it is the same token, with fewer rights
            self.warned = self.paused = False
        self.identity = identity
        self.expires = identity.expires
        self._host.watch_token(self)
        self._adapt(self.subscriptions)
        # The feed may have been suspended for so long that the log was shortened.
        for sub in self.subscriptions:
            if not sub.live and not sub.channel.tail.source.covers(sub.offset):
                sub.start_over()
        self._host.serve(self)

    def _adapt(self, subscriptions: Iterable[Subscription]) -> None:
        """Serve what the identity may follow now. The first subscription for which that is too much is paused, and
        those behind it too: each would take long to find out."""
        identity = self.identity
        room = MAX_HELD_KEYS - self.patterns + sum([sub.size - sub.wanted.size for sub in subscriptions])
        for sub in subscriptions:
            served = sub.topic.served(identity, sub.wanted)
            if served.size - sub.wanted.size > room:
                identity = ANONYMOUS
                served = sub.topic.served(identity, sub.wanted)
            room -= max(0, served.size - sub.wanted.size)
            if served == sub.served:
                continue
            narrower = sub.served.covers(served)
            sub.fall_behind()
            sub.serve(served)
            # With more names the client lacks their records; with fewer devices it would keep the others. And `sent`
            # counted events of the old names: within a transaction it would skip the wrong ones. A device keeps values
            # that its token does not show any more.
            of_fleet = sub.topic.scoped and sub.channel.stateful and not sub.topic.latest
            if not narrower or sub.sent or of_fleet:
                sub.start_over()

    def behind(self) -> list[Subscription]:
        """The subscriptions that have to catch up."""
        return [sub for sub in self.subscriptions if not sub.live and sub not in self.starting]


class PlainFeed(Feed):
    """The subscriptions of one connection whose client gets nothing but events (devices, section 6.1).

    They outlive their token, because such clients renew it only when a request is refused. They end without a push when
    the user is locked or deleted, the token is revoked, or the rights no longer cover what they follow: `within` says
    which patterns of a subscription an identity still reaches. One that has ended never continues.
    """

    __slots__ = ("_within",)

    plain = True

    def __init__(
        self,
        host: Host,
        listener: Listener,
        identity: Identity,
        numbers: Iterator[int],
        within: Callable[[Identity, Subscription], Patterns],
    ) -> None:
        super().__init__(host, listener, structs.replace(identity, expires=NEVER), numbers)
        self._within = within

    def suspend(self) -> None:
        """End all subscriptions without a push, because DeviceHive's clients know none."""
        self._narrow(lambda sub: NOTHING)

    def go_on(self) -> None:
        """The identity, or another one of its user, has changed."""
        self._narrow(lambda sub: self._within(self.identity, sub))

    def renew(self, identity: Identity) -> None:
        """Continue with another token of the same user, as far as it reaches."""
        self.identity = structs.replace(identity, expires=NEVER)
        self.expires = NEVER
        self.go_on()
        self._host.serve(self)

    def _narrow(self, within: Callable[[Subscription], Patterns]) -> None:
        for sub in self.subscriptions:
            left = sub.served & within(sub) if sub.served.patterns else sub.served
            if left != sub.served:
                sub.serve(left)
            if not left.patterns:
                self._host.part(sub)
