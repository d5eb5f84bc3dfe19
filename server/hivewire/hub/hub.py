"""The hub: follows its sources, pushes each event to live subscriptions, and lets the others catch up."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any
from weakref import WeakSet

from hivewire.access.identity import Identity
from hivewire.access.tokens import Tokens
from hivewire.component import end
from hivewire.hub.catchup import CatchUp, alike, is_shared
from hivewire.hub.feed import Feed, Listener, PlainFeed, Replay, Subscription
from hivewire.hub.frames import SHAPES, Shape
from hivewire.hub.ledger_source import LedgerSource
from hivewire.hub.source import LEDGER, Event, Source, Topic, transactions
from hivewire.hub.tail import Tail
from hivewire.ledger.ledger import Ledger
from hivewire.unexpected import every
from hivewire_protocol.nouns.subscription import parse_position
from hivewire_protocol.patterns import Patterns

FRAMES = 4_096
"""Most frames pushed by one announcement, which takes about 10 ms. Further subscriptions get theirs in slices."""

EXPIRING = 60_000
"""Milliseconds before the expiry of a token at which its subscribers get a push about it."""

AT_ONCE, EACH = 1_000, 50
"""Keys and patterns of feeds that are reconsidered at once after a change, where each feed counts as some more: 2 ms.
Thousands of devices may share a user, and a feed may have thousands of keys."""

BOOKMARKS = 500
"""About how many bookmarks are sent before the event loop runs other tasks."""


_offset: Callable[[Event], int] = attrgetter("offset")

REPLAYS = 2
"""Concurrent reads of stored events for new subscriptions."""


class Hub:
    """All subscriptions of one gateway. `unexpected` is called with errors that are bugs of the gateway.

    The ledger is followed from the start; other sources are added under the name that their topics use.
    """

    def __init__(
        self,
        ledger: Ledger,
        tokens: Tokens,
        conflate_after: int,
        unexpected: Callable[[str, BaseException], None],
        bookmark_seconds: float = 10.0,
    ) -> None:
        self.feeds: set[Feed] = set()
        self.catch_up = CatchUp(self.allows, unexpected, conflate_after)
        self.serve = self.catch_up.serve
        self._now = ledger.now
        ledger.clock.on_set_back = self.recheck
        self._tokens = tokens
        self._bookmark_seconds = bookmark_seconds
        self._task: asyncio.Task[None] | None = None
        self._tails: dict[str, Tail[Subscription]] = {}
        self._replays: WeakSet[Replay] = WeakSet()
        self.replays = asyncio.Semaphore(REPLAYS)
        self.leave: Callable[[int], None] = lambda device: None
        """Called when the subscription of a device ended or was paused, with the id of the device's record."""
        source = LedgerSource(ledger)
        # Before the pushes: a user that a commit locks must not receive it.
        source.follow_access(self._recheck)
        self.add(LEDGER, source)
        # After the pushes, so that followers of a document still get its delete, which is part of the tenant's delete.
        source.follow_tenants(self._narrow)

    # The life of the component.

    def start(self) -> None:
        """Start sending bookmarks."""
        work = every(self._bookmark_seconds, self.bookmarks, "bookmarks were not sent")
        self._task = asyncio.create_task(work, name="bookmarks")

    async def close(self) -> None:
        """Stop pushing. Connections are closed by their owners."""
        await end(self._task)
        await self.catch_up.close()

    def gauges(self) -> dict[str, tuple[str, Callable[[], float]]]:
        """The metrics: a sentence and a function for each name."""
        return {
            "subscriptions": ("Subscriptions of all connections.", self.count),
            "pushes": ("Changes pushed to subscribers so far.", lambda: self.catch_up.pushes),
        }

    # Sources and feeds.

    def add(self, name: str, source: Source) -> None:
        """Follow another source, for the topics that name it."""
        tail = self._tails[name] = Tail[Subscription](source)
        source.follow(partial(self._announce, tail))
        source.on_gap(partial(self._start_over, tail))

    def _start_over(self, tail: Tail[Subscription]) -> None:
        """Items of the source were lost: its subscriptions fall behind, and start over as they catch up."""
        for feed in self.feeds:
            for sub in feed.subscriptions:
                if sub.channel.tail is tail:
                    sub.fall_behind()
        tail.clear()
        self.catch_up.each([*self.feeds], self.serve)

    def tail(self, name: str = LEDGER) -> Tail[Subscription]:
        """The tail of a source. Raises KeyError when the source was not added."""
        return self._tails[name]

    def forget_encoded(self) -> None:
        """Drop the encoded form of the events in memory: their topics show something else from now on."""
        for tail in self._tails.values():
            tail.forget_encoded()

    def ahead(self, since: str | None) -> Source | None:
        """The source that a position belongs to, if it is ahead of that here; another gateway may have given it."""
        try:
            epoch, offset = parse_position(since or "")
        except ValueError:
            return None
        sources = [tail.source for tail in self._tails.values()]
        return next((each for each in sources if each.shared and each.epoch == epoch and each.tip < offset), None)

    def feed(self, listener: Listener, identity: Identity, numbers: Iterator[int] | None = None) -> Feed:
        """A feed of a connection, without subscriptions. `numbers` are the ids of those to come."""
        feed = Feed(self, listener, identity, numbers)
        self._open(feed)
        return feed

    def plain_feed(
        self,
        listener: Listener,
        identity: Identity,
        numbers: Iterator[int],
        within: Callable[[Identity, Subscription], Patterns],
    ) -> Feed:
        """The feed of a connection for subscriptions to plain topics: see PlainFeed."""
        feed = PlainFeed(self, listener, identity, numbers, within)
        self._open(feed)
        return feed

    def _open(self, feed: Feed) -> None:
        # No events are kept while there is no feed, so the first one begins at the tip of each source.
        if not self.feeds:
            for tail in self._tails.values():
                tail.clear()
        self.feeds.add(feed)
        self.watch_token(feed)

    def forget(self, feed: Feed) -> None:
        """The connection is gone."""
        self.feeds.discard(feed)

    def part(self, sub: Subscription) -> None:
        """A subscription ended or was paused."""
        self.catch_up.missed.discard(sub)
        if sub.device:
            self.leave(sub.device)
            sub.device = 0
        if sub.topic.left is not None:
            sub.topic.left(sub)

    def watch_token(self, feed: Feed) -> None:
        """Set a timer if the feed's token needs a push, or expires, before the round of bookmarks after next.

        Each round checks again, so few feeds have a timer at a time: one for each doubled the memory of a feed.
        """
        if feed.timer is not None:
            feed.timer.cancel()
            feed.timer = None
        left = feed.expires - self._now()
        seconds = (left + 1 if feed.warned else max(0, left - EXPIRING)) / 1_000
        if seconds <= 2 * self._bookmark_seconds:
            feed.timer = asyncio.get_running_loop().call_later(seconds, self.check_token, feed)

    def check_token(self, feed: Feed) -> None:
        """Suspend the feed if its token has expired. Otherwise warn its subscribers if it expires soon, and set the
        next timer."""
        left = feed.expires - self._now()
        if left < 0:
            feed.suspend()
            return
        if left <= EXPIRING:
            feed.warn()
        self.watch_token(feed)

    def why_paused(self, feed: Feed) -> str | None:
        """The text of the error that a request would get for its token."""
        refusal = self._tokens.refusal(feed.identity, self._now())
        return refusal.text if refusal is not None else None

    def hold(self, sub: Subscription, replay: Replay) -> None:
        """Push these events to a new subscription before all others."""
        sub.replay = replay
        self._replays.add(replay)

    def replay_bytes(self) -> int:
        """Bytes of all replayed events that subscriptions have not received yet."""
        return sum([replay.size for replay in self._replays])

    def count(self) -> int:
        """Subscriptions of all connections."""
        return sum(len(feed.subscriptions) for feed in self.feeds)

    def allows(self, feed: Feed) -> bool:
        """Whether the token of the feed is still accepted."""
        return self._tokens.refusal(feed.identity, self._now()) is None

    def recheck(self) -> None:
        """The clock was set back, or keys have changed: check all rights again."""
        self._tokens.begin_generation()
        for feed in self.feeds:
            feed.identity = self._tokens.as_now(feed.identity)
            feed.expires = feed.identity.expires
        self._reconsider_each([*self.feeds])

    def _reconsider_each(self, feeds: Sequence[Feed]) -> None:
        """Reconsider some feeds: a few at once and others in slices, in which nothing is pushed to those that wait."""
        sizes = accumulate(feed.patterns + EACH for feed in feeds)
        few = bisect_right(list(sizes), AT_ONCE)
        for feed in feeds[few:]:
            feed.doubt()
        for feed in feeds[:few]:
            self.reconsider(feed)
        if few < len(feeds):
            self.catch_up.each(feeds[few:], self.reconsider)

    def reconsider(self, feed: Feed) -> None:
        """Suspend the feed if its token is no longer accepted; resume it if the token is accepted again. It may have
        fewer privileges in tenants than before."""
        feed.trust()
        if feed not in self.feeds:
            return  # it was closed while it waited
        if not self.allows(feed):
            feed.suspend()
            return
        identity = self._tokens.current(self._tokens.as_now(feed.identity))
        if identity.tenants != feed.identity.tenants and not feed.plain:
            feed.renew(identity)
        feed.go_on()
        self.watch_token(feed)
        self.serve(feed)

    # Pushing.

    def _announce(self, tail: Tail[Subscription], items: Sequence[Any]) -> None:
        """Push new items, whole transactions at a time. A subscription that cannot take one falls behind before it."""
        if not self.feeds or not tail.channels:
            tail.clear()
            return
        added = tail.add(items)
        moment, room = self._now(), FRAMES
        for transaction in transactions(added):
            if room <= 0 and transaction[0].offset < added[-1].offset:
                self._leave_all_behind(tail, added[bisect_left(added, transaction[0].offset, key=_offset) :], moment)
                return
            if len(transaction) == 1 and not transaction[0].parts:
                room -= self._publish(tail, transaction, tail.find(transaction[0]), moment, room)
            else:
                room -= self._publish_all(tail, transaction, moment, room)
            # Not before all were pushed: a subscription that falls behind in this loop starts before the transaction.
            tail.offset = transaction[0].offset

    def _publish(
        self, tail: Tail[Subscription], events: list[Event], found: Collection[Subscription], moment: int, room: int
    ) -> int:
        """Push a transaction to live subscriptions that get all of it; returns how many frames were pushed.

        This is the path of nearly every put. The frame is made once for each shape, not for each subscription. Those of
        one shape are looked through before any of them is pushed to: each write is a system call, after which code and
        data have to be fetched again, so to do both in turn costs a quarter more.
        """
        if not found:
            return 0
        offset, position, pushed, size = events[0].offset, "", 0, len(events)
        frames: dict[Shape, bytes] = {}
        later: Sequence[Subscription] = ()
        ready: list[Listener] = []
        shape, frame = None, b""
        rest = iter(found)
        for sub in rest:
            if pushed >= room:
                later = [sub, *rest]
                break
            if sub.shape is not shape:  # another one: that of nobody before, or of a feed that may be stalled by now
                for listener in ready:
                    listener.push(frame)
                shape, ready = sub.shape, []
                frame = frames.get(shape, b"")
            if not sub.live:
                continue
            feed = sub.feed
            if feed.stalled or feed.expires < moment:
                self._leave_behind(sub, moment)
                continue
            if not frame:
                if not position and not shape.topic.plain:
                    position = tail.position(offset)
                frame = frames[shape] = (
                    shape.update(events[0], position) if size == 1 else shape.group(events, position)
                )
            sub.last_position = offset
            pushed += size
            ready.append(feed.listener)
        for listener in ready:
            listener.push(frame)
        self.catch_up.pushes += pushed
        if later:
            self.catch_up.push_later(later, events, frames, moment)
        return pushed

    def _publish_all(self, tail: Tail[Subscription], transaction: list[Event], moment: int, room: int) -> int:
        """The same for a transaction of several events, of which each subscription may get others."""
        pushed = 0
        for found, events in alike(transaction, tail.find_each(transaction)):
            publish = self._publish if is_shared(found, events) else self._publish_each
            pushed += publish(tail, events, found, moment, room - pushed)
        return pushed

    def _publish_each(
        self, tail: Tail[Subscription], events: list[Event], found: Collection[Subscription], moment: int, room: int
    ) -> int:
        """The same for subscriptions that may get a part of the events, or not all at once."""
        offset, pushed = events[0].offset, 0
        for sub in found:
            if not sub.live:
                continue
            if sub.feed.stalled or sub.feed.expires < moment or pushed >= room:
                self._leave_behind(sub, moment)
                continue
            pushed += len(events)
            self.catch_up.deliver(sub, [events])
            if sub.offset < offset:
                # The peer stopped reading in the middle. `deliver` has noted where, so `fall_behind`, which would
                # start again before the transaction, is not called.
                sub.live, sub.resuming = False, not sub.feed.plain
        return pushed

    def is_followed(self, topic: Topic) -> bool:
        """Whether anybody has followed a topic since the start."""
        return topic in self.tail(topic.source).channels.get(topic.kind, ())

    def tell(self, topic: Topic, keys: Sequence[str], what: str, members: bytes) -> None:
        """Push what is in no log, about an item with these keys, to those who follow a volatile topic and see the item.

        A subscription whose peer does not read, or whose token is not accepted, gets the whole state again later.
        """
        find = self.tail(topic.source).channel(topic).index.find
        for sub in dict.fromkeys(chain.from_iterable(map(find, keys))):
            if sub in sub.feed.starting or (sub.copy is not None and keys[0] > sub.copy.cursor):
                continue  # its state comes later
            if sub.feed.stalled or not self.allows(sub.feed):
                sub.fall_behind()
                self.catch_up.missed.add(sub)
            else:
                sub.feed.listener.push(sub.shape.notice(topic.name, what, members))

    def switch(
        self, sub: Subscription, served: Patterns, events: Sequence[Event] | None, frames: dict[Shape, bytes]
    ) -> None:
        """Serve a subscription other patterns from now on, after these events, which say what is different.

        One that is behind starts over, and so does one for which there are too many events (None). `frames` keeps what
        was encoded, for the next subscription with these events.
        """
        sub.serve(served)
        if events is None or not sub.live or sub.feed.stalled or sub.feed.expires < self._now():
            sub.fall_behind()
            sub.start_over()
            self.serve(sub.feed)
            return
        if not events:
            return
        frame = frames.get(sub.shape)
        if frame is None:
            frame = frames[sub.shape] = sub.shape.group(events, sub.channel.tail.position(events[-1].offset))
        self.catch_up.pushes += len(events)
        sub.last_position = events[-1].offset
        sub.feed.listener.push(frame)

    def _leave_behind(self, sub: Subscription, moment: int) -> None:
        """Let a live subscription catch up later, or suspend its feed if the token has expired."""
        if sub.feed.expires < moment:
            sub.feed.suspend()
        else:
            sub.fall_behind(sub.feed.stalled)
            self.serve(sub.feed)

    def _leave_all_behind(self, tail: Tail[Subscription], events: list[Event], moment: int) -> None:
        """Let those that are live and match one of these events catch up with several transactions, for which there are
        no frames left. To look at thousands for each of these transactions took 2 ms of the event loop."""
        feeds: list[Feed] = []
        for found in tail.collections(events):
            for sub in list(found):
                if sub.live and sub.feed.expires < moment:
                    sub.feed.suspend()
                elif sub.live:
                    sub.fall_behind(sub.feed.stalled)
                    feeds.append(sub.feed)
        tail.offset = events[-1].offset
        self.catch_up.each(feeds, self.serve)

    def _recheck(self, concerned: Callable[[Identity], bool]) -> None:
        """Suspend feeds whose user or client lost access by a commit, and resume those that regained it."""
        self._reconsider_each([feed for feed in self.feeds if concerned(feed.identity)])

    def _narrow(self) -> None:
        """Drop privileges in deleted tenants, so that they do not extend to a later tenant with the same id."""
        for feed in list(self.feeds):
            identity = self._tokens.current(feed.identity)
            if identity is not feed.identity:
                feed.renew(identity)

    async def bookmarks(self) -> None:
        """Send the current position to live subscriptions for which nothing matched since their last position."""
        work = 0
        frames: dict[tuple[Shape, int], bytes] = {}
        for feed in list(self.feeds):
            # Pushes check the expiry as well, but a feed without pushes would never notice.
            if feed.expires < self._now():
                feed.suspend()
            elif feed.timer is None:
                self.watch_token(feed)
            due = self._due(feed, frames)
            if due:
                feed.listener.push(b"".join(due))
            work += 1 + len(due)
            if work >= BOOKMARKS:
                work = 0
                if len(frames) > SHAPES:
                    frames.clear()
                await asyncio.sleep(0)

    def _due(self, feed: Feed, frames: dict[tuple[Shape, int], bytes]) -> list[bytes]:
        """The bookmarks of one feed. Subscriptions of one shape share the frame."""
        due: list[bytes] = []
        if feed.plain:
            return due
        for sub in feed.subscriptions:
            tail = sub.channel.tail
            if not sub.live or feed.stalled or sub.last_position >= tail.offset or sub.topic.latest:
                continue
            sub.last_position = tail.offset
            frame = frames.get((sub.shape, tail.offset))
            if frame is None:
                frame = frames[sub.shape, tail.offset] = sub.shape.bookmark(tail.position(tail.offset))
            due.append(frame)
        return due
