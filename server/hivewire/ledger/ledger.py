"""The ledger: current state in memory, one writer, group commit.

While a batch is on its way to the disk the next one gathers. A batch is judged in order against the state plus what
stands before it in the batch, appended to the journal as one, and only then applied, announced and answered. Refusals
leave after the commit too, because they may rest on writes of the same batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import TypeAlias

from sortedcontainers import SortedList

from hivewire.ledger.journal import MAX_APPEND, Journal
from hivewire.ledger.records import (
    Change,
    LedgerError,
    Mismatch,
    Missing,
    NotDurable,
    Overloaded,
    Refused,
    Transaction,
    Write,
)
from hivewire_protocol.patterns import Patterns

MAX_TRANSACTION = 1_000
"""Writes in one transaction (configuration contract, section 4)."""

BATCH_BYTES = 4 << 20
"""A batch is closed once it holds this much content, so that nobody waits behind hundreds of megabytes."""

Outcome: TypeAlias = "list[Change] | LedgerError"
Done: TypeAlias = Callable[[Outcome], None]
Observer: TypeAlias = Callable[[Sequence[Change]], None]


class Kind:
    """The records of one kind: the live ones by key, the keys in order, the deleted ones, the id counter."""

    __slots__ = ("deleted", "keys", "last_id", "live")

    def __init__(self) -> None:
        self.live: dict[str, Change] = {}
        self.deleted: dict[str, Change] = {}
        self.keys: SortedList[str] = SortedList()
        self.last_id = 0

    def last(self, key: str) -> Change | None:
        """The record's last change, a delete included."""
        return self.live.get(key) or self.deleted.get(key)

    def apply(self, change: Change) -> None:
        """Make a committed change the record's current state."""
        key = change.key
        if change.content is not None:
            if key not in self.live:
                self.keys.add(key)
                self.deleted.pop(key, None)
                self.last_id = max(self.last_id, change.id)
            self.live[key] = change
        else:
            if self.live.pop(key, None) is not None:
                self.keys.remove(key)
            self.deleted[key] = change

    def load(self, change: Change) -> None:
        """Take in the next change of the log; the keys are put in order when all are there."""
        if change.content is None:
            self.live.pop(change.key, None)
            self.deleted[change.key] = change
        else:
            self.live[change.key] = change
            if change.version == 1:
                self.deleted.pop(change.key, None)
        if change.id > self.last_id:
            self.last_id = change.id

    def ranges(self, names: Patterns) -> Iterator[tuple[int, int]]:
        """Half-open index ranges of the ordered keys that the patterns cover, in order and disjoint."""
        found = []
        for name in names.exact:
            if name in self.live:
                start = self.keys.bisect_left(name)
                found.append((start, start + 1))
        for prefix in names.prefixes:
            found.append((self.keys.bisect_left(prefix), self._end_of(prefix)))
        return iter(sorted(found))

    def _end_of(self, prefix: str) -> int:
        """The index behind the last key with this prefix."""
        while prefix:
            if prefix[-1] < "\U0010ffff":
                return int(self.keys.bisect_left(prefix[:-1] + chr(ord(prefix[-1]) + 1)))
            prefix = prefix[:-1]
        return len(self.keys)


