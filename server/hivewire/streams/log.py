"""One log of messages, for the rest of the gateway: insert, update, read, follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from msgspec import MsgspecError

from hivewire.clocks import elapsed
from hivewire.keyed_lock import KeyedLock, TooManyWaiting
from hivewire.stopped import Stopped
from hivewire.streams.contract import Damaged, LogEngine
from hivewire.streams.index import Index
from hivewire.streams.message import (
    Draft,
    Message,
    NotFound,
    Observer,
    Outcome,
    Outdated,
    Overloaded,
    StreamError,
    Update,
    unpack,
)
from hivewire.streams.reader import Reader
from hivewire.streams.segment import Closed, header_of
from hivewire.streams.stamps import Clock
from hivewire.streams.writer import Limits, Revision, Writer

T = TypeVar("T")

UPDATES = 64
"""Updates of one command that may wait for one another."""


class Log(Reader):
    """Messages in the order of their places. All methods that wait raise StreamError.

    `clock` stamps them. Retention is measured on the monotonic clock `elapsed`, so that a wall clock that is set drops
    nothing early.
    """

    def __init__(self, engine: LogEngine, clock: Clock, limits: Limits, elapsed: Callable[[], int] = elapsed) -> None:
        super().__init__(engine, clock, Index(1, elapsed()))
        self._elapsed = elapsed
        self._writer = Writer(engine, clock, elapsed, limits)
        self.submit = self._writer.submit  # no call between an insert and the queue
        self.durable_ago = self._writer.durable_ago
        self._updates: KeyedLock[tuple[int, int]] = KeyedLock(UPDATES)
        self._tasks: set[asyncio.Task[Any]] = set()

    # Properties.

    @property
    def shared(self) -> bool:
        """Whether other gateways append to it too, so that what was taken here may be behind it."""
        return self._engine.shared

    async def confirm(self) -> None:
        """Return when observers got everything that was durable at the time of the call. Raises NotStored."""
        await self._engine.confirm()

    @property
    def failing(self) -> str | None:
        """Why nothing can be inserted now; None when it can."""
        return self._writer.failing

    @property
    def stopped(self) -> Stopped | None:
        """Why this gateway takes nothing more from the log; None while it does."""
        return self._engine.stopped

    @property
    def stored(self) -> int:
        """The number of stored events."""
        return self._index.messages

    @property
    def bytes(self) -> int:
        """The bytes of stored events."""
        return self._index.bytes

    @property
    def dropped_early(self) -> int:
        """The number of events that were dropped before their time, because there were too many."""
        return self._writer.dropped_early

    def waiting_seconds(self) -> float:
        """The age of the commit that the storage has not finished; 0 without one."""
        return self._writer.waiting_seconds()

    def observe(self, observer: Observer) -> None:
        """Call it with the messages of each commit: durable, in the order of places, before they are answered."""
        self._writer.observers.append(observer)

    def on_gap(self, call: Callable[[], None]) -> None:
        """Call it when messages were lost that observers never got, after `oldest` has moved past them."""
        self._writer.on_gap = call

    # Writing.

    def end_by(self, is_ended: Callable[[Any], bool]) -> None:
        """Drop what waits of callers whose rights have ended, by their identities; it raises NotStored."""
        self._writer.end_by(is_ended)

    async def insert(self, draft: Draft) -> Message:
        """The message, once durable."""
        return await self._written(draft)

    async def update(self, device: int, id: int, change: Callable[[Message], Update]) -> Message:
        """The new event of a command, once durable: the whole command again. Its retention starts again.

        `change` gets its last event. Updates of one command happen one after the other, also those whose caller is
        cancelled. Raises NotFound.
        """
        return await asyncio.shield(self._in_background(self._update(device, id, change), "update of a command"))

    def _in_background(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task that goes on when its caller is cancelled, and that `close` waits for."""

        def ended(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            if not task.cancelled():
                task.exception()  # else one that nobody waits for any more would be reported

        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    async def _update(self, device: int, id: int, change: Callable[[Message], Update]) -> Message:
        try:
            async with self._updates.lock((device, id)):
                while True:
                    tip = self.tip
                    base = await self.get(device, id) or await self._get_now(device, id)
                    with suppress(Outdated):
                        return await self._written(Revision(base, change(base), tip))
        except TooManyWaiting:
            raise Overloaded("too many updates of one command are waiting") from None

    async def _get_now(self, device: int, id: int) -> Message:
        """A message that may have come a moment ago, from another gateway. Raises NotFound."""
        await self._engine.confirm()
        found = await self.get(device, id)
        if found is None:
            raise NotFound(f"no message {id}")
        return found

    async def _written(self, draft: Draft | Revision) -> Message:
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if future.cancelled():
                return
            if isinstance(outcome, StreamError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.submit(draft, done)
        return await future

    # The life of the log.

    async def load(self) -> None:
        """Load the headers and the open segment. Raises Damaged."""
        loaded = await self._engine.load()
        ended = self._writer.ended
        # Expired messages count too: otherwise a clock that was set back would give their times again.
        self._clock.recall(loaded.clock)
        index = self._index = Index(loaded.oldest, self._elapsed())
        try:
            for encoded in loaded.headers:
                header = header_of(encoded)
                if header.first != index.next:
                    raise Damaged(f"entry {index.next} is missing")
                self._clock.recall(header.latest)
                index.load(Closed(header, ended(header.latest)))
            for number, entry in loaded.entries:
                messages = unpack(entry)
                if number != index.next:
                    raise Damaged(f"entry {index.next} is missing")
                self._clock.recall(max(message.clock for message in messages))
                index.add(messages, len(entry), ended(messages[-1].clock))
            self._writer.index = index
        except MsgspecError as error:
            raise Damaged(f"it is damaged ({error})") from error

    async def start(self) -> None:
        """Start the writer, and follow what others append."""
        self._writer.start()  # first, because it closes and drops segments, and many entries may arrive
        await self._engine.follow(self._writer)

    def tidy(self) -> None:
        """Called by a timer: give up a commit that takes too long, close and drop what is due.

        A log that is not followed any more is given up for good.
        """
        if self.stopped is not None and not self._writer.broken:
            self._writer.give_up(self.stopped.reason)
        self._writer.tidy()

    @property
    def is_tidying(self) -> bool:
        """Whether this is still to be done."""
        return self._writer.is_tidying

    async def close(self) -> None:
        """Write and answer what is waiting."""
        await self._writer.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
