"""The only writer of the ledger. Every entry, own or foreign, enters the state through `take`.

A batch is evaluated in order against the state, appended to the journal as one entry, and only then applied, announced
and answered. What waits, fails or comes too late: see `hivewire.group_commit`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from typing import Any, TypeAlias

from hivewire.files import READ_ONLY
from hivewire.group_commit import GroupCommit, Waiting
from hivewire.ledger.batch import Batch
from hivewire.ledger.journal import MAX_APPEND, Entry, Journal
from hivewire.ledger.records import (
    MAX_WRITES,
    Change,
    Done,
    NotDurable,
    Outcome,
    Overloaded,
    Transaction,
    Undecided,
    Unsynced,
    Write,
)
from hivewire.ledger.state import State
from hivewire.unexpected import log_unexpected

Observer: TypeAlias = Callable[[Sequence[Change]], None]

WRITE_BYTES = 1_024
"""About how much memory a write takes beside its content while it waits."""


class Writer(GroupCommit[Transaction]):
    """Takes transactions, writes them in batches, updates the state and notifies observers.

    `observers` get every commit or, with kinds, those with a change of one of their kinds.
    """

    name = "the ledger"
    unwritten, unsynced, undecided, overloaded = NotDurable, Unsynced, Undecided, Overloaded
    most = MAX_APPEND

    def __init__(self, state: State, journal: Journal, now: Callable[[], int], max_waiting: int) -> None:
        super().__init__(max_waiting, perf_counter)
        self.failing = "not open yet"
        self.observers: list[tuple[Observer, frozenset[str]]] = []
        self._state = state
        self._journal = journal
        self._now = now

    def start(self) -> None:
        """Begin to write, once the state is loaded and the journal is followed."""
        self.failing = f"the storage {READ_ONLY}" if self._journal.read_only else None
        super().start()

    def submit(self, transaction: Transaction, done: Done, *about: Any) -> None:
        """Queue a transaction; `done` is called with `about` and its outcome, once that is durable.

        Transactions are evaluated in the order of submission and `done` is called in that order. Raises Overloaded when
        too much is waiting, NotDurable when the ledger is closing or stalled; `done` is not called then.
        """
        writes = transaction.writes
        if len(writes) != 1:
            _check(writes)
        size = WRITE_BYTES * (len(writes) + len(transaction.guards))
        for write in writes:
            size += len(write.content or b"")
        self._enqueue(transaction, size, done, about)

    def end(self, author: str, *, client: bool) -> None:
        """Drop the waiting transactions of a user or an OAuth client, whose rights have ended: they get NotDurable."""
        ended = author, client
        self._end(lambda transaction: (transaction.author, transaction.client) == ended)

    async def probe(self) -> None:
        """As in a group commit, if the storage can be written at all."""
        if not self._journal.read_only:
            await super().probe()

    def take(self, entry: Entry) -> None:
        """Apply and announce the next entry of the log, own or foreign. Never raises."""
        self._durable_at = self._seconds()
        if not entry.changes or self.broken:
            return
        try:
            self._state.apply(entry.changes)
        except Exception as error:
            # The entry is durable, but the state lacks it, or has half of it: everything evaluated from now on would
            # be wrong. Only a restart, which reads the log again, helps.
            self._break(error)
            return
        kinds = {change.kind for change in entry.changes}
        for observe, wanted in self.observers:
            try:
                if not wanted or wanted & kinds:
                    observe(entry.changes)
            except Exception as error:
                log_unexpected("an observer of the ledger failed", error)

    # What a group commit asks for.

    def _evaluate(self) -> tuple[int, Awaitable[bool]]:
        """As much of the queue as fits into one entry, and at least one transaction."""
        batch = Batch(self._state, self._journal.tip, self._now())
        taken: list[Waiting[Transaction]] = []
        outcomes: list[Outcome] = []
        self._taken, self._outcomes = taken, outcomes
        queue, most, size, evaluate, changes = self._queue, self._journal.batch_bytes, 0, batch.evaluate, batch.changes
        while queue:
            waiting = queue[0]
            transaction = waiting[0]
            # Always take the first one: a transaction that is larger than a batch would otherwise wait without end.
            if taken and (size >= most or batch.is_last or len(changes) + len(transaction.writes) > MAX_APPEND):
                break
            queue.popleft()
            size += waiting[1]
            taken.append(waiting)
            outcomes.append(evaluate(transaction))
        self._queue_bytes -= size
        if changes:
            return len(changes), self._journal.append(changes, behind=batch.tip)
        # Only refusals: nothing to append, but a shared log may have an entry that makes them wrong.
        return 0, self._holds(batch.tip)

    async def _holds(self, tip: int) -> bool:
        """Whether refusals at this tip are valid: whether the log has nothing behind it."""
        await self._journal.confirm()
        return self._journal.tip == tip

    async def _confirm(self) -> None:
        await self._journal.confirm()

    def _turn(self) -> AbstractAsyncContextManager[None]:
        return self._journal.turn()

    def _is_write(self, outcome: Any) -> bool:
        return isinstance(outcome, list) and bool(outcome)


def _check(writes: Sequence[Write]) -> None:
    """Raise ValueError for a transaction that no caller may submit."""
    if not 1 <= len(writes) <= MAX_WRITES:
        raise ValueError(f"a transaction has 1 to {MAX_WRITES} writes")
    keys = [(write.kind, write.key) for write in writes if write.key]  # each write with an empty key makes a new record
    if len(set(keys)) < len(keys):
        raise ValueError("a transaction writes a record at most once")
