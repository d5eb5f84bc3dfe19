"""The contract of an engine that stores messages. One suite (`tests/streams/test_engines.py`) tests every engine.

A log is a sequence of entries, numbered one by one, each a group commit: bytes to the engine. Closed segments of it
have a row of their own: a header, which a start reads, and postings, which are read when they are needed.

The log may be shared: other gateways append to it too, and then `append` can be too late. Gateways may share the whole
storage too, segments and all: then one of them is the keeper, which closes and drops segments, and tells the others.

* When `append` returns True, its entry survives a crash of the process and of the machine. When it returns False or
  raises NotStored (but not Undecided), the entry is not in the log and cannot appear after a later write succeeded,
  such as that of `confirm`. Only a start after a process that died in between may find it, and only after Unsynced.
* Every entry after those of `load` goes to `take` of a follower, once and in order, whichever gateway appended it.
* `seal` and `drop` happen completely or not at all.
* Reads may run during writes; they show the log before or after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from hivewire.stopped import Stopped
from hivewire.telemetry import Gauges

LogName: TypeAlias = Literal["commands", "notifications"]

READ_BYTES = 4 << 20
"""`forward` stops after the entry that reaches this much, so that a reader cannot use all memory."""


LOGS: tuple[LogName, ...] = ("commands", "notifications")


class StoreError(Exception):
    """The engine cannot be opened; the message is a sentence for the operator."""


class Damaged(StoreError):
    """What is stored cannot be read: it has to be given up."""


class Loaded(Struct):
    """What a log has at start.

    `oldest` is its first entry, also when there is none. `clock` is that of the last `drop`, or 0. `headers` are those
    of the closed segments, `entries` the numbered ones behind them; both in order.
    """

    oldest: int
    clock: int
    headers: list[bytes]
    entries: list[tuple[int, bytes]]


class Follower(Protocol):
    """A follower of a log. Its methods do not raise, and may be called at any time, also during calls of the engine."""

    def take(self, number: int, entry: bytes) -> None:
        """The next entry, which is durable and can be read."""

    def closed(self, header: bytes) -> None:
        """The keeper of this storage, another gateway, has closed the first open segment."""

    def dropped(self, oldest: int) -> None:
        """What is before this entry is not there any more, perhaps entries that were never taken."""


class LogEngine(Protocol):
    """One log. Its writes are called one at a time. All methods but `load` raise NotStored or Unreadable."""

    epoch: str
    """The identity of this log: random, another one when its messages were lost."""

    shared: bool
    """Whether other gateways append to it too."""

    @property
    def keeper(self) -> bool:
        """Whether this gateway closes and drops segments. Of several on one storage it is one; it may change."""

    @property
    def stopped(self) -> Stopped | None:
        """Why nothing is taken or written any more, although others may go on; None while the log is followed."""

    async def load(self) -> Loaded:
        """The headers and entries at start; called first. Raises Damaged."""

    async def follow(self, follower: Follower) -> None:
        """From now on, hand every entry after those of `load` to a follower, and tell it what the keeper did.

        Once, in order, on the event loop; own entries before `append` returns, and as the same object.
        """

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Entered when an append may well be the next one: while others append too, they may go first.

        Within it one batch is evaluated and appended, or none. It only saves work: `append` can still be too late.
        """

    async def append(self, number: int, entry: bytes) -> bool:
        """Make an entry durable, the one with this number, which is the next one.

        False means that another one has it, which `take` has got by now; this entry will never be in the log. Raises
        Undecided when the outcome is unknown: an entry that appears later goes to `take` as usual.
        """

    async def confirm(self) -> None:
        """Return when `take` has got everything that was durable at the time of the call.

        After a failed append it writes something first, which shows whether the storage works again.
        """

    async def forward(self, number: int, take: int) -> list[tuple[int, bytes]]:
        """Up to `take` entries from this one on, in order, at least one if there is any, about READ_BYTES."""

    async def pick(self, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        """These entries, in order, as far as they are there."""

    async def seal(self, first: int, last: int, header: bytes, postings: bytes) -> None:
        """Close the segment of the entries from `first` to `last`; more may have come behind it."""

    async def postings(self, first: int) -> bytes | None:
        """The postings of the segment that begins with an entry; None when it was dropped."""

    async def drop(self, oldest: int, clock: int) -> None:
        """Remove all entries and segments before this entry, the oldest from now on, and remember a `clock`."""


class StreamEngine(Protocol):
    """Keeps both logs."""

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        """Open what belongs to this ledger, or begin without messages. Raises StoreError.

        With `damage`, which was found when loading, it begins without messages in any case. The old ones are set aside.
        """

    def log(self, name: LogName) -> LogEngine:
        """One of the logs."""

    def gauges(self) -> Gauges:
        """The metrics of this engine alone: a sentence and a function for each name."""

    async def close(self) -> None:
        """Release all resources. Always called, also after a failed `open`, and may be called twice."""
