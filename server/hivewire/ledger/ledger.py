"""The ledger: current state in memory, one writer, group commit.

While a batch is on its way to the disk the next one gathers. A batch is judged in order against the state plus what
stands before it in the batch, appended to the journal as one, and only then applied, announced and answered. Refusals
leave after the commit too, because they may rest on writes of the same batch.

What is kept: `shorten` moves `oldest` on, `sweep` removes what neither the log nor a history needs any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any, TypeAlias

from sortedcontainers import SortedKeyList, SortedList

from hivewire.ledger.journal import MAX_APPEND, Journal
from hivewire.ledger.records import (
    Change,
    LedgerError,
    Mismatch,
    Missing,
    NotDurable,
    NotKept,
    Outline,
    Overloaded,
    Refused,
    Transaction,
    Unexpected,
    Write,
)
from hivewire.ledger.retention import Log, Retention
from hivewire_protocol.patterns import Patterns

MAX_TRANSACTION = 1_000
"""Writes in one transaction (configuration contract, section 4)."""

BATCH_BYTES = 4 << 20
"""A batch is closed once it holds this much content, so that nobody waits behind hundreds of megabytes."""

SWEEP_TAKE = 1_000
SWEEP_BYTES = 1 << 20
"""Changes looked at by one step of a sweep, and content removed by it: a write waits behind one such step at most."""

SWEEP_CHANGES = 1_000
SWEEP_MILLISECONDS = 3_600_000
"""A sweep reads all that is older than the log, so it waits for so many changes to have left, or for so long."""

ID_BITS = 40
"""More ids than a kind ever gives."""

DEFAULT_RETENTION = Retention()

UNTOLD = "an answer from the ledger was not taken"

Outcome: TypeAlias = "list[Change] | LedgerError"
Done: TypeAlias = Callable[[Outcome], None]
Observer: TypeAlias = Callable[[Sequence[Change]], None]


def _place(change: Change) -> int:
    """Orders changes of one kind by revision. Unique, so that a delete is found among a thousand of one revision."""
    return change.revision << ID_BITS | change.id


class Kind:
    """The records of one kind: the live ones by key, the keys in order, the deleted ones, the id counter."""

    __slots__ = ("_deletes", "deleted", "keys", "last_id", "live")

    def __init__(self) -> None:
        self.live: dict[str, Change] = {}
        self.deleted: dict[str, Change] = {}
        self.keys: SortedList[str] = SortedList()
        self._deletes: SortedKeyList[Change, int] = SortedKeyList(key=_place)
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
                self.forget(key)
                self.last_id = max(self.last_id, change.id)
            self.live[key] = change
        else:
            if self.live.pop(key, None) is not None:
                self.keys.remove(key)
            self.deleted[key] = change
            self._deletes.add(change)

    def forget(self, key: str) -> None:
        """Know nothing of a delete any more, because the record was written again or no log needs it."""
        if (change := self.deleted.pop(key, None)) is not None:
            self._deletes.remove(change)

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

    def sort(self) -> None:
        """Put what was loaded in order, all at once, which is much faster than one by one."""
        self.keys = SortedList(self.live)
        self._deletes = SortedKeyList(self.deleted.values(), key=_place)

    def deleted_between(self, after: int, before: int) -> Iterator[Change]:
        """The deletes between two revisions, both exclusive, of what does not exist now; newest first."""
        return iter(self._deletes.irange_key((after + 1) << ID_BITS, before << ID_BITS, (True, False), reverse=True))

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

    def __init__(
        self,
        journal: Journal,
        now: Callable[[], int],
        max_waiting: int = 256 << 20,
        retention: Retention = DEFAULT_RETENTION,
    ) -> None:
        self.journal = journal
        self.revision = 0
        self.oldest = 1
        """The first revision from which the log is complete; never decreases."""
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
        self._broken = False
        self._writer: asyncio.Task[None] | None = None
        self._retention = retention
        self._log = Log(retention)
        self._left = self._swept = 0  # changes that left the log until `oldest`, and until the last sweep
        self._older = 0  # changes older than the log that the last sweep found needed
        self._swept_at = 0

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

    @property
    def log_changes(self) -> int:
        """How many changes the log holds."""
        return self._log.changes

    def covers(self, revision: int) -> bool:
        """Whether everything that happened after this revision can be told."""
        return self.oldest - 1 <= revision <= self.revision

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """What was announced after a revision, in order; whole transactions, about `take` changes or SINCE_BYTES.

        Nothing means that there is nothing (yet). Raises NotKept when the log does not cover the revision.
        """
        found = await self.journal.since(revision, take=take)
        # Now, because the log may have been shortened while it was read.
        if not self.covers(revision):
            raise NotKept(f"the log reaches back to revision {self.oldest}")
        while found and found[-1].revision > self.revision:
            found.pop()  # durable, but not announced yet
        return found

    # Writing.

    def submit(self, transaction: Transaction, done: Done) -> None:
        """Have a transaction judged and written; `done` gets its changes, or a LedgerError, once that is durable.

        Transactions are judged in the order of submission and `done` is called in that order. Raises Overloaded when
        too much is waiting, NotDurable when the ledger is closing; `done` is not called then.
        """
        count = len(transaction.writes)
        if not 1 <= count <= MAX_TRANSACTION:
            raise ValueError(f"a transaction has 1 to {MAX_TRANSACTION} writes")
        if count > 1 and len({(write.kind, write.key) for write in transaction.writes}) < count:
            raise ValueError("a transaction writes a record at most once")
        if self._closing:
            raise NotDurable("the gateway is stopping")
        if self._broken:
            raise NotDurable(str(self.failing))
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
        for name, note in (await self.journal.notes()).items():
            self._recall(name, note)
        async for portion in self.journal.changes():
            for change in portion:
                self.kind(change.kind).load(change)
            within = [change for change in portion if change.revision >= self.oldest]
            self._log.add(within)
            self._log.left += len(portion) - len(within)
            if portion:
                self.revision = max(self.revision, portion[-1].revision)
        for kind in self._kinds.values():
            kind.sort()
        self._left, self._swept_at = self._log.left, self.now()
        self.failing = "the storage is read-only" if self.journal.read_only else None
        self._writer = asyncio.create_task(self._write(), name="ledger writer")

    async def probe(self) -> None:
        """After a failed commit, see whether the journal takes writes again, so that `failing` is true of now.

        What it writes also makes an end of what a refused batch may have left behind (see the journal's promises).
        """
        if self.failing is None or self.journal.read_only or self._closing:
            return
        failing = None
        try:
            await self.journal.remember({"probe": str(self.now())})
        except Exception as error:
            failing = str(error)
        if not self._broken:
            self.failing = failing

    async def close(self) -> None:
        """Write and answer what is waiting, then let go of the journal. May be called twice."""
        self._closing = True
        self._wake.set()
        try:
            if self._writer is not None:
                await self._writer
        finally:
            await self.journal.close()

    # What is kept.

    def _recall(self, name: str, note: str) -> None:
        """Take in what `shorten` noted, because what was removed since cannot tell it any more."""
        if name == "oldest":
            self.oldest = int(note)
        elif name == "revision":
            self.revision = int(note)
        elif name.startswith("lastId:"):
            self.kind(name.removeprefix("lastId:")).last_id = int(note)

    async def compact(self, rest: float = 0.0, at_once: bool = False) -> None:
        """Shorten the log, and sweep when enough has left it or `at_once`. Raises NotDurable.

        `rest` is for how many times as long as it works it lets the machine to others.
        """
        if self.failing is not None or self._closing:
            return
        await self.shorten()
        left = self._left - self._swept
        late = left > 0 and self.now() - self._swept_at >= SWEEP_MILLISECONDS
        if at_once or late or left >= max(SWEEP_CHANGES, self._older // 10):
            await self.sweep(rest)

    async def shorten(self) -> None:
        """Move `oldest` to where the log begins by the retention of now. Raises NotDurable."""
        first = self._log.cut(self.now())
        first = self.revision + 1 if first is None else first
        left = self._log.left
        if first > self.oldest:
            # Before anything is removed, and with everything that could not be worked out from the rest of the log.
            notes = {"oldest": str(first), "revision": str(self.revision)}
            notes |= {f"lastId:{name}": str(kind.last_id) for name, kind in self._kinds.items()}
            await self.journal.remember(notes)
            self.oldest, self._left = first, left

    async def sweep(self, rest: float = 0.0) -> None:
        """Look through what is older than the log and remove what no history needs, step by step. Raises NotDurable."""
        oldest, left = self.oldest, self._left
        place = kept = 0
        started = perf_counter()
        while outlines := await self.journal.outline(place, before=oldest, take=SWEEP_TAKE):
            unneeded: list[Outline] = []
            size = 0
            for outline in outlines:
                place = outline.place
                if self._needs(outline, oldest):
                    kept += 1
                    continue
                unneeded.append(outline)
                size += outline.size
                if size >= SWEEP_BYTES:
                    break
            if unneeded:
                await self.journal.remove([outline.place for outline in unneeded])
                self._forget(unneeded)
            await asyncio.sleep(rest * (perf_counter() - started))
            started = perf_counter()
        self._swept, self._older, self._swept_at = left, kept, self.now()

    def _needs(self, outline: Outline, oldest: int) -> bool:
        """Whether a change older than the log is needed all the same.

        It is decided before it is removed, and a commit may come in between; that makes a change less needed at most.
        """
        last = self.kind(outline.kind).last(outline.key)
        if last is None:
            return True  # cannot be; what is not understood is not thrown away
        if last.content is None and last.revision < oldest:
            return False
        return last.ordinal - outline.ordinal < self._retention.history

    def _forget(self, removed: Sequence[Outline]) -> None:
        """A key is forgotten with its last tombstone, which stands behind all its other changes."""
        for outline in removed:
            kind = self.kind(outline.kind)
            last = kind.deleted.get(outline.key)
            if last is not None and last.revision == outline.revision:
                kind.forget(outline.key)

    # The writer.

    async def _write(self) -> None:
        """The one writer."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._gather()
                    await self._write_batch()
                if self._closing:
                    return
        except Exception as error:
            _report("the writer of the ledger ended", error)
            self._give_up(f"the writer ended: {error!r}; restart the gateway")
        except BaseException:
            self._give_up("the writer was stopped")
            raise

    def _give_up(self, reason: str) -> None:
        """Nobody foresaw this, so the state may be wrong: write nothing more, and let nobody wait for it."""
        self._broken = True
        self.failing = reason
        while self._waiting:
            _, done, size = self._waiting.popleft()
            self._waiting_bytes -= size
            _safely(UNTOLD, done, NotDurable(reason))

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
            seconds = perf_counter() - started
            try:
                self._apply(batch.changes)
            finally:
                batch.answer()  # whatever happened since, it is durable
            _safely("the commit was not measured", self.on_commit, len(batch.changes), seconds)
        else:
            batch.answer()

    def _apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.kind(change.kind).apply(change)
        self.revision = changes[-1].revision
        self._log.add(changes)
        for observe in self.observers:
            _safely("an observer of the ledger failed", observe, changes)

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
        except Exception as error:
            _report("a transaction could not be judged", error)
            self._answers.append((done, Unexpected("internal error")))
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
            last.ordinal + 1 if last is not None else 1,
        )

    def answer(self) -> None:
        """Tell everybody what came of it."""
        for done, outcome in self._answers:
            _safely(UNTOLD, done, outcome)

    def fail(self, error: NotDurable) -> None:
        """Tell everybody that nothing came of it; refusals too, because they may rest on what was not written."""
        self._answers = [(done, error) for done, _ in self._answers]
        self.answer()


def _safely(message: str, call: Callable[..., None], *arguments: Any) -> None:
    """Call somebody whose mishap must not cost others their news or their answer."""
    try:
        call(*arguments)
    except Exception as error:
        _report(message, error)


def _report(message: str, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
