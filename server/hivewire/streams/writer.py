"""The only writer of a log: group commit. While one entry is on its way to the disk, the next one fills.

Drafts are stamped in the order of submission, shortly before the commit that makes them durable; answers are given
after it, in that order. Between two commits the writer closes segments and drops expired ones.

A storage that does not answer blocks no caller: `watch`, called by a timer, answers those who wait, and new drafts are
refused until the storage answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import getrandbits
from typing import Any, NoReturn, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from hivewire.reports import report
from hivewire.streams.contract import LogEngine
from hivewire.streams.index import Index
from hivewire.streams.message import (
    RANDOM_BITS,
    ROOM,
    Done,
    Draft,
    KeyReused,
    Message,
    NotStored,
    Observer,
    Outcome,
    Overloaded,
    StreamError,
    TooLarge,
    TooMany,
    Undecided,
    Update,
    pack,
)
from hivewire.streams.segment import SEGMENT_MESSAGES, Known, close, digest, key_of
from hivewire.streams.stamps import Clock, Rate
from hivewire.telemetry import log

DRAFT_BYTES = 1_024
"""About how much memory a draft takes beside its body while it waits."""

ENTRY_BYTES = 1 << 20
"""An entry is closed once its bodies have this much, so that no message waits behind hundreds of megabytes."""

PARTS = 16
"""An open segment is closed when it has lasted for this part of the retention."""

YOUNG = 120_000
"""Milliseconds for which a message is never dropped, however little room there is (addendum, section 1)."""

LATEST = 1 << 50
"""Times are clipped to this many milliseconds, 36,000 years, so that everything computed from them can be stored."""

PROBE_PATIENCE = 1.0
"""Longest delay of the answer to a failed commit, in which a probe can overwrite what the commit left."""

STOPPING = "the gateway is stopping"


class Limits(Struct, frozen=True, kw_only=True):
    """What a log keeps and takes. `retention` is in milliseconds.

    `stored_bytes` bounds the log, `device_bytes` each device in it; a `device_rate` of 0 is no limit. `draft_bytes`
    bounds the size of a draft, `waiting_bytes` what waits for the storage, which may take `stall_seconds` for a commit.
    """

    retention: int = 86_400_000
    stored_bytes: int = 1 << 30
    device_bytes: int = 64 << 20
    device_rate: int = 1_000
    waiting_bytes: int = 64 << 20
    draft_bytes: int = 64 << 10
    stall_seconds: float = 5.0


class Revision(Struct, gc=False):
    """An update on its way: of this event, which is the last one of its message."""

    base: Message
    update: Update

    @property
    def size(self) -> int:
        """As of a draft."""
        return self.update.size


Waiting: TypeAlias = tuple[Draft | Revision, int, Done, tuple[Any, ...]]
"""A draft in the queue, its size in bytes, and the callback with the arguments that follow the outcome."""


class Writer:
    """Takes drafts, writes them in entries, updates the index and notifies observers.

    `failing` is the reason why writes fail, None while they work. `elapsed` gives milliseconds of the monotonic clock.
    """

    def __init__(
        self,
        engine: LogEngine,
        clock: Clock,
        elapsed: Callable[[], int],
        limits: Limits,
    ) -> None:
        self.failing: str | None = None
        self.observers: list[Observer] = []
        self._engine = engine
        self._index: Index
        self._clock = clock
        self._elapsed = elapsed
        self._limits = limits
        self._rate = Rate(limits.device_rate)
        self._queue: deque[Waiting] = deque()
        self._queue_bytes = 0
        self._in_flight: list[Waiting] = []  # taken from the queue, and not answered yet
        self._refusing: str | None = None
        self._closing = False
        self._due = False  # whether to look for what is full or expired
        self._tidying = False
        self._undropped = False  # whether that failed the last time
        self._crowded = False  # whether there is no room, and nothing old enough to make some
        self._waiting: tuple[int, list[Waiting]] | None = None  # for the storage, and since when
        self._stalled = False
        self._sleeping: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, index: Index) -> None:
        """Begin to write, behind what the index has."""
        self._index = index
        self._task = asyncio.create_task(self._run(), name="writer of messages")

    async def close(self) -> None:
        """Write and answer what is waiting; refuse new drafts."""
        self._closing = True
        self._refusing = self._refusing or STOPPING
        self._wake()
        if self._task is not None:
            await self._task

    def submit(self, draft: Draft | Revision, done: Done, *about: Any) -> None:
        """Insert a message; `done` gets it, or a StreamError, and `about`, once it is durable.

        Drafts are stamped in the order of submission and answered in that order. Raises TooLarge at once, and NotStored
        when too much is waiting, or the log is closing or stalled; `done` is not called then.
        """
        if draft.size > self._limits.draft_bytes:
            raise TooLarge(f"parameters and result have {draft.size:,} bytes, more than {self._limits.draft_bytes:,}")
        if self._refusing is not None:
            raise NotStored(self._refusing)
        if self._queue_bytes > self._limits.waiting_bytes:
            raise Overloaded("too many messages are waiting to be written")
        size = draft.size + DRAFT_BYTES
        self._queue_bytes += size
        self._queue.append((draft, size, done, about))
        if self._sleeping is not None:
            self._wake()

    def tidy(self) -> None:
        """Between two commits, close the open segment if its time has come, and drop what has expired."""
        self._due = True
        self._wake()

    @property
    def is_tidying(self) -> bool:
        """Whether something of that is left to do, or being done."""
        return self._due or self._tidying

    def waiting_seconds(self) -> float:
        """The age of the commit, or other write, that the storage has not finished; 0 without one."""
        return (self._elapsed() - self._waiting[0]) / 1_000 if self._waiting is not None else 0.0

    def watch(self) -> None:
        """Give up a commit that takes too long, and refuse drafts until the storage answers."""
        if self._waiting is None or self._stalled or self.waiting_seconds() < self._limits.stall_seconds:
            return
        self._stalled = True
        self._refusing = f"the storage has not answered for {self._limits.stall_seconds:g} s"
        self._tell(self._refusing)
        taken, queued = self._waiting[1], list(self._queue)
        self._queue.clear()
        self._queue_bytes = 0
        given_up = [Undecided(self._refusing)] * len(taken) + [NotStored(self._refusing)] * len(queued)
        self._answer([*taken, *queued], [*given_up])
        taken.clear()  # all have been answered

    # The task.

    async def _run(self) -> None:
        try:
            while True:
                if self._due:
                    self._due, self._tidying = False, True
                    await self._probe()
                    self._waiting = self._elapsed(), []
                    await self._tidy()
                    self._settle()
                    self._tidying = False
                if self._queue:
                    await self._gather()
                    await self._commit()
                elif self._closing:
                    return
                elif not self._due:
                    self._sleeping = asyncio.get_running_loop().create_future()
                    await self._sleeping
        except BaseException as error:
            self.failing = self._refusing = f"the writer ended: {error!r}; restart the gateway"
            # Wherever the error came from, the entry in flight may be on the disk.
            self._answer(self._in_flight, [Undecided(self.failing)] * len(self._in_flight))
            self._answer(list(self._queue), [NotStored(self.failing)] * len(self._queue))
            self._queue.clear()
            if not isinstance(error, Exception):
                raise
            report("the writer of messages ended", error)

    def _wake(self) -> None:
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None and not sleeping.done():
            sleeping.set_result(None)

    async def _gather(self) -> None:
        """Let the queue grow as long as every iteration of the event loop adds to it, as the ledger does."""
        before = 0
        while before < len(self._queue) < ROOM:
            before = len(self._queue)
            await asyncio.sleep(0)

    async def _commit(self) -> None:
        """Stamp the queue, append it as one entry, announce and answer it."""
        taken, outcomes, messages = self._stamp()
        if messages:
            self._waiting = self._elapsed(), taken
            try:
                entry = pack(messages)
                await self._engine.append(self._index.next, entry)
            except Exception as error:
                self._settle()
                await self._fail(taken, error)
                return
            self._settle()
            self._take(messages, len(entry))
        if taken:  # else `watch` has answered
            if messages:
                self._tell(None)
            self._in_flight = []
            self._answer(taken, outcomes)

    def _take(self, messages: list[Message], size: int) -> None:
        """The messages are durable: they are in the log from now on."""
        index = self._index
        index.add(messages, size, self._elapsed())
        self._due = self._due or index.open.is_full or index.bytes > self._limits.stored_bytes
        for observe in self.observers:
            try:
                observe(messages)
            except Exception as error:
                report("an observer of messages failed", error)

    def _stamp(self) -> tuple[list[Waiting], list[Outcome], list[Message]]:
        """As much of the queue as fits into one entry: what is taken, what comes of it, and the messages."""
        queue, first, size = self._queue, self._index.next * ROOM, 0
        taken: list[Waiting] = []
        self._in_flight = taken
        outcome: Outcome
        outcomes: list[Outcome] = []
        messages: list[Message] = []
        keys: dict[int, Known] = {}
        now = self._elapsed()
        self._clock.begin()
        while queue and len(messages) < ROOM and size < ENTRY_BYTES:
            waiting = queue.popleft()
            self._queue_bytes -= waiting[1]
            taken.append(waiting)
            draft, place = waiting[0], first + len(messages)
            try:
                if isinstance(draft, Draft):
                    outcome = self._inserted(draft, place, now, keys)
                else:
                    outcome = self._updated(draft, place)
            except Exception as error:
                outcome = _failure(error)
            outcomes.append(outcome)
            if type(outcome) is Message and outcome.place == place:  # else it was stored before
                messages.append(outcome)
                size += len(outcome.body)
        return taken, outcomes, messages

    def _inserted(self, draft: Draft, place: int, now: int, keys: dict[int, Known]) -> Message:
        """The message of a draft: a new one for this place, or the one that was made of it before."""
        record = draft.device.record_id
        key: tuple[int, int] | None = None
        if draft.key is not None:
            key = key_of(draft), digest(draft.content)
            known = keys.get(key[0]) or self._index.known(key[0])
            if known is not None:
                if known.content != key[1]:
                    raise KeyReused("other content under this idempotency key")
                return _message(draft, known.place, known.id, key)  # the same content makes the same message again
        if self._crowded or self._index.has(record, self._limits.device_bytes):
            self._refuse(draft.device.id)
        self._rate.count(record, now)
        clock = self._clock.stamp(record)
        message = _message(draft, place, clock << RANDOM_BITS | getrandbits(RANDOM_BITS), key)
        if key is not None:
            keys[key[0]] = Known(key[1], place, message.id)
        return message

    def _updated(self, revision: Revision, place: int) -> Message:
        base, update = revision.base, revision.update
        if self._crowded or self._index.has(base.device, self._limits.device_bytes):
            self._refuse(base.device_id)
        clock = self._clock.stamp(base.device)
        changed = max(clock, base.changed + 1)
        body = update.make(base.id, base.timestamp, changed)
        return replace(base, place=place, clock=clock, changed=changed, body=body, status=update.status, key=None)

    def _refuse(self, device: str) -> NoReturn:
        """There is no room for another message of a device."""
        if self._crowded:
            raise Overloaded("the store of messages is full, and nothing in it is old enough to be dropped")
        raise TooMany(f"device {device} has {self._limits.device_bytes:,} bytes of messages stored, its most")

    def _settle(self) -> None:
        """The storage has finished what it was asked for, or failed."""
        self._waiting = None
        if self._stalled:
            self._stalled = False
            self._refusing = STOPPING if self._closing else None
            self._tell(None)

    def _tell(self, failing: str | None) -> None:
        """Set `failing`, and log when writes start or stop failing."""
        if failing is None and self.failing is not None:
            log.info("messages are written again")
        elif failing is not None and self.failing is None:
            log.error("messages are not written", reason=failing)
        self.failing = failing

    async def _fail(self, taken: list[Waiting], error: Exception) -> None:
        """Answer an entry that the storage did not write. The writer continues: there may be space for the next one."""
        self._tell(str(error))
        # Before the callers are told: until something overwrites it, a start may find the failed commit.
        await asyncio.wait({asyncio.create_task(self._write_over())}, timeout=PROBE_PATIENCE)
        failure = error if isinstance(error, StreamError) else NotStored(repr(error))
        self._in_flight = []
        # Those who found their key in this entry fail as well.
        self._answer(taken, [failure] * len(taken))

    async def _write_over(self) -> None:
        with suppress(Exception):
            await self._engine.confirm()

    def _answer(self, taken: list[Waiting], outcomes: list[Outcome]) -> None:
        """Hand out the outcomes, and empty both lists on the way: what is freed one by one is still in the processor's
        cache, as in the ledger."""
        taken.reverse()
        outcomes.reverse()
        while taken:
            _, _, done, about = taken.pop()
            outcome = outcomes.pop()
            try:
                done(outcome, *about)
            except Exception as error:
                report("an answer of the messages was not taken", error)

    # Between two commits.

    async def _probe(self) -> None:
        """While writes fail, find out whether the storage accepts them again: nobody may come who tries."""
        if self.failing is None or self._refusing is not None:
            return
        self._waiting = self._elapsed(), []
        failing = None
        try:
            await self._engine.confirm()
        except Exception as error:
            failing = str(error)
        self._settle()
        self._tell(failing)

    async def _tidy(self) -> None:
        """Close the open segment and drop the oldest one, as far as it is time. What fails is tried later."""
        index, limits, now = self._index, self._limits, self._elapsed()
        segment = index.open
        try:
            if segment.messages and (segment.is_full or now - segment.began >= limits.retention // PARTS):
                header, encoded, postings = close(segment)
                await self._engine.seal(segment.first, encoded, postings)
                index.close(header)
            if index.closed:
                age = now - index.closed[0].ended
                if age >= limits.retention or (index.bytes > limits.stored_bytes and age >= YOUNG):
                    await self._engine.drop(index.closed[0].header.last + 1, self._clock.latest())
                    index.drop()
                    self._due = True  # one at a time: a commit may come between
            self._crowded = index.bytes > limits.stored_bytes and not self._due
            self._undropped = False
        except Exception as error:
            self._crowded = index.bytes > limits.stored_bytes or len(segment.messages) > 2 * SEGMENT_MESSAGES
            if not self._undropped:
                log.warning("expired messages were not dropped; trying again and again", reason=str(error))
            self._undropped = True


def _message(draft: Draft, place: int, id: int, key: tuple[int, int] | None) -> Message:
    """The message of a draft with this id, which has the clock of its insert."""
    device, clock = draft.device, id >> RANDOM_BITS
    timestamp = clock if draft.timestamp is None else max(-LATEST, min(draft.timestamp, LATEST))
    return Message(
        place,
        id,
        clock,
        timestamp,
        timestamp,
        device.record_id,
        device.id,
        device.network,
        device.type,
        draft.name,
        draft.author,
        draft.make(id, timestamp, timestamp),
        draft.status,
        None if draft.expires_in is None else min(clock + draft.expires_in, LATEST),
        key,
    )


def _failure(error: Exception) -> StreamError:
    """The outcome of a draft that raised this."""
    if isinstance(error, StreamError):
        return error
    report("a message was not encoded", error)
    return NotStored("the gateway failed to encode it")
