"""The only writer: group commit. Every entry, own or foreign, enters the state through `take`.

While one batch is on its way to the disk, the next one fills. A batch is evaluated in order against the state, appended
to the journal as one entry, and only then applied, announced and answered. Refusals are sent after the commit too,
because they may depend on writes of the same batch.

Where several gateways share the log, another gateway may append an entry first. Then the journal hands that entry to
`take`, and the transactions return to the head of the queue, to be evaluated again together with newer ones.

A storage that does not answer blocks no caller: `watch`, called by a timer, answers the waiting transactions, and new
ones are refused until the storage answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeAlias

from hivewire.ledger.batch import Batch
from hivewire.ledger.journal import MAX_APPEND, Entry, Journal
from hivewire.ledger.records import (
    MAX_TRANSACTION,
    Change,
    Done,
    NotDurable,
    Outcome,
    Overloaded,
    Transaction,
    Undecided,
    Write,
)
from hivewire.ledger.state import State
from hivewire.reports import report, safely
from hivewire.telemetry import log

Observer: TypeAlias = Callable[[Sequence[Change]], None]

WRITE_BYTES = 1_024
"""About how much memory a write takes beside its content while it waits."""

Waiting: TypeAlias = tuple[Transaction, int, Done, tuple[Any, ...]]
"""A transaction in the queue, its size in bytes, and the callback with the arguments that follow the outcome."""

PROBE_PATIENCE = 1.0
"""Longest delay of the answer to a failed commit, in which a probe can overwrite what the commit left."""

STOPPING = "the gateway is stopping"


class Writer:
    """Takes transactions, writes them in batches, updates the state and notifies observers.

    `observers` get every commit or, with kinds, those with a change of one of their kinds.
    `failing` is the reason why writes fail, None while they work; `broken` says that the writer ended. `on_commit` gets
    the number of changes of each own commit and the seconds until it was durable.
    """

    def __init__(self, state: State, journal: Journal, now: Callable[[], int], max_waiting: int) -> None:
        self.failing: str | None = "not open yet"
        self.observers: list[tuple[Observer, frozenset[str]]] = []
        self.on_commit: Callable[[int, float], None] = lambda changes, seconds: None
        self._state = state
        self._journal = journal
        self._now = now
        self._queue: deque[Waiting] = deque()
        self._queue_bytes = 0
        self._in_flight: list[Waiting] = []  # taken from the queue, and not answered yet
        self._ended: set[tuple[str | None, bool]] = set()  # authors whose waiting transactions are not written
        self._max_waiting = max_waiting
        self._refusing: str | None = None  # why no transaction is accepted
        self._closing = False
        self._waiting: tuple[float, list[Waiting], list[Outcome]] | None = None  # for the storage, and since when
        self._stalled = False  # whether its callers were answered, because it took too long
        self._probing: asyncio.Task[None] | None = None
        self.broken = False  # the state may be wrong: nothing more is written
        self._sleeping: asyncio.Future[None] | None = None  # set while there is nothing to write
        self._durable_at = 0.0  # when the last entry was taken
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write, once the state is loaded and the journal is followed."""
        self.failing = "the storage is read-only" if self._journal.read_only else None
        self._task = asyncio.create_task(self._run(), name="ledger writer")

    async def close(self) -> None:
        """Write and answer the waiting transactions; refuse new ones."""
        self._closing = True
        self._refusing = self._refusing or STOPPING
        self._wake()
        if self._task is not None:
            await self._task

    def submit(self, transaction: Transaction, done: Done, *about: Any) -> None:
        """Have a transaction evaluated and written; `done` gets its outcome, and `about`, once that is durable.

        Transactions are evaluated in the order of submission and `done` is called in that order. Raises Overloaded when
        too much is waiting, NotDurable when the ledger is closing or stalled; `done` is not called then.
        """
        writes = transaction.writes
        if len(writes) != 1:
            _check(writes)
        if self._refusing is not None:
            raise NotDurable(self._refusing)
        if self._queue_bytes > self._max_waiting:
            raise Overloaded("too many changes are waiting to be written")
        size = WRITE_BYTES * (len(writes) + len(transaction.guards))
        for write in writes:
            size += len(write.content or b"")
        self._queue_bytes += size
        self._queue.append((transaction, size, done, about))
        if self._sleeping is not None:
            self._wake()

    def end(self, author: str, *, client: bool) -> None:
        """Drop the waiting transactions of a user or an OAuth client, whose rights have ended: they get NotDurable."""
        ended = author, client
        if any(_author(waiting) == ended for waiting in self._queue):
            self._ended.add(ended)  # they are dropped when all before them is answered

    async def probe(self) -> None:
        """After a failed commit, find out whether the storage accepts writes again, and update `failing`."""
        if self.failing is not None and not self._journal.read_only and self._refusing is None:
            failing = None
            try:
                await self._journal.confirm()
            except Exception as error:
                failing = str(error)
            self._tell(failing)

    def waiting_seconds(self) -> float:
        """The age of the commit that the storage has not finished; 0 without one."""
        return perf_counter() - self._waiting[0] if self._waiting is not None else 0.0

    def watch(self, stall_seconds: float) -> None:
        """Give up a commit that takes longer than this, and refuse writes until the storage answers.

        Whether that commit was written is not known, so its writers get Undecided. Transactions after it, and those
        that were refused or change nothing, get NotDurable.
        """
        if self._waiting is None or self._stalled or self.broken or self.waiting_seconds() < stall_seconds:
            return
        self._stalled = True
        self._refusing = f"the storage has not answered for {stall_seconds:g} s"
        self._tell(self._refusing)
        _, taken, outcomes = self._waiting
        queued, unwritten = [*self._queue], NotDurable(self._refusing)
        undecided = Undecided(self._refusing)
        given_up = [undecided if isinstance(outcome, list) and outcome else unwritten for outcome in outcomes]
        self._queue.clear()
        self._queue_bytes = 0
        self._answer([*taken, *queued], [*given_up, *[unwritten] * len(queued)])
        taken.clear()  # all have been answered
        outcomes.clear()

    def _settle(self) -> None:
        """The storage has finished the commit, or failed."""
        self._waiting = None
        if self._stalled and not self.broken:
            self._stalled = False
            self._refusing = STOPPING if self._closing else None
            self._tell(None)

    def _tell(self, failing: str | None) -> None:
        """Set `failing`, and log when writes start or stop failing."""
        if self.broken:
            return
        if failing is None and self.failing is not None:
            log.info("writes work again")
        elif failing is not None and self.failing is None:
            log.error("writes fail", reason=failing)
        self.failing = failing

    def take(self, entry: Entry) -> None:
        """Apply and announce the next entry of the log, own or foreign. Never raises."""
        self._durable_at = perf_counter()
        if not entry.changes or self.broken:
            return
        try:
            self._state.apply(entry.changes)
        except Exception as error:
            self._break(error)
            return
        kinds = {change.kind for change in entry.changes}
        for observe, wanted in self.observers:
            try:
                if not wanted or wanted & kinds:
                    observe(entry.changes)
            except Exception as error:
                report("an observer of the ledger failed", error)

    # The task.

    async def _run(self) -> None:
        try:
            while not self.broken:
                if self._queue:
                    await self._gather()
                    if not self.broken:
                        await self._write_batch()
                elif not self._closing:
                    await self._sleep()
                else:
                    return
        except Exception as error:
            self._break(error)
        except BaseException:
            self._refuse("the writer was stopped")
            raise
        finally:
            self._sleeping = None
            if self.broken:
                # Wherever the error came from, the batch in flight may be on the disk.
                self._answer(self._in_flight, [Undecided(str(self.failing))] * len(self._in_flight))
                self._answer(list(self._queue), [NotDurable(str(self.failing))] * len(self._queue))
                self._queue.clear()

    async def _sleep(self) -> None:
        """Wait until there is something to write."""
        self._sleeping = asyncio.get_running_loop().create_future()
        await self._sleeping

    def _wake(self) -> None:
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None and not sleeping.done():  # else the task was cancelled
            sleeping.set_result(None)

    def _break(self, error: Exception) -> None:
        """After an unexpected error the state may be wrong: write nothing more."""
        report("the writer of the ledger ended", error)
        self._refuse(f"the writer ended: {error!r}; restart the gateway")

    def _refuse(self, reason: str) -> None:
        self.broken = True
        self.failing = self._refusing = reason
        self._wake()

    async def _gather(self) -> None:
        """Let the queue grow as long as every iteration of the event loop adds to it.

        The writer thread competes with a busy event loop for the interpreter lock. With 50 connections of 16 requests
        in flight, every second batch had the puts of one connection only, and took as long as one with all of them.
        """
        before = 0
        while before < len(self._queue) < MAX_APPEND:
            before = len(self._queue)
            await asyncio.sleep(0)

    async def _write_batch(self) -> None:
        """Evaluate the queue, append the batch and answer; or put it back when another entry was appended first."""
        if self._ended:
            self._drop_ended()
        batch, taken, outcomes = self._evaluate()
        started = perf_counter()
        self._waiting = started, taken, outcomes
        try:
            if batch.changes:
                stands = await self._journal.append(batch.changes, behind=batch.tip)
            else:
                await self._journal.confirm()  # refusals are valid for the current tip
                stands = self._journal.tip == batch.tip
        except Exception as error:
            self._settle()
            await self._fail(taken, error)
            return
        self._settle()
        if not stands:
            self._put_back(taken)
            return
        changes = len(batch.changes)
        if self.failing is not None and changes:
            self._tell(None)
        del batch
        self._answer(taken, outcomes)
        if changes:
            safely("the commit was not measured", self.on_commit, changes, self._durable_at - started)

    async def _fail(self, taken: list[Waiting], error: Exception) -> None:
        """Answer a batch that the storage did not write. The writer continues: there may be space for the next one."""
        self._tell(str(error))
        if not isinstance(error, Undecided):
            # Before the writers are told: until something overwrites it, a start may find the failed commit.
            self._probing = asyncio.create_task(self._write_over(), name="probe of the storage")
            await asyncio.wait({self._probing}, timeout=PROBE_PATIENCE)
        failure = error if isinstance(error, NotDurable) else NotDurable(repr(error))
        # Refusals fail as well: they may depend on writes that failed.
        self._answer(taken, [failure] * len(taken))

    async def _write_over(self) -> None:
        with contextlib.suppress(Exception):  # whether writes work again is found out by `probe`
            await self._journal.confirm()

    def _evaluate(self) -> tuple[Batch, list[Waiting], list[Outcome]]:
        """As much of the queue as fits into one entry, and at least one transaction."""
        batch = Batch(self._state, self._journal.tip, self._now())
        taken = self._in_flight = []
        outcomes: list[Outcome] = []
        queue, most, size, evaluate, changes = self._queue, self._journal.batch_bytes, 0, batch.evaluate, batch.changes
        while queue:
            waiting = queue[0]
            transaction = waiting[0]
            if taken and (size >= most or len(changes) + len(transaction.writes) > MAX_APPEND):
                break
            queue.popleft()
            size += waiting[1]
            taken.append(waiting)
            outcomes.append(evaluate(transaction))
        self._queue_bytes -= size
        return batch, taken, outcomes

    def _drop_ended(self) -> None:
        """Answer and forget what waits of authors whose rights have ended."""
        ended, self._ended = self._ended, set()
        dropped = [waiting for waiting in self._queue if _author(waiting) in ended]
        if dropped:
            self._queue = deque(waiting for waiting in self._queue if _author(waiting) not in ended)
            self._queue_bytes -= sum(size for _, size, _, _ in dropped)
            self._answer(dropped, [NotDurable("the rights of its author have ended")] * len(dropped))

    def _put_back(self, taken: list[Waiting]) -> None:
        self._queue.extendleft(reversed(taken))
        self._queue_bytes += sum(size for _, size, _, _ in taken)
        self._in_flight = []

    def _answer(self, taken: list[Waiting], outcomes: list[Outcome]) -> None:
        """Hand out the outcomes, and empty both lists on the way: objects that are freed one by one are still in the
        processor's cache. Freeing a large batch at the end took more than a tenth of the time of its puts."""
        taken.reverse()
        outcomes.reverse()
        while taken:
            _, _, done, about = taken.pop()
            try:
                done(outcomes.pop(), *about)
            except Exception as error:
                report("an answer from the ledger was not taken", error)


def _author(waiting: Waiting) -> tuple[str | None, bool]:
    """Who sent it. Users and OAuth clients may have the same names."""
    return waiting[0].author, waiting[0].client


def _check(writes: Sequence[Write]) -> None:
    """Raise ValueError for a transaction that no caller may submit."""
    if not 1 <= len(writes) <= MAX_TRANSACTION:
        raise ValueError(f"a transaction has 1 to {MAX_TRANSACTION} writes")
    keys = [(write.kind, write.key) for write in writes if write.key]  # every empty one makes another record
    if len(set(keys)) < len(keys):
        raise ValueError("a transaction writes a record at most once")
