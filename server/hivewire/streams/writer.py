"""The only writer of a log. Every entry, own or foreign, enters the index through `take`.

Drafts are stamped in the order of submission, shortly before the commit that makes them durable, and stamped again if
another gateway's entry is in the log by then. Between two commits the writer closes segments and drops expired ones.
What waits, fails or comes too late: see `hivewire.group_commit`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from random import getrandbits
from typing import Any, final

from msgspec import Struct
from msgspec.structs import replace

from hivewire.group_commit import GroupCommit, Waiting
from hivewire.slices import in_steps
from hivewire.streams.contract import LogEngine
from hivewire.streams.index import Index
from hivewire.streams.message import (
    LATEST,
    RANDOM_BITS,
    ROOM,
    Done,
    Draft,
    KeyReused,
    Message,
    NotStored,
    Observer,
    Outcome,
    Outdated,
    Overloaded,
    StreamError,
    TooLarge,
    TooMany,
    Undecided,
    Unsynced,
    Update,
    end_of,
    pack,
    unpack,
)
from hivewire.streams.segment import Known, close, digest, header_of, key_of
from hivewire.streams.stamps import Clock, Rate
from hivewire.telemetry import log
from hivewire.unexpected import log_unexpected, safely

DRAFT_BYTES = 1_024
"""About how much memory a draft takes beside its body while it waits."""

ENTRY_BYTES = 1 << 20
"""An entry is closed once its bodies have this much, so that no message waits behind hundreds of megabytes."""

PARTS = 16
"""An open segment is closed when it has lasted for this part of the retention."""

MOST_FILL = 2
"""How many times as full as when it should be closed an open segment may become, before inserts are refused: it is in
memory, also where another gateway is to close it."""

YOUNG = 120_000
"""Milliseconds for which a message is never dropped, however little room there is (addendum, section 1)."""

FULL = "the store of messages is full, and nothing in it is old enough to be dropped"
UNCLOSED = "the gateway that closes segments of messages for all has not done it"


class Limits(Struct, frozen=True, kw_only=True):
    """What a log keeps and takes. `retention` is in milliseconds.

    `stored_bytes` bounds the log, `device_bytes` each device in it; a `device_rate` of 0 is no limit. `draft_bytes`
    bounds the size of a draft, `waiting_bytes` what waits for the storage, which may take `stall_seconds` for a commit;
    more is refused after `refuse_seconds`, if they are fewer.
    """

    retention: int = 86_400_000
    stored_bytes: int = 1 << 30
    device_bytes: int = 64 << 20
    device_rate: int = 1_000
    waiting_bytes: int = 64 << 20
    draft_bytes: int = 64 << 10
    stall_seconds: float = 5.0
    refuse_seconds: float | None = None


@final
class Revision(Struct, gc=False):
    """An update on its way: of this event, which was the last one of its message when the tip of the log was `tip`."""

    base: Message
    update: Update
    tip: int

    @property
    def size(self) -> int:
        """As of a draft."""
        return self.update.size

    @property
    def by(self) -> Any:
        """As of a draft."""
        return self.update.by


class Writer(GroupCommit[Draft | Revision]):
    """Takes drafts, writes them in entries, updates the index and notifies observers.

    `index` is what the log has; it is set before the engine is followed. `elapsed` gives milliseconds of the monotonic
    clock.
    """

    name = "messages"
    unwritten, unsynced, undecided, overloaded = NotStored, Unsynced, Undecided, Overloaded
    most = ROOM

    def __init__(self, engine: LogEngine, clock: Clock, elapsed: Callable[[], int], limits: Limits) -> None:
        super().__init__(limits.waiting_bytes, lambda: elapsed() / 1_000)
        self.index: Index
        self.observers: list[Observer] = []
        self.on_gap: Callable[[], None] = lambda: None
        self._engine = engine
        self._clock = clock
        self._elapsed = elapsed
        self._limits = limits
        self._rate = Rate(limits.device_rate)
        self._own: tuple[bytes, list[Message]] = b"", []  # the entry that is on its way
        self._tidying = False
        self._undropped = False  # whether to close or drop something failed the last time
        self.dropped_early = 0
        """Messages that were dropped before their time, because there were too many."""
        self._early = False  # whether the last ones that were dropped are among them
        self._crowded: str | None = None  # why there is no room for any message
        self._tight = False  # whether there may be no room for more of some device

    def submit(self, draft: Draft | Revision, done: Done, *about: Any) -> None:
        """Insert a message; `done` gets `about`, and it or a StreamError, once it is durable.

        Drafts are stamped in the order of submission and answered in that order. Raises TooLarge at once, and NotStored
        when too much is waiting, or the log is closing or stalled; `done` is not called then.
        """
        if draft.size > self._limits.draft_bytes:
            raise TooLarge(f"parameters and result have {draft.size:,} bytes, more than {self._limits.draft_bytes:,}")
        self._enqueue(draft, draft.size + DRAFT_BYTES, done, about)

    def tidy(self) -> None:
        """Between two commits, close the open segment if its time has come, and drop what has expired.

        Before that, give up a commit that takes too long.
        """
        self.watch(self._limits.stall_seconds, self._limits.refuse_seconds)
        self._due = True
        self._wake()

    @property
    def is_tidying(self) -> bool:
        """Whether something of that is left to do, or being done."""
        return self._due or self._tidying

    def take(self, number: int, entry: bytes) -> None:
        """The next entry of the log, own or foreign: its messages are in the index from now on. Never raises."""
        self._durable_at = self._seconds()
        if self.broken:
            return
        index, (own, messages) = self.index, self._own
        try:
            if entry is not own:
                messages = unpack(entry)
                index.foreign = messages[-1].place
            self._clock.applied(messages, foreign=entry is not own)
            index.add(messages, len(entry), self._elapsed() if entry is own else self.ended(messages[-1].clock))
        except Exception as error:
            self._break(error)
            return
        if index.open.fill >= 1 or index.bytes > self._limits.stored_bytes:
            self._due = True
            self._wake()
        for observe in self.observers:
            try:
                observe(messages)
            except Exception as error:
                log_unexpected("an observer of messages failed", error)

    def ended(self, clock: int) -> int:
        """When an event of this clock was, on the monotonic clock of this process."""
        return self._elapsed() - max(self._clock.wall() - clock, 0)

    def closed(self, header: bytes) -> None:
        """Another gateway, the keeper, has closed the open segment."""
        try:
            self.index.close(header_of(header))
        except Exception as error:
            self._break(error)

    def dropped(self, oldest: int) -> None:
        """The log begins at this entry now."""
        lost = oldest > self.index.next
        self.index.drop_to(oldest, self._elapsed())
        if lost:
            log.warning("messages are gone that this gateway never got: they expired, or a restore left them out")
            safely("an observer of messages failed", self.on_gap)

    # What a group commit asks for.

    def _evaluate(self) -> tuple[int, Awaitable[bool]]:
        """Stamp as much of the queue as fits into one entry."""
        queue, place, size = self._queue, self.index.next * ROOM, 0
        end = place + ROOM
        taken: list[Waiting[Draft | Revision]] = []
        outcome: Outcome
        outcomes: list[Outcome] = []
        self._taken, self._outcomes = taken, outcomes
        messages: list[Message] = []
        keys: dict[int, Known] = {}
        self._clock.begin()
        self._rate.begin(self._elapsed())
        self._tight = self._crowded is not None or self.index.weight >= self._limits.device_bytes
        while queue and place < end and size < ENTRY_BYTES:
            waiting = queue.popleft()
            self._queue_bytes -= waiting[1]
            taken.append(waiting)
            draft = waiting[0]
            try:
                # `isinstance` takes long for structs
                outcome = self._updated(draft, place) if type(draft) is Revision else self._inserted(draft, place, keys)
                if outcome.place == place:  # else it was stored before
                    messages.append(outcome)
                    place += 1
                    size += len(outcome.body)
            except Exception as error:
                outcome = _failure(error)
            outcomes.append(outcome)
        return len(messages), self._write(messages) if messages else _stands()

    async def _write(self, messages: list[Message]) -> bool:
        """Append them as the next entry."""
        entry = pack(messages)
        self._own = entry, messages
        try:
            stands = await self._engine.append(self.index.next, entry)
        finally:
            self._own = b"", []
        if not stands:  # they are counted again when they are stamped again
            for message in messages:
                if not message.updated:
                    self._rate.take_back(message.device)
        return stands

    async def _confirm(self) -> None:
        await self._engine.confirm()

    def _turn(self) -> AbstractAsyncContextManager[None]:
        return self._engine.turn()

    def _is_write(self, outcome: Any) -> bool:
        return type(outcome) is Message

    async def _between(self) -> None:
        """Tidy, and while writes fail, find out whether the storage works again: nobody may come who tries."""
        self._due, self._tidying = False, True
        self._waiting = self._seconds()
        await self.probe()
        await self._tidy()
        self._settle()
        self._tidying = False

    def _inserted(self, draft: Draft, place: int, keys: dict[int, Known]) -> Message:
        """The message of a draft: a new one for this place, or the one that was made of it before."""
        device = draft.device
        record = device.record_id
        key = known = None
        if draft.key is not None:
            key = key_of(draft), digest(draft.content)
            known = self._known(key, keys)
        if known is None:
            if self._tight:
                self._check_room(record, device.id)
            self._rate.count(record)
            clock = self._clock.stamp(record)
            id = clock << RANDOM_BITS | getrandbits(RANDOM_BITS)
        else:  # the same content makes the same message again
            place, id = known.place, known.id
            clock = id >> RANDOM_BITS
        timestamp = clock if draft.timestamp is None else max(-LATEST, min(draft.timestamp, LATEST))
        message = Message(
            place,
            id,
            clock,
            timestamp,
            timestamp,
            record,
            device.id,
            device.network,
            device.type,
            draft.name,
            draft.author,
            draft.make(id, timestamp, timestamp),
            draft.status,
            None if draft.expires_in is None else end_of(id, draft.expires_in),
            key,
        )
        if key is not None and known is None:
            keys[key[0]] = Known(key[1], place, id)
        return message

    def _known(self, key: tuple[int, int], keys: dict[int, Known]) -> Known | None:
        """The message under a key, None when there is none. Raises KeyReused for one with another content."""
        known = keys.get(key[0]) or self.index.known(key[0])
        if known is not None and known.content != key[1]:
            raise KeyReused("other content under this idempotency key")
        return known

    def _updated(self, revision: Revision, place: int) -> Message:
        base, update, index = revision.base, revision.update, self.index
        if index.foreign > revision.tip and index.has_event(base.device, base.id, max(revision.tip, base.place)):
            raise Outdated("another gateway has updated it meanwhile")
        if self._tight:
            self._check_room(base.device, base.device_id)
        clock = self._clock.stamp(base.device)
        changed = max(clock, base.changed + 1)
        body, device = update.make(base.id, base.timestamp, changed), update.device or base
        network, type_ = device.network, device.type
        return replace(
            base,
            place=place,
            clock=clock,
            changed=changed,
            network=network,
            type=type_,
            body=body,
            status=update.status,
            key=None,
        )

    def _check_room(self, record: int, device: str) -> None:
        """Raise Overloaded or TooMany where there is no room for another message of a device."""
        if self._crowded is not None:
            raise Overloaded(self._crowded)
        if self.index.devices.get(record, 0) >= self._limits.device_bytes:
            raise TooMany(f"device {device} has {self._limits.device_bytes:,} bytes of messages stored, the maximum")

    async def _tidy(self) -> None:
        """Close the open segment and drop the oldest one, as far as it is time. What fails is tried later."""
        index, limits, now = self.index, self._limits, self._elapsed()
        segment, failed = index.open, None
        try:
            full = segment.fill >= 1 or now - segment.began >= limits.retention // PARTS
            if segment.messages and full and self._engine.keeper:
                header, encoded, postings = await in_steps(close(segment))
                if index.open is segment:  # else another gateway, the keeper by now, has closed it meanwhile
                    await self._engine.seal(header.first, header.last, encoded, postings)
                    index.close(header)
            if index.closed and self._engine.keeper:
                age = now - index.closed[0].ended
                early = age < limits.retention
                if not early or (index.bytes > limits.stored_bytes and age >= YOUNG):
                    header = index.closed[0].header
                    await self._engine.drop(header.last + 1, self._clock.latest())
                    index.drop_to(header.last + 1, now)
                    self._count_dropped(header.count, early)
                    self._due = True  # one at a time: a commit may come between
        except Exception as error:
            failed = f"messages were not closed or dropped: {error}"
            if not self._undropped:
                log.warning("messages were not closed or dropped; trying again and again", reason=str(error))
        self._undropped = failed is not None
        self._crowded = self._lacks_room(failed)

    def _count_dropped(self, count: int, early: bool) -> None:
        if early:
            self.dropped_early += count
            if not self._early:
                words = "messages are dropped before their time: they have more than messages_bytes"
                log.warning(words, bytes=self.index.bytes, most=self._limits.stored_bytes)
        self._early = early

    def _lacks_room(self, failed: str | None) -> str | None:
        """Why there is no room for any message; None while there is. `failed`: why nothing was closed or dropped."""
        if self._due and failed is None:
            return None  # there is more to close or drop
        if self.index.open.fill > MOST_FILL:
            return failed or UNCLOSED
        return (failed or FULL) if self.index.bytes > self._limits.stored_bytes else None


async def _stands() -> bool:
    """There is nothing to write: what was stored before stays, whatever others append."""
    return True


def _failure(error: Exception) -> StreamError:
    """The outcome of a draft that raised this."""
    if isinstance(error, StreamError):
        return error
    log_unexpected("a message was not encoded", error)
    return NotStored("the gateway failed to encode it")
