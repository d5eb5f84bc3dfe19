"""The ledger: the current state in memory, one writer, and the log of what changed.

This is the interface for the rest of the gateway. Only the ledger calls the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from time import perf_counter
from typing import TypeVar

from hivewire.ledger.audit import FLUSH_SECONDS, FORGET_SECONDS, Audit
from hivewire.ledger.clock import ClockWatch
from hivewire.ledger.journal import Journal
from hivewire.ledger.records import Change, LedgerError, NotDurable, NotKept, Outcome, Transaction
from hivewire.ledger.retention import Retention
from hivewire.ledger.state import State
from hivewire.ledger.sweep import Sweep
from hivewire.ledger.writer import Observer, Writer
from hivewire.shared_call import SharedCall
from hivewire.stopped import Stopped
from hivewire.telemetry import Gauges, log
from hivewire.unexpected import every

T = TypeVar("T")

DEFAULT_RETENTION = Retention()

HEAR_SECONDS = 0.1
"""Least time between two confirmations before refusals, however many requests are refused."""

HEAR_PATIENCE = 1.0
"""Longest delay of a refusal by such a confirmation."""

PROBE_SECONDS = 2
"""Interval between two tries to write while the storage fails."""

LOOK_SECONDS = 10
"""Time without a commit after which a log over a network is asked whether it answers."""

STALL_SECONDS = 5.0
"""Time without an answer of the storage after which its writers are told and writes are refused."""

REFUSE_SECONDS = 2.0
"""The same for a log over a network, which may still take what waits, but nothing new is accepted."""

WATCHES = 10
"""Checks of whether the storage answers, within the shorter of these times."""

COMPACT_SECONDS = 5.0
"""Interval of removing changes that are no longer needed."""

COMPACT_REST = 9
"""A sweep pauses nine times as long as it works, so that it takes a tenth of the disk at most."""


class Ledger(State):
    """All records. Reads are plain calls and never wait; writes go through `submit` or `commit`.

    `now` gives milliseconds since 1970. `max_waiting` bounds the bytes that wait for the storage. `compact_seconds` is
    the interval of removing changes that are no longer needed. `stall_seconds` is how long the storage may take for a
    commit; then its writers get Undecided.
    """

    def __init__(
        self,
        journal: Journal,
        now: Callable[[], int],
        max_waiting: int = 256 << 20,
        retention: Retention = DEFAULT_RETENTION,
        compact_seconds: float = COMPACT_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        super().__init__()
        self.now = now
        self._journal = journal
        self.clock = ClockWatch(now)
        self._writer = Writer(self, journal, now, max_waiting)
        self._sweep = Sweep(self, journal, now, retention)
        stall_seconds += journal.append_seconds  # one over a network gives up by itself, and knows when
        self.audit = Audit(journal, now, retention, stall_seconds)
        """The audit: what people and programs did."""
        self._confirm = SharedCall(journal.confirm)
        self._prove = SharedCall(partial(journal.confirm, quorum=True))
        self._hear = SharedCall(journal.confirm, HEAR_SECONDS)
        self._compact_seconds = compact_seconds
        self._stall_seconds = stall_seconds
        self._refuse_seconds = REFUSE_SECONDS if journal.append_seconds else stall_seconds
        self.on_stopped: Callable[[], None] = lambda: None
        """Called when nothing more is taken from a log that others go on with; see `stopped`."""
        self._watched = perf_counter()
        self._tasks: list[asyncio.Task[None]] = []
        self.submit = self._writer.submit  # no call between a put and the queue
        self.durable_ago = self._writer.durable_ago
        self.end_author = self._writer.end
        self.end_by = self._writer.end_by
        self.probe = self._writer.probe
        self.on_notes: list[Callable[[Mapping[str, str]], None]] = [self._sweep.recall]
        """Called with the notes that other gateways keep."""
        self.observe(self._sweep.log.add)
        self.observe(self.clock.note)

    # Reading.

    @property
    def epoch(self) -> str:
        """The identity of this history."""
        return self._journal.epoch

    @property
    def failing(self) -> str | None:
        """Why nothing can be written now; None when it can."""
        return self._writer.failing

    def not_ready(self, for_writes: bool) -> str | None:
        """Why nothing should be read here now, or written; None when it can."""
        if for_writes:
            return self.failing or self.clock.problem
        return self.failing if self._writer.broken else None  # what is read may be wrong; only a restart helps

    @property
    def stopped(self) -> Stopped | None:
        """Why this gateway takes nothing more from the log; None while it does."""
        return self._journal.stopped

    @property
    def shared(self) -> bool:
        """Whether other gateways write to the same log, so that this state may be behind it."""
        return self._journal.shared

    @property
    def shares_notes(self) -> bool:
        """Whether what other gateways `remember` comes to `on_notes`."""
        return self._journal.shares_notes

    async def confirm(self, *, quorum: bool = False) -> None:
        """Return when the state has everything that was durable at the time of the call. Raises NotDurable.

        With `quorum` a commit proves that. All who wait share one confirmation.
        """
        await (self._prove if quorum else self._confirm)()

    async def sure(self, check: Callable[[], T], *refusals: type[Exception]) -> T:
        """What `check` returns. One of the refusals is raised only when it is also that of the state after `hear`: what
        is unknown here may have been written by another gateway a moment ago."""
        seen = self.revision
        try:
            return check()
        except refusals:
            if not await self.hear(seen):
                raise
        return check()

    async def hear(self, seen: int) -> bool:
        """Before a refusal because of the state at the revision `seen`: confirm. Whether the state is a later one.

        There is at most one confirmation in HEAR_SECONDS, which all who wait share. When it cannot be had within
        HEAR_PATIENCE, the state counts as it is.
        """
        if self.shared:
            with contextlib.suppress(NotDurable, TimeoutError):
                async with asyncio.timeout(HEAR_PATIENCE):
                    await self._hear()
        return self.revision > seen

    def covers(self, revision: int) -> bool:
        """Whether the log still has everything after this revision."""
        return self.oldest - 1 <= revision <= self.revision

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """The announced changes after a revision, in order; whole transactions, about `take` changes or SINCE_BYTES.

        Nothing means that there is nothing (yet). Raises NotKept when the log does not cover the revision.
        """
        found = await self._journal.since(revision, take=take)
        # Checked after reading, because the log may have been shortened meanwhile.
        if not self.covers(revision):
            raise NotKept(f"the log reaches back to revision {self.oldest}")
        while found and found[-1].revision > self.revision:
            found.pop()  # durable, but not announced yet
        return found

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """The record's change of this revision and those before it, newest first, as far as they are kept.

        Nothing when it has no change of this revision.
        """
        if revision > self.revision:
            return []
        return await self._journal.history(kind, key, revision=revision, take=take)

    def current(self) -> tuple[int, list[Change]]:
        """The place of the log that the state has reached, and the last change of every record that exists."""
        return self._journal.tip, [*chain.from_iterable(kind.live.values() for kind in self.kinds.values())]

    def observe(self, observer: Observer, *kinds: str) -> None:
        """Call an observer with the changes of each commit, own or foreign, in order of revisions, before the answers.

        With `kinds`, only of commits with a change of one of them. Observers are called in the order of registration.
        Raises ValueError for a kind that is not in KINDS.
        """
        for kind in kinds:
            self.kind(kind)
        self._writer.observers.append((observer, frozenset(kinds)))

    # Writing.

    async def commit(self, transaction: Transaction) -> list[Change]:
        """The changes of the transaction, once durable. Raises LedgerError."""
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

    # Small facts beside the log.

    async def notes(self) -> dict[str, str]:
        """All small facts that were kept with `remember`, and some of the ledger's own."""
        return await self._journal.notes()

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Keep small facts outside of the log: no revision, no history, the last one wins. Raises NotDurable."""
        await self._journal.remember(notes)

    # The life of the ledger.

    async def open(self) -> None:
        """Load the current state and start the writer. Raises JournalError."""
        await self._journal.open()
        self._sweep.recall(await self._journal.notes())
        async for portion in self._journal.changes():
            if portion:
                self.clock.note(portion)
            self.load(portion)
            self._sweep.load(portion)
        self.sort()
        self._sweep.begin()
        await self._journal.follow(self._writer.take, self._recall)
        self._writer.start()

    def start(self) -> None:
        """Start the background tasks: watch commits and the clock, probe a storage that fails, compact."""
        self.clock.check()
        if self._journal.keeper and (lowered := self._sweep.lowered()):
            log.warning("the settings keep less than before: older changes are being removed", **lowered)
        for seconds, work in (
            (self._refuse_seconds / WATCHES, self._watch),
            (PROBE_SECONDS, self.probe),
            (LOOK_SECONDS, self._look),
            (self._compact_seconds, self._compact),
            (FLUSH_SECONDS, self.audit.try_to_flush),
            (FORGET_SECONDS, self._forget),
        ):
            self._tasks.append(asyncio.create_task(every(seconds, work, "the ledger was not looked after")))

    async def close(self) -> None:
        """Write and answer what is waiting, then release the storage. May be called twice."""
        for task in self._tasks:
            task.cancel()
        for call in (self._confirm, self._prove, self._hear):
            await call.close()
        try:
            await self._writer.close()
            await self.audit.close()
        finally:
            await self._journal.close()

    async def compact(self, rest: float = 0.0, at_once: bool = False) -> None:
        """Shorten the log, and remove what is not needed when there is enough of it or `at_once`. Raises NotDurable.

        It pauses for `rest` times as long as it works. Where gateways share the storage, one of them does it.
        """
        if self.failing is None and self._journal.keeper:
            await self._sweep.compact(rest, at_once)

    async def _watch(self) -> None:
        # After the process was stopped or the machine slept, the storage may have answered already.
        before, self._watched = self._watched, perf_counter()
        if self._watched - before < self._refuse_seconds / 2:
            self._writer.watch(self._stall_seconds, self._refuse_seconds)
        if (stopped := self._journal.stopped) is not None and not self._writer.broken:
            self._writer.give_up(stopped.reason)
            self.on_stopped()
        self.clock.check()

    async def _look(self) -> None:
        """Find out whether a log over a network answers while nothing is written: else the next writer would notice."""
        if self._journal.append_seconds and self.durable_ago() >= LOOK_SECONDS:
            await self._writer.look()

    async def _compact(self) -> None:
        try:
            await self.compact(COMPACT_REST)
        except Exception as error:  # whatever it is, trying again does no harm
            log.warning("the log was not compacted; trying again later", reason=repr(error))

    async def _forget(self) -> None:
        if self._journal.keeper:
            await self.audit.try_to_forget()

    def _recall(self, notes: Mapping[str, str]) -> None:
        for call in self.on_notes:
            call(notes)

    # Metrics.

    def measure(self, meter: Callable[[int, float], None]) -> None:
        """Call it after each own commit, with the number of changes and the seconds until they were durable."""
        self._writer.on_commit = meter

    def gauges(self) -> Gauges:
        """The metrics: a sentence and a function for each name."""
        return {
            "ledger_revision": ("The ledger's revision.", lambda: self.revision),
            "ledger_oldest": ("The first revision from which the log is complete.", lambda: self.oldest),
            "ledger_log_changes": (
                "Changes in the log that clients can resume from; those of one transaction share a revision.",
                lambda: self._sweep.log.changes,
            ),
            "commit_waiting_seconds": (
                "Age of the commit that waits for the storage; 0 when none does.",
                self._writer.waiting_seconds,
            ),
            "configurations": ("Configurations that exist.", lambda: len(self.kind("configuration").live)),
        } | self._journal.gauges()
