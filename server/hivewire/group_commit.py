"""Group commit: a queue, and the one task that writes what is in it, batch by batch, to a log.

While one batch is on its way to the storage, the next one fills. Everything in a batch is answered after the commit, in
the order of submission; refusals too, because they may depend on writes of the same batch.

Where several gateways share the log, another gateway's entry may be appended first. Then the items return to the head
of the queue, and are evaluated again together with newer ones.

A storage that does not answer blocks no caller: `watch`, called by a timer, answers those who wait, and new items are
refused until the storage works again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from hivewire.telemetry import log
from hivewire.unexpected import log_unexpected, safely


class Asked(Protocol):
    """What is written."""

    @property
    def by(self) -> Any:
        """The identity of the caller who asks for it; None if nobody does."""


Item = TypeVar("Item", bound=Asked)

Done: TypeAlias = Callable[..., None]
"""Called with whatever was submitted with an item, and with its outcome: an exception, or what is durable."""

Waiting: TypeAlias = tuple[Item, int, Done, tuple[Any, ...]]
"""An item in the queue, its size in bytes, and the callback with the arguments that come before the outcome."""

PROBE_PATIENCE = 1.0
"""Longest delay of the answer to a failed commit, in which a probe can overwrite what the commit left on the disk."""

STOPPING = "the gateway is stopping"


class GroupCommit(ABC, Generic[Item]):
    """The queue and its task. A subclass says how a batch is made and appended.

    `failing` is the reason why writes fail, None while they work; `broken` says that the task ended. `on_commit` gets
    the number of changes of each own commit and the seconds until it was durable.

    `name` is what is written to, for the log. Items that are not written get `unwritten` or, if nobody knows,
    `undecided`; when too much is waiting, `overloaded` is raised at once. The storage raises `unsynced` where it may
    have what it failed to write, until it writes something else over it.
    """

    name: ClassVar[str]
    unwritten: ClassVar[type[Exception]]
    unsynced: ClassVar[type[Exception]]
    undecided: ClassVar[type[Exception]]
    overloaded: ClassVar[type[Exception]]
    most: ClassVar[int]
    """Items at which a batch is full."""

    def __init__(self, max_waiting: int, seconds: Callable[[], float]) -> None:
        """`max_waiting` bounds the bytes in the queue; `seconds` is a monotonic clock."""
        self.failing: str | None = None
        self.broken = False  # what is in memory may be wrong: nothing more is written
        self.on_commit: Callable[[int, float], None] = lambda changes, seconds: None
        self._seconds = seconds
        self._queue: deque[Waiting[Item]] = deque()
        self._queue_bytes = 0
        self._max_waiting = max_waiting
        self._taken: list[Waiting[Item]] = []  # from the queue, and not answered yet
        self._outcomes: list[Any] = []  # of those in `_taken`, in their order
        self._ended: list[Waiting[Item]] = []  # to be dropped, as far as they still wait
        self._waiting: float | None = None  # when the commit began that waits for the storage
        self._durable_at = 0.0  # when the last entry was taken
        self._stalled = False  # whether that commit took too long, so its callers were answered without an outcome
        self._unanswered = False  # whether it ended without an answer, so that nobody knows whether the storage works
        self._refusing: str | None = None  # why new items are refused
        self._closing = False
        self._due = False  # whether `_between` has something to do
        self._probing: asyncio.Task[bool] | None = None
        self._sleeping: asyncio.Future[None] | None = None  # set while there is nothing to write
        self._task: asyncio.Task[None] | None = None

    # What a subclass defines.

    @abstractmethod
    def _evaluate(self) -> tuple[int, Awaitable[bool]]:
        """Move the head of the queue to `_taken`, and evaluate it into `_outcomes`.

        Returns the number of changes, and what makes them durable and visible. False of the latter: the items are to
        be evaluated again, after the entries that were taken meanwhile.
        """

    @abstractmethod
    async def _confirm(self) -> None:
        """Return when the storage works; raise why not."""

    @abstractmethod
    def _is_write(self, outcome: Any) -> bool:
        """Whether an outcome is true only if its batch is written."""

    def _turn(self) -> AbstractAsyncContextManager[None]:
        """Within this a batch is made and appended; to enter it may take a while, in which other gateways go first."""
        return nullcontext()

    async def _between(self) -> None:
        """What is done between two commits while `_due` is set."""

    # For the owner.

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name=f"writer of {self.name}")

    async def close(self) -> None:
        """Write and answer what is waiting; refuse more."""
        self._closing = True
        self._refusing = self._refusing or STOPPING
        self._wake()
        if self._task is not None:
            await self._task

    def waiting_seconds(self) -> float:
        """The age of the commit that the storage has not finished; 0 without one."""
        return self._seconds() - self._waiting if self._waiting is not None else 0.0

    def durable_ago(self) -> float:
        """Seconds since the last entry was durable."""
        return self._seconds() - self._durable_at

    def watch(self, stall_seconds: float, refuse_seconds: float | None = None) -> None:
        """Give up a commit that takes longer than this, and refuse more until the storage answers.

        Whether that commit was written is not known, so its writers get `undecided`. Those behind it, and those that
        were refused or change nothing, get `unwritten`. More is refused after `refuse_seconds`, if they are fewer.
        """
        seconds = self.waiting_seconds()
        if self._waiting is None or self.broken:
            return
        late = seconds >= stall_seconds
        if not self._stalled and (late or (refuse_seconds is not None and seconds >= refuse_seconds)):
            self._stalled = True
            self._refusing = f"the storage has not answered for {seconds:.0f} s"
            self._tell(self._refusing)
        if late:
            reason = f"the storage has not answered for {stall_seconds:g} s"
            unwritten, undecided = self.unwritten(reason), self.undecided(reason)
            # Only for callers: `_commit` goes on waiting for the storage, and handles what it answers after all.
            self._outcomes[:] = [undecided if self._is_write(outcome) else unwritten for outcome in self._outcomes]
            self._answer()
            self._refuse_queue(unwritten)

    async def probe(self) -> None:
        """After a failed commit, find out whether the storage accepts writes again, and update `failing`."""
        if self.failing is not None and (self._refusing is None or self._unanswered) and not self._closing:
            failing = None
            try:
                await self._confirm()
            except Exception as error:
                failing = str(error)
            else:
                self._recover()
            self._tell(failing)

    async def look(self) -> None:
        """While no commit has failed, find out whether the storage answers, and update `failing`. More is taken."""
        if self.failing is None and not self._closing:
            try:
                await self._confirm()
            except Exception as error:
                self._tell(str(error))

    def give_up(self, reason: str) -> None:
        """Write nothing more, because the state in memory is not that of the log."""
        self._tell(reason)
        self._refuse(reason)

    # For a subclass.

    def _enqueue(self, item: Item, size: int, done: Done, about: tuple[Any, ...]) -> None:
        """Queue an item. Raises `unwritten` or `overloaded`; `done` is not called then."""
        if self._refusing is not None:
            raise self.unwritten(self._refusing)
        if self._queue_bytes > self._max_waiting:
            raise self.overloaded(f"too much is waiting to be written to {self.name}")
        self._queue_bytes += size
        self._queue.append((item, size, done, about))
        if self._sleeping is not None:
            self._wake()

    def end_by(self, is_ended: Callable[[Any], bool]) -> None:
        """Drop what waits of callers whose rights have ended, by their identities; it gets `unwritten`."""
        self._end(lambda item: item.by is not None and is_ended(item.by))

    def _end(self, is_ended: Callable[[Item], bool]) -> None:
        """Drop what waits of an author whose rights have ended, before the next batch is evaluated: everything ahead of
        it has to be answered first. What is in flight waits again if another gateway's entry was first."""
        self._ended += [waiting for waiting in (*self._taken, *self._queue) if is_ended(waiting[0])]

    def _drop_ended(self) -> None:
        """Answer and forget it."""
        ended = {id(waiting) for waiting in self._ended}
        dropped = [waiting for waiting in self._queue if id(waiting) in ended]
        if dropped:
            self._queue = deque(waiting for waiting in self._queue if id(waiting) not in ended)
            self._queue_bytes -= sum(size for _, size, _, _ in dropped)
            self._taken = dropped
            self._outcomes = [self.unwritten("the rights of its author have ended")] * len(dropped)
            self._answer()
        self._ended.clear()

    def _wake(self) -> None:
        sleeping, self._sleeping = self._sleeping, None
        if sleeping is not None and not sleeping.done():  # else the task was cancelled
            sleeping.set_result(None)

    def _break(self, error: Exception) -> None:
        """After an unexpected error what is in memory may be wrong: write nothing more."""
        log_unexpected(f"the writer of {self.name} ended", error)
        self._refuse(f"the writer ended: {error!r}; restart the gateway")

    def _tell(self, failing: str | None) -> None:
        """Set `failing`, and log when writes start or stop failing."""
        if self.broken:
            return
        if failing is None and self.failing is not None:
            log.info("writes work again", to=self.name)
        elif failing is not None and self.failing is None:
            log.error("writes fail", to=self.name, reason=failing)
        self.failing = failing

    # The task.

    async def _run(self) -> None:
        try:
            while not self.broken:
                if self._due:
                    await self._between()
                if self._queue:
                    self._waiting = self._seconds()  # whoever gives the turn may be at a standstill
                    async with self._turn():
                        await self._gather()
                        if not self.broken:
                            await self._commit()
                elif self._closing:
                    return
                elif not self._due:
                    self._sleeping = asyncio.get_running_loop().create_future()
                    await self._sleeping
        except Exception as error:
            self._break(error)
        except BaseException:
            self._refuse("the writer was stopped")
            raise
        finally:
            self._sleeping = None
            if self.broken:
                # Wherever the error came from, the batch in flight may be on the disk.
                self._outcomes[:] = [self.undecided(str(self.failing))] * len(self._taken)
                self._answer()
                self._refuse_queue(self.unwritten(str(self.failing)))

    def _refuse(self, reason: str) -> None:
        self.broken = True
        self.failing = self._refusing = reason
        self._wake()

    async def _gather(self) -> None:
        """Let the queue grow as long as every iteration of the event loop adds to it.

        The thread that writes competes with a busy event loop for the interpreter lock. With 50 connections of 16
        requests in flight, every second batch had the puts of one connection only, and took as long as one with all of
        them.
        """
        before = 0
        while before < len(self._queue) < self.most:
            before = len(self._queue)
            await asyncio.sleep(0)

    async def _commit(self) -> None:
        """Evaluate the queue, append the batch and answer; or put it back when another entry was appended first."""
        if self._ended:
            self._drop_ended()
        changes, append = self._evaluate()
        started = self._waiting = self._seconds()
        try:
            stands = await append
        except Exception as error:
            # Stalled and undecided: nothing has shown that the storage works again, so new items stay refused until
            # `probe` has.
            self._unanswered = self._stalled and isinstance(error, self.undecided)
            self._settle()
            await self._fail(error)
            if self._unanswered:
                self._refuse_queue(self.unwritten(str(error)))
            return
        self._settle()
        if not stands:  # another gateway's entry was first: ids, versions and preconditions no longer hold
            self._put_back()
            return
        del append  # it holds the batch, whose objects `_answer` frees one by one
        if changes and self.failing is not None:
            self._tell(None)
        self._answer()
        if changes:
            safely("the commit was not measured", self.on_commit, changes, self._durable_at - started)

    def _settle(self) -> None:
        """The storage has finished what it was asked for, or failed, or has given up without an answer."""
        self._waiting = None
        if not self._unanswered:
            self._recover()

    def _recover(self) -> None:
        """The storage answers: accept again what was refused because it did not."""
        self._unanswered = False
        if self._stalled and not self.broken:
            self._stalled = False
            self._refusing = STOPPING if self._closing else None
            self._tell(None)

    async def _fail(self, error: Exception) -> None:
        """Answer a batch that the storage did not write. The task continues: there may be space for the next one."""
        self._tell(str(error))
        failure = doubt = error if isinstance(error, self.unwritten) else self.unwritten(repr(error))
        if not isinstance(error, self.undecided):
            is_over = await self._written_over()
            if isinstance(error, self.unsynced):
                failure = self.unwritten(str(error))
                doubt = failure if is_over else self.undecided(str(error))
        # Refusals fail as well: they may depend on writes that failed.
        self._outcomes[:] = [doubt if self._is_write(outcome) else failure for outcome in self._outcomes]
        self._answer()

    async def _written_over(self) -> bool:
        """Whether something else could be written at once: a start after a crash would find the failed commit in the
        WAL, until a later one has overwritten it."""
        self._probing = asyncio.create_task(self._write_over(), name="probe of the storage")
        done, _ = await asyncio.wait({self._probing}, timeout=PROBE_PATIENCE)
        return bool(done) and self._probing.result()

    async def _write_over(self) -> bool:
        try:
            await self._confirm()
        except Exception:  # whether writes work again is found out by `probe`
            return False
        return True

    def _put_back(self) -> None:
        self._queue.extendleft(reversed(self._taken))
        self._queue_bytes += sum([size for _, size, _, _ in self._taken])
        self._taken, self._outcomes = [], []

    def _refuse_queue(self, error: Exception) -> None:
        self._taken, self._queue = [*self._queue], deque()
        self._queue_bytes = 0
        self._outcomes = [error] * len(self._taken)
        self._answer()

    def _answer(self) -> None:
        """Hand out the outcomes, and empty both lists on the way: objects that are freed one by one are still in the
        processor's cache. To free a large batch at the end took more than a tenth of the time of its puts."""
        taken, outcomes = self._taken, self._outcomes
        taken.reverse()
        outcomes.reverse()
        while taken:
            _, _, done, about = taken.pop()
            try:
                done(*about, outcomes.pop())
            except Exception as error:
                # The commit is durable: one connection that cannot take its answer must not keep others from theirs.
                log_unexpected(f"an answer from the writer of {self.name} was not taken", error)
