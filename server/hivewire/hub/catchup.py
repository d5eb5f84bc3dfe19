"""Catching up: subscriptions that are not live are served from the log, or get a copy of the state.

This is configuration contract, section 8. Work is done in steps of a few milliseconds. Between two steps a subscription
keeps only an offset and, while the state is copied, a cursor. So a thousand subscriptions that are behind hold no
messages, and the event loop serves others between two slices of steps.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Generator, Iterable, Sequence
from functools import partial
from itertools import chain, compress
from operator import attrgetter
from time import perf_counter
from typing import Any, TypeAlias

from hivewire.component import end
from hivewire.hub.feed import Copy, Feed, Replay, Subscription
from hivewire.hub.frames import Shape
from hivewire.hub.source import CompactedLog, Event, NotCovered, transactions
from hivewire.slices import SLICE_SECONDS
from hivewire_protocol.close import Code

PORTION = 1_000
"""Events that are read from the log at a time."""

WRITE = 64 << 10
"""Bytes of frames that are joined for one write. After each write it is checked whether the peer still reads."""

SNAPSHOT_BYTES = 256 << 10
"""Largest snapshot frame, unless it has a single record (configuration contract, section 4)."""

ENVELOPE = 512
"""Most bytes of a snapshot frame around its records."""

PUSHES = 200
"""Subscriptions to which one step pushes what many wait for, in about a millisecond."""

LOOK = 1_000
"""Records and tombstones that one step of a conflated run looks at, and records of others that one step of a snapshot
passes: in 0.2 ms, or up to 10 ms where effective values have to be found for it."""

Reading: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Steps: TypeAlias = Generator[Reading | None, None, None]


class CatchUp:
    """Lets feeds catch up, one step of each feed after the other.

    One runner does the steps that need only memory. A step that reads the log is a task of its own, because it waits
    for the disk. Only one portion is read at a time, which bounds the memory however many subscriptions are behind.
    """

    def __init__(
        self, allows: Callable[[Feed], bool], unexpected: Callable[[str, BaseException], None], conflate_after: int
    ) -> None:
        self.conflate_after = conflate_after
        self.pushes = 0
        self.missed: set[Subscription] = set()
        """Subscriptions that have missed something that is in no log, such as presence, so they start over."""
        self._allows = allows
        self._unexpected = unexpected
        self._waiting: deque[Steps] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Task[None]] = set()
        self._log = asyncio.Lock()

    async def close(self) -> None:
        """Stop all work."""
        await end(*self._readers, self._runner)

    def serve(self, feed: Feed) -> None:
        """Let the feed's subscriptions that are behind catch up, unless its peer does not read."""
        if not feed.serving and not feed.stalled and feed.behind():
            feed.serving = True
            self._enqueue(self._steps(feed))

    def each(self, feeds: Sequence[Feed], do: Callable[[Feed], None]) -> None:
        """Do something with each of many feeds, in slices."""
        self._enqueue(self._each(feeds, do))

    def _each(self, feeds: Sequence[Feed], do: Callable[[Feed], None]) -> Steps:
        for feed in feeds:
            try:
                do(feed)
            except Exception as error:
                self._unexpected("subscription", error)
                feed.listener.close(Code.INTERNAL_ERROR)
            yield None

    def push_later(
        self, subs: Iterable[Subscription], events: Sequence[Event], frames: dict[Shape, bytes], moment: int
    ) -> None:
        """Push a transaction to those that are live, in slices, because it is for too many to be pushed to all at once.

        Each of them gets all of its events; `frames` are those that were made already.
        """
        waiting, generations = [], []  # not pairs: thousands of them would set off a full garbage collection
        for sub in subs:
            feed = sub.feed
            if not sub.live:
                continue
            if feed.expires < moment:
                feed.suspend()
                continue
            sub.fall_behind(feed.stalled)
            if not feed.serving:  # else it catches up with the others of its feed
                feed.serving = True
                waiting.append(sub)
                generations.append(sub.generation)
        self._enqueue(self._push_on(waiting, generations, events, frames))

    def _push_on(
        self, subs: list[Subscription], generations: list[int], events: Sequence[Event], frames: dict[Shape, bytes]
    ) -> Steps:
        """Push the events to those for which nothing else has happened since; the others catch up from the log.

        A frame is shared, as in a push to all at once. To catch up costs each of thousands ten times as much.
        """
        offset = events[0].offset
        for start in range(0, len(subs), PUSHES):
            latest = subs[start].channel.tail.offset == offset  # the tail is the same for all
            end, ready = start + PUSHES, []
            for sub, generation in zip(subs[start:end], generations[start:end], strict=True):
                feed = sub.feed
                feed.serving = False
                # `resuming`: its token was refused meanwhile. The generation: it ended, or is served something else.
                if latest and sub.generation == generation and not sub.resuming and not feed.stalled:
                    sub.live, sub.last_position = True, offset
                    ready.append(sub)
                if not sub.live or len(feed.subscriptions) > 1:
                    self.serve(feed)
            self._push(ready, events, frames)
            yield None

    def _push(self, subs: list[Subscription], events: Sequence[Event], frames: dict[Shape, bytes]) -> None:
        """Push the frames of a transaction to subscriptions of different feeds."""
        self.pushes += len(subs) * len(events)
        for sub in subs:
            try:
                frame = frames.get(sub.shape)
                if frame is None:
                    frame = frames[sub.shape] = sub.shape.group(events, sub.channel.tail.position(events[-1].offset))
                sub.feed.listener.push(frame)
            except Exception as error:
                self._unexpected("subscription", error)
                sub.feed.listener.close(Code.INTERNAL_ERROR)

    def _enqueue(self, steps: Steps) -> None:
        self._waiting.append(steps)
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Do one step of each feed after the other, in slices for all together, until no step is waiting."""
        try:
            while self._waiting:
                # One slice for all feeds together: with a slice for each, a thousand feeds that are behind would delay
                # live pushes and requests by seconds.
                began = perf_counter()
                while self._waiting:
                    self._step(self._waiting.popleft())
                    if perf_counter() - began >= SLICE_SECONDS:
                        break
                await asyncio.sleep(0)
        finally:
            self._runner = None

    def _step(self, steps: Steps) -> None:
        """Do one step of a feed. The feed then returns to the end of the queue, after reading the log if it has to."""
        try:
            reading = next(steps)
        except StopIteration:
            return
        if reading is None:
            self._waiting.append(steps)
            return
        task = asyncio.get_running_loop().create_task(self._read(reading, steps))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _read(self, reading: Reading, steps: Steps) -> None:
        """Read the log for a feed. An error is raised in its steps, which report it and close the connection."""
        try:
            await reading()
        except Exception as error:
            # Raised inside the generator, so that its `finally` runs and the feed can be served again.
            try:
                steps.throw(error)
            except StopIteration:
                return
        self._enqueue(steps)

    def _steps(self, feed: Feed) -> Steps:
        """The steps of a feed. A step that yields a reading has to be followed by it before the next step."""
        try:
            while not feed.stalled and (behind := feed.behind()):
                for sub in behind:
                    if feed.stalled or sub.live or sub.ended:
                        continue
                    # Before every step, because rights can end while other feeds are served.
                    if not self._allows(feed):
                        feed.suspend()
                        return
                    yield self._advance(sub)
        except Exception as error:
            self._unexpected("subscription", error)
            feed.listener.close(Code.INTERNAL_ERROR)
        finally:
            feed.serving = False

    def _advance(self, sub: Subscription) -> Reading | None:
        """Do one step of a subscription: read on in the log, go live, or copy a part of the state.

        The log comes before the state. The state in memory is always that of the tip, so a part of it may only be
        copied when everything up to the tip was sent for the parts that were copied before.

        A task that reads the log gets the current generation. It drops what it read if that has changed by then,
        because of an unsubscribe, other names or a new copy.
        """
        # A copy that has begun is finished first: where something is missed again and again, one that starts over each
        # time would never end.
        if sub in self.missed and sub.copy is None:
            self.missed.discard(sub)
            sub.start_over()
            return None
        if sub.replay is not None:
            self._deliver_replay(sub, sub.replay)
            return None
        tail = sub.channel.tail
        idle, sub.idle = sub.idle, False  # evaluated once for each pause
        latest = sub.topic.latest
        # During a copy nothing is gained by conflation: a copy has only the latest changes anyway.
        if idle and sub.copy is None and sub.channel.stateful and not latest:
            return partial(self._evaluate, sub, sub.generation)
        if sub.offset < tail.source.tip:
            events = tail.after(sub.offset, PORTION)
            if events is None:  # it is further behind than the memory reaches
                if latest:
                    sub.copy_state(sub.offset if sub.copy is None else sub.copy.floor)
                    return None
                if (further := tail.source.skip(sub.offset, sub.served)) == sub.offset:
                    return partial(self._read_on, sub, sub.generation)
                sub.offset, sub.sent = further, 0
                return None
            # Mostly none of these events match. The index of keys says so without a look at each event, which matters
            # when thousands of subscriptions come back after a restart.
            last = tail.source.tip if latest else sub.channel.last_within(sub.served)
            if last is None:  # the index is not complete yet; the next step asks again
                return None
            if events and events[0].offset > last:
                sub.offset, sub.sent = tail.source.tip, 0
            else:  # nothing after `last` can match
                mine = events[: bisect_right(events, last, key=attrgetter("offset"))]
                self._deliver_or_skip(sub, mine, tail.source.tip)
        elif sub.copy is None:
            self._go_live(sub)
        elif sub.copy.floor:
            self._copy_changed(sub, sub.copy)
        else:
            self._copy(sub, sub.copy)
        return None

    def _go_live(self, sub: Subscription) -> None:
        sub.live = True
        _note(sub)
        if sub.resuming and sub.served.patterns:  # else it is paused, because its token reaches nothing of it
            # The log may have had nothing to send: then no frame of a topic without state has carried the reset yet.
            reset, sub.reset, sub.resuming, sub.last_position = sub.reset, False, False, sub.offset
            sub.feed.listener.push(sub.shape.bookmark(sub.position, reset, live=True))

    def _deliver_replay(self, sub: Subscription, replay: Replay) -> None:
        """Push the next events of the replay, as far as they are still served."""
        out: list[bytes] = []
        size = 0
        while replay.events and size < WRITE:
            event = replay.events.popleft()
            replay.size -= event.size
            if _wants(sub, event):
                out.append(self._update(sub, event, None, False))
                size += len(out[-1])
        if not replay.events:
            sub.replay = None
        if out:  # last, because a push can pause or close the feed
            sub.feed.listener.push(b"".join(out))

    # From the log.

    async def _since(self, sub: Subscription, offset: int, take: int) -> list[Event]:
        """Events from the log. It yields to the event loop first, because a log in memory never does."""
        async with self._log:
            await asyncio.sleep(0)
            return await sub.channel.tail.source.since(offset, take=take)

    async def _read_on(self, sub: Subscription, generation: int) -> None:
        """Deliver the next portion of the log, unless somebody has brought it into memory meanwhile.

        If what is in memory begins soon after, everything up to there is read at once, so that it can be kept.
        Otherwise all subscriptions that wait for the same portion would read it again, each for itself.
        """
        tail, offset = sub.channel.tail, sub.offset
        try:
            async with self._log:
                await asyncio.sleep(0)  # a log in memory never yields to the event loop
                if offset >= tail.since:  # another subscription has read it while this one waited for the lock
                    return
                # Taken before reading: if nothing is found, entries that arrive during the read must not be skipped.
                tip = tail.source.tip
                events = more = await tail.source.since(offset, take=PORTION)
                while more and events[-1].offset < tail.since and tail.is_near(offset, events):
                    more = await tail.source.since(events[-1].offset, take=PORTION)
                    events = [*events, *more]
        except NotCovered:
            if sub.generation == generation:
                self._start_over(sub)
            return
        tail.extend_back(offset, events)
        # All of this may have changed while the disk was read; what was read is still good for others.
        if sub.generation == generation and not sub.feed.stalled and self._allows(sub.feed):
            self._deliver_or_skip(sub, events, tip)

    def _deliver_or_skip(self, sub: Subscription, events: list[Event], tip: int) -> None:
        if events:
            self.deliver(sub, transactions(events))
        else:
            sub.offset = tip  # these offsets have no events left, such as those of removed versions

    def deliver(self, sub: Subscription, portion: Iterable[list[Event]]) -> None:
        """Push the matching events of these transactions, and stop as soon as the peer does not keep up.

        It may stop inside a transaction. `sent` then counts the events that were pushed, and the next delivery
        continues after them. Only the last event has the position, so that no client can resume in the middle.
        """
        out: list[bytes] = []
        size = 0
        feed, tail = sub.feed, sub.channel.tail
        conflated = sub.copy is not None and sub.copy.floor > 0 and not sub.topic.latest
        for transaction in portion:
            offset = transaction[0].offset
            events = _wanted(sub, transaction)
            for number in range(sub.sent, len(events)):
                whole = number + 1 == len(events)
                # During a copy there is no position either: the client does not have the rest of the state yet.
                position = tail.position(offset) if whole and sub.copy is None else None
                out.append(self._update(sub, events[number], position, conflated))
                size += len(out[-1])
                if size >= WRITE:
                    feed.listener.push(b"".join(out))
                    out, size = [], 0
                    if feed.stalled:
                        # The next delivery reads from `offset - 1`, so it gets this transaction again, and skips the
                        # first `sent` events.
                        sub.offset, sub.sent = (offset, 0) if whole else (offset - 1, number + 1)
                        return
            sub.offset, sub.sent = offset, 0
        if out:
            feed.listener.push(b"".join(out))

    def _update(self, sub: Subscription, event: Event, position: str | None, conflated: bool) -> bytes:
        self.pushes += 1
        if position is not None:
            sub.last_position = event.offset
        # Only for topics without state; for the others the first snapshot frame carries the reset.
        reset = sub.reset and sub.copy is None
        if reset:
            sub.reset = False
        return sub.shape.update(event, position, conflated, reset)

    # Conflation.

    async def _evaluate(self, sub: Subscription, generation: int) -> None:
        """After a long pause of the peer: begin a conflated run if more than `conflate_after` events wait for it."""
        source = sub.channel.tail.source
        try:
            if sub.sent:
                # A part of a transaction was sent. It would be repeated in the run, so the rest is sent first.
                broken_off = await self._since(sub, sub.offset, 1)
                if sub.generation != generation or not self._allows(sub.feed):
                    return
                self.deliver(sub, transactions(broken_off))
                if sub.sent or sub.feed.stalled:
                    return
            # Count the waiting events, a portion at a time, until there are more than `conflate_after`. Otherwise it
            # catches up from the log as usual.
            offset, left = sub.offset, self.conflate_after
            while left >= 0:
                if offset >= source.tip:
                    return
                last = offset
                wanted, offset = await self._count(sub, last)
                if sub.generation != generation or offset == last:
                    return
                left -= wanted
        except NotCovered:
            if sub.generation == generation:
                self._start_over(sub)
            return
        if not sub.conflate or sub.topic.visible is not None:  # a run would not find what is not visible any more
            self._start_over(sub)
        else:
            sub.copy_state(floor=sub.offset)

    async def _count(self, sub: Subscription, offset: int) -> tuple[int, int]:
        """How many events of the next portion match, and the offset of the last event.

        Only numbers are returned: many tasks wait for the log at the same time, and must not hold events meanwhile.
        """
        events = await self._since(sub, offset, PORTION)
        return sum([_wants(sub, event) for event in events]), events[-1].offset if events else offset

    def _start_over(self, sub: Subscription) -> None:
        """The log does not reach back far enough, and so neither do its tombstones: replace the client's state.

        A subscription that refused conflation loses its connection instead.
        """
        if sub.conflate:
            sub.start_over()
        else:
            sub.feed.listener.close(Code.SLOW_CONSUMER)
            sub.feed.end(sub)

    # From the state.

    def _copy(self, sub: Subscription, copy: Copy) -> None:
        """Push the next frame of a snapshot. Nothing was awaited since `_advance` found that `offset` is the tip."""
        encode = sub.topic.element
        assert encode is not None  # noqa: S101 - only topics with a state are copied
        elements: list[bytes] = []
        size, looked, last = 0, 0, True
        for key, _, item in (sub.topic.visible or _compacted(sub)).records(sub.served, copy.cursor):
            if item is not None:
                element = encode(item)
                size += len(element) + 1
                if elements and size > (sub.topic.frame_bytes or SNAPSHOT_BYTES) - ENVELOPE:
                    last = False
                    break
                elements.append(element)
            elif (looked := looked + 1) > LOOK:  # a search through items of others is interrupted, too
                last = False
                break
            copy.cursor = key
        # If nothing was found yet, the next step goes on at the cursor. What changes before the cursor is pushed from
        # now on, and the frame that replaces the client's state has to come before that.
        if not (last or elements or sub.reset):
            return
        frame = sub.shape.snapshot(elements, sub.position if last else None, sub.reset)
        sub.reset = False
        if last:
            _finish(sub)
            sub.live = sub not in self.missed
        # Last, because a push can pause or close the feed.
        sub.feed.listener.push(frame)

    def _copy_changed(self, sub: Subscription, copy: Copy) -> None:
        """Push the next frames of a conflated run. Its last frame has the position, if need be a bookmark."""
        if not sub.channel.tail.source.covers(copy.floor):
            # The log was cut beyond the floor, and its tombstones with it: the client would keep deleted names.
            self._start_over(sub)
            return
        events, finished = _gather(sub, copy)
        # A run is in the order of keys, so the client's state is right only at its end: only the last event has a
        # position.
        latest = sub.topic.latest
        last = events.pop() if finished and events and not latest else None
        frames = [self._update(sub, event, None, not latest) for event in events]
        if finished and latest:
            frames.append(sub.shape.bookmark(sub.position, live=True))
            _finish(sub)
        elif finished:
            position = sub.position
            frames.append(self._update(sub, last, position, True) if last else sub.shape.bookmark(position))
            _finish(sub)
        if frames:
            sub.feed.listener.push(b"".join(frames))


def _compacted(sub: Subscription) -> CompactedLog:
    log = sub.channel.tail.source.compacted(sub.topic.kind)
    assert log is not None  # noqa: S101 - its topic says that it has a state
    return log


def _gather(sub: Subscription, copy: Copy) -> tuple[list[Event], bool]:
    """The events of one step of a conflated run, and whether the run ends with them. Moves the cursors.

    A step ends after LOOK rows or WRITE bytes. Tombstones of one offset stay together, because their cursor is an
    offset. They are sent from the newest to the oldest, so those that are added during the run are outside of the
    remaining range; they come from the log.
    """
    log, events = _compacted(sub), list[Event]()
    looked = size = 0
    for group in log.tombstones(copy.floor, copy.before):
        if looked >= LOOK or size >= WRITE:
            return events, False
        found = [log.event(row) for row in group if row[0] in sub.served]
        events += found
        looked += len(group)
        size += sum([event.size for event in found])
        copy.before = group[0][1]
    copy.before = copy.floor  # the tombstones are done
    for row in log.records(sub.served, copy.cursor, copy.floor):
        if looked >= LOOK or size >= WRITE:
            return events, False
        looked += 1
        copy.cursor = row[0]
        if row[1] > copy.floor:
            events.append(log.event(row))
            size += events[-1].size
    return events, True


def _finish(sub: Subscription) -> None:
    """All of the state was copied."""
    sub.copy, sub.live, sub.last_position = None, True, sub.offset
    _note(sub)


def _note(sub: Subscription) -> None:
    """Tell its topic that it has caught up."""
    if sub.topic.caught_up is not None:
        sub.topic.caught_up(sub)


def alike(
    transaction: list[Event], matching: Sequence[Collection[Subscription]]
) -> list[tuple[Collection[Subscription], list[Event]]]:
    """The subscriptions that match the events of a transaction, with these: together those that match the same ones.

    Nearly always thousands match all of it, or all but what a few have otherwise. So equal collections count once.
    """
    different: list[list[Subscription]] = []
    numbers, known, similar = [], dict[int, int](), dict[tuple[int, ...], list[int]]()
    for collection in matching:
        if (number := known.get(id(collection), -1)) < 0:
            found = list(collection)  # lists are compared ten times as fast as dictionaries
            candidates = similar.setdefault((len(found), *map(id, found[:1]), *map(id, found[-1:])), [])
            number = next((each for each in candidates if different[each] == found), len(different))
            if number == len(different):
                different.append(found)
                candidates.append(number)
            known[id(collection)] = number
        numbers.append(number)
    if len(different) == 1:
        return [(different[0], transaction)]
    masks: dict[Subscription, int] = {}
    for number, found in enumerate(different):
        for sub in found:
            masks[sub] = masks.get(sub, 0) | 1 << number
    together: dict[int, list[Subscription]] = {}
    for sub, mask in masks.items():
        together.setdefault(mask, []).append(sub)
    places: list[list[int]] = [[] for _ in different]
    for place, number in enumerate(numbers):
        places[number].append(place)
    return [(subs, [transaction[place] for place in _places(mask, places)]) for mask, subs in together.items()]


def _places(mask: int, places: list[list[int]]) -> list[int]:
    """The places of the numbers whose bits are set, in order. Mostly one is, of perhaps a thousand."""
    if mask.bit_count() > 1:
        return sorted(chain.from_iterable(compress(places, map(int, f"{mask:b}"[::-1]))))
    return places[mask.bit_length() - 1]


def is_shared(found: Collection[Subscription], events: list[Event]) -> bool:
    """Whether subscriptions get all of the events, each about another item, in one write.

    The frames of events take about a quarter of their memory.
    """
    if sum([event.size for event in events]) > 4 * WRITE or any(event.parts for event in events):
        return False
    keys_of = next((sub.topic.keys for sub in found), None)
    return keys_of is None or len({keys_of(event.item)[0] for event in events}) == len(events)


def _wanted(sub: Subscription, transaction: list[Event]) -> list[Event]:
    """The events of a transaction that have to be sent now."""
    if sub.topic.visible is None:
        return [event for event in transaction if _wants(sub, event)]
    events = [part for event in transaction for part in event.parts or (event,) if _wants(sub, part)]
    # The last part of each item: one that has moved within what the subscription sees was not deleted for it.
    return list({sub.topic.keys(event.item)[0]: event for event in events}.values())


def _wants(sub: Subscription, event: Event) -> bool:
    """Whether an event matches and has to be sent now; during a copy others come later with their records."""
    topic, copy = sub.channel.topic, sub.copy
    if event.kind != topic.kind or sub.channel.tail.source.is_over(event.item):
        return False
    keys = topic.keys(event.item)
    if topic.wants is not None:
        if not topic.wants(event.item, sub.served):
            return False
    elif keys[0] not in sub.served and (len(keys) == 1 or not any(key in sub.served for key in keys)):
        return False
    # In a conflated run a delete is sent at once, wherever its key is: its record is gone, so the cursor over records
    # would not meet it, and its tombstone is too new for the cursor over tombstones.
    return copy is None or keys[0] <= copy.cursor or (copy.floor > 0 and event.removed)
