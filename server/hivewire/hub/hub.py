"""The hub: follows the ledger, pushes each change to those that are live, and lets the others catch up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from hivewire.access.identity import Identity
from hivewire.access.tenants import CLIENT, TENANT
from hivewire.access.tokens import Tokens
from hivewire.access.users import KIND as USER
from hivewire.hub import catchup
from hivewire.hub.entries import Entry, Recent, transactions
from hivewire.hub.feed import SHAPES, Feed, Listener, Shape, Subscription
from hivewire.hub.index import Index
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change
from hivewire.telemetry import Gauges
from hivewire_protocol.nouns.subscription import render_position

FRAMES = 4_096
"""The most frames that are pushed in one go, about 10 ms; who would get more catches up in turns."""

SUBJECTS = frozenset({USER, CLIENT})
"""Kinds of records that tokens are of."""

BOOKMARKS = 500
"""About so many bookmarks are sent in one go."""


class Hub:
    """All subscriptions of one gateway. `unexpected` is told of errors that nobody foresaw."""

    def __init__(
        self,
        ledger: Ledger,
        tokens: Tokens,
        conflate_after: int,
        unexpected: Callable[[str, BaseException], None],
        bookmark_seconds: float = 10.0,
    ) -> None:
        self.ledger = ledger
        self.conflate_after = conflate_after
        self.unexpected = unexpected
        self.feeds: set[Feed] = set()
        self.recent = Recent(ledger.revision)
        self.pushes = 0
        self._tokens = tokens
        self._bookmark_seconds = bookmark_seconds
        self._task: asyncio.Task[None] | None = None
        self._indexes: dict[str, Index[Subscription]] = {}
        ledger.observers.append(self._announce)

    # The life of the component.

    def start(self) -> None:
        """Send bookmarks from now on."""
        self._task = asyncio.create_task(self._send_bookmarks())

    async def close(self) -> None:
        """Send no more bookmarks; connections end by themselves."""
        if self._task is not None:
            self._task.cancel()

    def gauges(self) -> Gauges:
        """Metrics of all subscriptions."""
        return {
            "subscriptions": ("Subscriptions of all connections.", self.count),
            "pushes": ("Changes pushed to subscribers so far.", lambda: self.pushes),
        }

    async def _send_bookmarks(self) -> None:
        while True:
            await asyncio.sleep(self._bookmark_seconds)
            await self.bookmarks()

    # Who is here.

    def feed(self, listener: Listener, identity: Identity) -> Feed:
        """The subscriptions of a new connection, none yet."""
        if not self.feeds:
            self.recent.clear(self.ledger.revision)
        feed = Feed(self, listener, identity)
        self.feeds.add(feed)
        return feed

    def enter(self, sub: Subscription) -> None:
        """Find the subscription by the names that it is served."""
        self._indexes.setdefault(sub.topic.kind, Index()).add(sub.served, sub)

    def leave(self, sub: Subscription) -> None:
        """Do not find it any more."""
        self._indexes[sub.topic.kind].remove(sub.served, sub)

    def count(self) -> int:
        """Subscriptions of all connections."""
        return sum(len(feed.subscriptions) for feed in self.feeds)

    def allows(self, feed: Feed) -> bool:
        """Whether the identity behind it still counts."""
        return feed.expires >= self.ledger.now() and self._tokens.active(feed.identity)

    # Where the log stands.

    def position(self, revision: int) -> str:
        """The position behind a revision."""
        return render_position(self.ledger.epoch, revision)

    # Frames.

    def update(self, sub: Subscription, entry: Entry, position: str | None, conflated: bool = False) -> bytes:
        """The frame of one change. Without a position it says that more of its group follows."""
        self.pushes += 1
        return sub.shape.render("update", _members(sub, entry, position, conflated), position)

    def bookmark(self, sub: Subscription, revision: int) -> bytes:
        """The frame that only says how far the ledger has come."""
        position = self.position(revision)
        return sub.shape.render("bookmark", b'"position":"%b"' % position.encode(), position)

    # What the ledger and the clock bring.

    def _announce(self, changes: Sequence[Change]) -> None:
        if not self.feeds:
            self.recent.clear(self.ledger.revision)
            return
        moment, room = self.ledger.now(), FRAMES
        for transaction in transactions(self.recent.add(changes)):
            if any(entry.change.kind in SUBJECTS for entry in transaction):
                self._recheck(transaction)
            if len(transaction) == 1:
                room -= self._publish(transaction[0], moment, room)
            else:
                room -= self._publish_all(transaction, moment, room)
        if any(change.kind == TENANT and change.content is None for change in changes):
            self._narrow()

    def _publish(self, entry: Entry, moment: int, room: int) -> int:
        """Push a transaction of one change to those who are live; how many they were."""
        index = self._indexes.get(entry.change.kind)
        found = index.find(entry.change.key) if index is not None else ()
        if not found:
            return 0
        revision, position, pushed = entry.revision, self.position(entry.revision), 0
        frames: dict[Shape, bytes] = {}
        for sub in found:
            if not sub.live:
                continue
            feed = sub.feed
            if feed.stalled or feed.expires < moment or pushed >= room:
                self._leave_behind(sub, revision - 1, moment)
                continue
            frame = frames.get(sub.shape)
            if frame is None:
                frame = frames[sub.shape] = sub.shape.render("update", _members(sub, entry, position, False), position)
            sub.told = revision
            pushed += 1
            feed.listener.push(frame)
        self.pushes += pushed
        return pushed

    def _publish_all(self, transaction: list[Entry], moment: int, room: int) -> int:
        """The same for a transaction of several changes: whole, so it is worked out who gets which of them."""
        concerned: dict[Subscription, int] = {}
        for entry in transaction:
            index = self._indexes.get(entry.change.kind)
            for sub in index.find(entry.change.key) if index is not None else ():
                concerned[sub] = concerned.get(sub, 0) + 1
        revision, pushed = transaction[0].revision, 0
        for sub, count in concerned.items():
            if not sub.live:
                continue
            if sub.feed.stalled or sub.feed.expires < moment or pushed >= room:
                self._leave_behind(sub, revision - 1, moment)
                continue
            pushed += count
            catchup.deliver(self, sub, [transaction])
            if sub.at < revision:
                sub.live = False  # the peer did not keep up
        return pushed

    def _leave_behind(self, sub: Subscription, at: int, moment: int) -> None:
        if sub.feed.expires < moment:
            sub.feed.suspend(at)
        else:
            sub.fall_behind(at)
            sub.feed.serve()

    def _recheck(self, transaction: list[Entry]) -> None:
        """A user or client has changed: who may not log in any more gets nothing more, who may again goes on."""
        changed = {(entry.change.kind, entry.change.id) for entry in transaction}
        for feed in [feed for feed in self.feeds if feed.identity.subject in changed]:
            if self.allows(feed):
                feed.serve()
            else:
                feed.suspend(transaction[0].revision - 1)

    def _narrow(self) -> None:
        """A tenant was deleted: who had privileges in it is not served what another tenant of its name will do."""
        for feed in list(self.feeds):
            identity = self._tokens.current(feed.identity)
            if identity is not feed.identity:
                feed.renew(identity)

    async def advance(self, sub: Subscription) -> None:
        """One step of catching up."""
        await catchup.advance(self, sub)

    async def bookmarks(self) -> None:
        """Tell those who are live, but have long seen nothing that matched, how far the ledger has come."""
        work, revision = 0, self.ledger.revision
        frames: dict[Shape, bytes] = {}
        for feed in list(self.feeds):
            if feed.expires < self.ledger.now():
                feed.suspend(self.ledger.revision)
            told = [sub for sub in feed.subscriptions if sub.live and sub.told < revision and not feed.stalled]
            for sub in told:
                sub.told = revision
                if sub.shape not in frames:
                    frames[sub.shape] = self.bookmark(sub, revision)
            if told:
                feed.listener.push(b"".join([frames[sub.shape] for sub in told]))
            work += 1 + len(told)
            if work >= BOOKMARKS:
                work = 0
                if len(frames) > SHAPES:
                    frames.clear()
                await asyncio.sleep(0)


def _members(sub: Subscription, entry: Entry, position: str | None, conflated: bool) -> bytes:
    head = b'"position":"%b",' % position.encode() if position is not None else b'"more":true,'
    if conflated:
        head += b'"conflated":true,'
    return head + entry.members(sub.topic)