class Ledger:
    """Everything that is kept. Reads are plain calls and never wait; writes go through `submit` or `commit`."""

    def __init__(self, journal: Journal, now: Callable[[], int], max_waiting: int = 256 << 20) -> None:
        self.journal = journal
        self.revision = 0
        self.oldest = 1
        self.failing: str | None = "not open yet"
        self.observers: list[Observer] = []
        self.on_commit: Callable[[int, float], None] = lambda changes, seconds: None
        self._now = now
        self._kinds: dict[str, Kind] = {}
        self._waiting: deque[tuple[Transaction, Done, int]] = deque()
        self._waiting_bytes = 0
        self._max_waiting = max_waiting
        self._wake = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None

    # Reading.

    @property
    def epoch(self) -> str:
        """The name of this history."""
        return self.journal.epoch

    def kind(self, name: str) -> Kind:
        """The records of one kind, for reading."""
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = Kind()
        return kind

    def get(self, kind: str, key: str) -> Change | None:
        """The last change of a record that exists."""
        return self.kind(kind).live.get(key)

    # Writing.

    def submit(self, transaction: Transaction, done: Done) -> None:
        """Have a transaction judged and written; `done` gets its changes, or a LedgerError, once that is durable.

        Transactions are judged in the order of submission and `done` is called in that order. Raises Overloaded when
        too much is waiting, NotDurable when the ledger is closing; `done` is not called then.
        """
        if not 1 <= len(transaction.writes) <= MAX_TRANSACTION:
            raise ValueError(f"a transaction has 1 to {MAX_TRANSACTION} writes")
        if len(transaction.writes) > 1 and len({(w.kind, w.key) for w in transaction.writes}) < len(transaction.writes):
            raise ValueError("a transaction writes a record at most once")
        if self._closing:
            raise NotDurable("the gateway is stopping")
        if self._waiting_bytes > self._max_waiting:
            raise Overloaded("too many changes are waiting to be written")
        size = transaction.size
        self._waiting_bytes += size
        self._waiting.append((transaction, done, size))
        self._wake.set()

    async def commit(self, transaction: Transaction) -> list[Change]:
        """The changes of the transaction, once durable. Raises Refused or NotDurable."""
        future: asyncio.Future[list[Change]] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if future.cancelled():
                return
            if isinstance(outcome, LedgerError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.submit(transaction, done)
        return await future

    # The life of the ledger.

    async def open(self) -> None:
        """Load the current state and start the writer. Raises JournalError."""
        await self.journal.load()
        async for portion in self.journal.changes():
            for change in portion:
                self.kind(change.kind).load(change)
            if portion:
                self.revision = portion[-1].revision
        for kind in self._kinds.values():
            kind.keys = SortedList(kind.live)
        self.failing = "the storage is read-only" if self.journal.read_only else None
        self._writer = asyncio.create_task(self._write(), name="ledger writer")

    async def probe(self) -> None:
        """After a failed commit, see whether the journal takes writes again, so that `failing` is true of now."""
        if self.failing is not None and not self.journal.read_only and not self._closing:
            try:
                await self.journal.remember({"probe": str(self.now())})
            except NotDurable as error:
                self.failing = str(error)
            else:
                self.failing = None

    async def close(self) -> None:
        """Write and answer what is waiting, then let go of the journal. May be called twice."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        await self.journal.close()

    async def _write(self) -> None:
        """The one writer."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._gather()
                await self._write_batch()
            if self._closing:
                return

    async def _gather(self) -> None:
        """Let the batch grow as long as every turn of the event loop brings more to it.

        A commit beside a busy event loop fights it for the interpreter: with 50 connections of 16 requests in flight,
        every second batch was one connection's and took as long as all of them together.
        """
        before = 0
        while before < len(self._waiting) < MAX_APPEND:
            before = len(self._waiting)
            await asyncio.sleep(0)

    async def _write_batch(self) -> None:
        batch = Batch(self)
        while self._waiting and batch.has_room_for(self._waiting[0][0]):
            transaction, done, size = self._waiting.popleft()
            self._waiting_bytes -= size
            batch.judge(transaction, done, size)
        if batch.changes:
            started = perf_counter()
            try:
                await self.journal.append(batch.changes)
            except Exception as error:
                # Whatever it was, the writer goes on: the next batch may find room on the disk again.
                self.failing = str(error)
                batch.fail(error if isinstance(error, NotDurable) else NotDurable(repr(error)))
                return
            self.failing = None
            self.on_commit(len(batch.changes), perf_counter() - started)
            self._apply(batch.changes)
        batch.answer()

    def _apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.kind(change.kind).apply(change)
        self.revision = changes[-1].revision
        for observe in self.observers:
            observe(changes)

    def now(self) -> int:
        """Milliseconds since 1970 by the ledger's clock."""
        return self._now()


class Batch:
    """Transactions judged together: the changes that they come to, and who waits for what."""

    def __init__(self, ledger: Ledger) -> None:
        self.changes: list[Change] = []
        self._ledger = ledger
        self._revision = ledger.revision
        self._time = ledger.now()
        self._overlay: dict[tuple[str, str], Change] = {}
        self._last_ids: dict[str, int] = {}
        self._answers: list[tuple[Done, Outcome]] = []
        self._bytes = 0

    def has_room_for(self, transaction: Transaction) -> bool:
        """Whether one more fits under the bounds; the first always does."""
        return not self._answers or (
            len(self.changes) + len(transaction.writes) <= MAX_APPEND and self._bytes < BATCH_BYTES
        )

    def judge(self, transaction: Transaction, done: Done, size: int) -> None:
        """Work out what the transaction comes to, on top of everything judged before it."""
        self._bytes += size
        try:
            changes = [self._change(index, write, transaction.author) for index, write in enumerate(transaction.writes)]
        except Refused as refused:
            self._answers.append((done, refused))
            return
        self._revision += 1
        for change in changes:
            self._overlay[change.kind, change.key] = change
        self.changes += changes
        self._answers.append((done, changes))

    def _change(self, index: int, write: Write, author: str | None) -> Change:
        kind = self._ledger.kind(write.kind)
        last = self._overlay.get((write.kind, write.key)) or kind.last(write.key)
        for precondition in write.preconditions:
            if not precondition.holds(last):
                raise Mismatch(index, write, last, precondition)
        if last is not None and last.content is not None:
            number, version = last.id, last.version + 1
        elif write.content is None:
            raise Missing(index, write, last)
        else:
            number = self._last_ids[write.kind] = self._last_ids.get(write.kind, kind.last_id) + 1
            version = 1
        return Change(
            self._revision + 1,
            write.kind,
            write.key,
            number,
            version,
            write.content,
            write.content_type,
            self._time if last is None else max(self._time, last.time),  # never back, whatever the clock does
            author,
            write.description,
            last.revision if last is not None else 0,
        )

    def answer(self) -> None:
        """Tell everybody what came of it."""
        for done, outcome in self._answers:
            try:
                done(outcome)
            except Exception as error:  # one asker's mishap must not cost the others their answer
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "an answer from the ledger was not taken", "exception": error}
                )

    def fail(self, error: NotDurable) -> None:
        """Tell everybody that nothing came of it; refusals too, because they may rest on what was not written."""
        self._answers = [(done, error) for done, _ in self._answers]
        self.answer()
