"""The subscriptions of one connection, and the task that serves those of them that are behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from hivewire.access.identity import Identity
from hivewire.hub.entries import Topic
from hivewire.ledger.records import Change
from hivewire_protocol.close import Code
from hivewire_protocol.patterns import Patterns

if TYPE_CHECKING:
    from hivewire.hub.hub import Hub

Frame = Callable[[str, int, bool, str, bytes, "str | None"], bytes]
"""See Listener.frame."""


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


class Shape:
    """How the frames of a subscription look. Equal ones are the same object, so that a frame is made once for all."""

    __slots__ = ("frame", "id", "rpc", "topic")

    def __init__(self, frame: Frame, topic: str, number: int, rpc: bool) -> None:
        self.frame = frame
        self.topic = topic
        self.id = number
        self.rpc = rpc

    def render(self, what: str, members: bytes, position: str | None = None) -> bytes:
        """A whole frame."""
        return self.frame(self.topic, self.id, self.rpc, what, members, position)


SHAPES = 4_096
"""So many shapes are kept to be shared, and frames of them where one position goes to many."""

shape_of = lru_cache(SHAPES)(Shape)


class Subscription:
    """What one subscription wants, and how far it has come.

    `live`: it gets changes as they are announced. Otherwise it has been sent everything up to revision `at`, and `sent`
    matching changes of the transaction behind it. `cursor` is the last name that it has of a state which is being
    copied to it, None when it has the whole: the state is that of a snapshot, or with a `floor` the records which
    changed after that revision, conflated; `buried` are the tombstones of that run. `told` is the revision of the last
    position that it got. `turn` counts what was decided from outside, so that a reader of the log notices.
    """

    __slots__ = (
        "at",
        "buried",
        "conflate",
        "cursor",
        "ended",
        "feed",
        "floor",
        "idle",
        "live",
        "reset",
        "sent",
        "served",
        "shape",
        "told",
        "topic",
        "turn",
        "wanted",
    )

    def __init__(self, feed: Feed, topic: Topic, shape: Shape, wanted: Patterns, at: int) -> None:
        self.feed = feed
        self.topic = topic
        self.shape = shape
        self.wanted = wanted
        self.served = topic.served(feed.identity, wanted)
        self.at = self.told = at
        self.cursor: str | None = None
        self.floor = 0
        self.buried: list[Change] | None = None
        self.sent = 0
        self.turn = 0
        self.ended = False
        self.conflate = True
        self.idle = False
        self.reset = False
        self.live = False

    @property
    def id(self) -> int:
        """The number on its connection."""
        return self.shape.id

    def copy_from(self, revision: int, floor: int = 0) -> None:
        """Begin a snapshot, or with a floor a conflated run, of the state from this revision on."""
        self.live = False
        self.at, self.floor, self.cursor, self.sent, self.buried = revision, floor, "", 0, None
        self.turn += 1

    def fall_behind(self, at: int) -> None:
        """From now on it catches up from the log."""
        if self.live:
            self.live = False
            self.at = at


class Feed:
    """The subscriptions of one connection. `stalled`: its peer does not read, so nothing is pushed to it. `patterns`
    counts the name patterns of all of them."""

    __slots__ = (
        "_hub",
        "_last_id",
        "_task",
        "expires",
        "identity",
        "listener",
        "patterns",
        "stalled",
        "starting",
        "subscriptions",
    )

    def __init__(self, hub: Hub, listener: Listener, identity: Identity) -> None:
        self._hub = hub
        self._last_id = 0
        self._task: asyncio.Task[None] | None = None
        self.listener = listener
        self.identity = identity
        self.expires = identity.expires
        self.stalled = False
        self.patterns = 0
        self.starting: list[Subscription] = []
        self.subscriptions: list[Subscription] = []

    def subscribe(self, topic: Topic, wanted: Patterns, at: int) -> Subscription:
        """A new subscription that has everything up to a revision; it starts with `begin`."""
        self._last_id += 1
        shape = shape_of(self.listener.frame, topic.name, self._last_id, False)
        sub = Subscription(self, topic, shape, wanted, at)
        self.subscriptions.append(sub)
        self.patterns += len(wanted.exact) + len(wanted.prefixes)
        self.starting.append(sub)
        self._hub.enter(sub)
        return sub

    def begin(self, rpc: bool) -> None:
        """The replies to the requests of the new ones are out: pushes may follow."""
        starting, self.starting = self.starting, []
        for sub in starting:
            if rpc:
                sub.shape = shape_of(self.listener.frame, sub.topic.name, sub.id, True)
            sub.live = sub.cursor is None and sub.at == self._hub.ledger.revision
        self.serve()

    def find(self, number: int) -> Subscription | None:
        """The subscription of this number."""
        return next((sub for sub in self.subscriptions if sub.id == number), None)

    def end(self, sub: Subscription) -> None:
        """Push nothing more to it."""
        self._hub.leave(sub)
        sub.live, sub.ended = False, True
        sub.turn += 1
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
        self._hub.feeds.discard(self)
        if self._task is not None:
            self._task.cancel()

    def pause(self) -> None:
        """The peer does not read: push nothing more."""
        self.stalled = True

    def resume(self, idle: bool = False) -> None:
        """It reads again; `idle`: it had not read anything for so long that changes may be conflated."""
        self.stalled = False
        for sub in self.subscriptions:
            sub.idle = idle and not sub.live
        self.serve()

    def suspend(self, at: int) -> None:
        """The identity does not count any more: everything stops behind this revision."""
        for sub in self.subscriptions:
            sub.fall_behind(at)
        self.listener.suspend()

    def renew(self, identity: Identity) -> None:
        """Another token of the same user: go on where each stood, with the names that it reaches (section 6)."""
        self.identity = identity
        self.expires = identity.expires
        revision = self._hub.ledger.revision
        for sub in self.subscriptions:
            served = sub.topic.served(identity, sub.wanted)
            if served == sub.served:
                continue
            narrower = all(sub.served.contains(pattern) for pattern in served.patterns)
            sub.fall_behind(revision)
            self._hub.leave(sub)
            sub.served = served
            self._hub.enter(sub)
            sub.turn += 1
            if not narrower or sub.sent or sub.buried:
                sub.copy_from(revision)
                sub.reset = True
        for sub in self.subscriptions:
            if not sub.live and not self._hub.ledger.covers(sub.at):
                sub.copy_from(revision)
                sub.reset = True
        self.serve()

    def serve(self) -> None:
        """See to it that those which are behind catch up, unless the peer does not read or may not."""
        if self._task is None and not self.stalled and self._behind():
            self._task = asyncio.get_running_loop().create_task(self._serve())

    def _behind(self) -> list[Subscription]:
        return [sub for sub in self.subscriptions if not sub.live and sub not in self.starting]

    async def _serve(self) -> None:
        try:
            while not self.stalled and (behind := self._behind()):
                if not self._hub.allows(self):
                    self.suspend(self._hub.ledger.revision)
                    break
                for sub in behind:
                    if not (self.stalled or sub.live or sub.ended):
                        await self._hub.advance(sub)
                        await asyncio.sleep(0)  # others have their turn
        except Exception as error:
            self._hub.unexpected("subscription", error)
            self.listener.close(Code.INTERNAL_ERROR)
        finally:
            self._task = None
