"""Catching up: subscriptions that are not live are served from the log, or by copying them the state.

This is configuration contract, section 8. Work is done in steps of a few milliseconds, and everything that a step
leaves behind is in its subscription: an offset and, while a state is copied, a cursor. So a thousand subscriptions that
are behind hold no messages, and between two slices of steps the event loop serves everybody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

from hivewire.hub.feed import Copy, Feed, Subscription
from hivewire.hub.source import Event, State, transactions
from hivewire.ledger.records import NotKept
from hivewire_protocol.close import Code

SLICE_SECONDS = 0.002
"""Time for steps in one turn of the event loop, for all feeds together."""

PORTION = 1_000
"""Events that are read from the log at a time."""

WRITE = 64 << 10
"""Bytes of frames that are gathered for one write. After each write a peer that does not keep up is left alone."""

SNAPSHOT_BYTES = 256 << 10
"""The most in one snapshot frame, unless it is a single record (configuration contract, section 4)."""

ENVELOPE = 512
"""What is around the records of a snapshot frame, at most."""

LOOK = 5_000
"""Records and tombstones that one step of a conflated run looks at: about a millisecond."""

Reading: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Steps: TypeAlias = Generator[Reading | None, None, None]


class CatchUp:
    """Brings feeds that are behind nearer to the present, one step for each in turn.

    A step that needs only memory is done by the one runner. A step that needs the log is a task, because it waits for
    the disk; one portion is read at a time, so that no more than that is in memory however many are behind.
    """

    def __init__(
        self, allows: Callable[[Feed], bool], unexpected: Callable[[str, BaseException], None], conflate_after: int
    ) -> None:
        self.conflate_after = conflate_after
        self.pushes = 0
        self._allows = allows
        self._unexpected = unexpected
        self._waiting: deque[Steps] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._readers: set[asyncio.Task[None]] = set()
        self._log = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether something is being done."""
        return self._runner is not None or bool(self._readers)

    async def close(self) -> None:
        """Stop whatever is being done."""
        tasks = [*self._readers, *([self._runner] if self._runner is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def serve(self, feed: Feed) -> None:
        """See to it that the feed's subscriptions which are behind catch up, unless its peer does not read."""
        if not feed.serving and not feed.stalled and feed.behind():
            feed.serving = True
            self._enqueue(self._steps(feed))

    def _enqueue(self, steps: Steps) -> None:
        self._waiting.append(steps)
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Do steps, one of each feed in turn, until nobody who reads is behind. One slice in each turn of the loop."""
        try:
            while self._waiting:
                began = perf_counter()
                while self._waiting:
                    self._step(self._waiting.popleft())
                    if perf_counter() - began >= SLICE_SECONDS:
                        break
                await asyncio.sleep(0)
        finally:
            self._runner = None

    def _step(self, steps: Steps) -> None:
        """One step of one feed, which then goes to the end of the queue, at once or when it has read from the log."""
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
        """Read for one feed. What goes wrong is an error of its steps, and ends them."""
        try:
            await reading()
        except Exception as error:
            try:
                steps.throw(error)
            except StopIteration:
                return
        self._enqueue(steps)

    def _steps(self, feed: Feed) -> Steps:
        """Each `next` does one step of one subscription. If it gives a reading, that comes before the next step."""
        try:
            while not feed.stalled and (behind := feed.behind()):
                for sub in behind:
                    if feed.stalled or sub.live or sub.ended:
                        continue
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
        """Bring a subscription nearer to the present; it is live when it has got there.

        A reading is told the generation of now: whatever changes before it starts or while it waits for the log
        (unsubscribed, other names, a state to copy) counts up.
        """
        tail = sub.channel.tail
        idle, sub.idle = sub.idle, False
        if idle and sub.copy is None and sub.channel.stateful:  # what is being copied is the latest anyway
            return partial(self._evaluate, sub, sub.generation)
        if sub.offset < tail.source.tip:
            events = tail.after(sub.offset, PORTION)
            if events is None:
                return partial(self._read_on, sub, sub.generation)
            self._deliver_or_skip(sub, events, tail.source.tip)
        elif sub.copy is None:
            self._go_live(sub)
        elif sub.copy.floor:
            self._copy_changed(sub, sub.copy)
        else:
            self._copy(sub, sub.copy)
        return None

    def _go_live(self, sub: Subscription) -> None:
        sub.live = True
        if sub.reset:  # without a state, and the log had nothing for it: no frame has told of the reset yet
            sub.reset, sub.last_position = False, sub.offset
            sub.feed.listener.push(sub.shape.bookmark(sub.position, reset=True))

    # From the log.

    async def _since(self, sub: Subscription, offset: int, take: int) -> list[Event]:
        """Events from the log. One portion in a turn of the event loop, whoever asks: some logs do not wait at all."""
        async with self._log:
            await asyncio.sleep(0)
            return await sub.channel.tail.source.since(offset, take=take)

    async def _read_on(self, sub: Subscription, generation: int) -> None:
        """Deliver the next portion of the log."""
        tip = sub.channel.tail.source.tip
        try:
            events = await self._since(sub, sub.offset, PORTION)
        except NotKept:
            if sub.generation == generation:
                self._start_over(sub)
            return
        if sub.generation == generation and not sub.feed.stalled and self._allows(sub.feed):
            self._deliver_or_skip(sub, events, tip)

    def _deliver_or_skip(self, sub: Subscription, events: list[Event], tip: int) -> None:
        if events:
            self.deliver(sub, transactions(events))
        else:
            sub.offset = tip  # what was there left no trace, such as an old state of a user

    def deliver(self, sub: Subscription, portion: Iterable[list[Event]]) -> None:
        """Push what matches of these transactions, and stop as soon as the peer does not keep up.

        A transaction may be broken off: `sent` then says how many of its events are out, and the next delivery goes on
        behind them. Its position stands on the last one only, so nobody can resume in the middle.
        """
        out: list[bytes] = []
        size = 0
        feed, tail = sub.feed, sub.channel.tail
        conflated = sub.copy is not None and sub.copy.floor > 0
        for transaction in portion:
            offset = transaction[0].offset
            events = [event for event in transaction if _wants(sub, event)]
            for number in range(sub.sent, len(events)):
                whole = number + 1 == len(events)
                position = tail.position(offset) if whole and sub.copy is None else None
                out.append(self._update(sub, events[number], position, conflated))
                size += len(out[-1])
                if size >= WRITE:
                    feed.listener.push(b"".join(out))
                    out, size = [], 0
                    if feed.stalled:
                        sub.offset, sub.sent = (offset, 0) if whole else (offset - 1, number + 1)
                        return
            sub.offset, sub.sent = offset, 0
        if out:
            feed.listener.push(b"".join(out))

    def _update(self, sub: Subscription, event: Event, position: str | None, conflated: bool) -> bytes:
        self.pushes += 1
        if position is not None:
            sub.last_position = event.offset
        # Only without a state: with one the first frame is of a snapshot.
        reset = sub.reset and sub.copy is None
        if reset:
            sub.reset = False
        return sub.shape.update(event, position, conflated, reset)

    # Conflation.

    async def _evaluate(self, sub: Subscription, generation: int) -> None:
        """The peer had not read for a while: conflate if it would have to read too many events."""
        source = sub.channel.tail.source
        try:
            if sub.sent:
                # What it has of a transaction would come again in the run: it gets the rest first.
                broken_off = await self._since(sub, sub.offset, 1)
                if sub.generation != generation or not self._allows(sub.feed):
                    return
                self.deliver(sub, transactions(broken_off))
                if sub.sent or sub.feed.stalled:
                    return
            offset, left = sub.offset, self.conflate_after
            while left >= 0:
                if offset >= source.tip:
                    return
                last = offset
                wanted, offset = await self._count(sub, last)
                if sub.generation != generation or offset == last:
                    return
                left -= wanted
        except NotKept:
            if sub.generation == generation:
                self._start_over(sub)
            return
        if not sub.conflate:
            self._start_over(sub)
        else:
            sub.copy_state(floor=sub.offset)

    async def _count(self, sub: Subscription, offset: int) -> tuple[int, int]:
        """How many events of the next portion the subscription wants, and the last one's offset.

        Numbers only: many wait for the log at the same time, and none of them may hold a portion meanwhile.
        """
        events = await self._since(sub, offset, PORTION)
        return sum([_wants(sub, event) for event in events]), events[-1].offset if events else offset

    def _start_over(self, sub: Subscription) -> None:
        """The log does not go back so far: neither do its tombstones, so the state replaces what the client has."""
        if sub.conflate:
            sub.start_over()
        else:
            sub.feed.listener.close(Code.SLOW_CONSUMER)
            sub.feed.end(sub)

    # From the state.

    def _copy(self, sub: Subscription, copy: Copy) -> None:
        """The next frame of a snapshot. It goes out in the same moment in which it is known to be up to date."""
        encode = sub.topic.entry
        assert encode is not None  # noqa: S101 - only topics with a state are copied
        elements: list[bytes] = []
        size, last = 0, True
        for key, _, item in _state(sub).records(sub.served, copy.cursor):
            element = encode(item)
            size += len(element) + 1
            if elements and size > SNAPSHOT_BYTES - ENVELOPE:
                last = False
                break
            elements.append(element)
            copy.cursor = key
        frame = sub.shape.snapshot(elements, sub.position if last else None, sub.reset)
        sub.reset = False
        if last:
            _finish(sub)
        sub.feed.listener.push(frame)

    def _copy_changed(self, sub: Subscription, copy: Copy) -> None:
        """The next frames of a conflated run. The last one has the position; if there is none, a bookmark has it."""
        if not sub.channel.tail.source.covers(copy.floor):
            self._start_over(sub)  # tombstones may be missing
            return
        events, finished = _gather(sub, copy)
        last = events.pop() if finished and events else None
        frames = [self._update(sub, event, None, True) for event in events]
        if finished:
            position = sub.position
            frames.append(self._update(sub, last, position, True) if last else sub.shape.bookmark(position))
            _finish(sub)
        if frames:
            sub.feed.listener.push(b"".join(frames))


def _state(sub: Subscription) -> State:
    state = sub.channel.tail.source.state(sub.topic.kind)
    assert state is not None  # noqa: S101 - its topic says that there is one
    return state


def _gather(sub: Subscription, copy: Copy) -> tuple[list[Event], bool]:
    """What one step of a conflated run finds, and whether the run ends with it. Moves the cursors.

    A step ends when it has looked at LOOK rows or has WRITE bytes; tombstones of one offset are not torn apart, because
    the cursor over them is an offset.
    """
    state, events = _state(sub), list[Event]()
    looked = size = 0
    for group in state.tombstones(copy.floor, copy.before):
        if looked >= LOOK or size >= WRITE:
            return events, False
        found = [state.event(row) for row in group if row[0] in sub.served]
        events += found
        looked += len(group)
        size += sum([event.size for event in found])
        copy.before = group[0][1]
    copy.before = copy.floor
    for row in state.records(sub.served, copy.cursor):
        if looked >= LOOK or size >= WRITE:
            return events, False
        looked += 1
        copy.cursor = row[0]
        if row[1] > copy.floor:
            events.append(state.event(row))
            size += events[-1].size
    return events, True


def _finish(sub: Subscription) -> None:
    """All of the state is there."""
    sub.copy, sub.live, sub.last_position = None, True, sub.offset


def _wants(sub: Subscription, event: Event) -> bool:
    """Whether it is about a key that the subscription has by now, or does not have to get any more."""
    topic, copy = sub.channel.topic, sub.copy
    if event.kind != topic.kind:
        return False
    keys = topic.keys(event.item)
    if keys[0] not in sub.served and (len(keys) == 1 or not any(key in sub.served for key in keys)):
        return False
    # In a conflated run a later delete goes out at once: of what was deleted before it began there is a cursor, and
    # the record that it would have come to is gone.
    return copy is None or keys[0] <= copy.cursor or (copy.floor > 0 and event.removed)
