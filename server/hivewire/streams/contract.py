"""The contract of an engine that stores messages. One suite (`tests/streams/test_engines.py`) tests every engine.

A log is a sequence of entries, numbered one by one, each a group commit: bytes to the engine. Closed segments of it
have a row of their own: a header, which a start reads, and postings, which are read when they are needed.

* When `append` returns, its entry survives a crash of the process and of the machine. When it raises, the entry is not
  in the log and cannot appear after a later write succeeded, such as that of `confirm`. Only a start after a process
  that died in between may find it.
* `seal` and `drop` happen completely or not at all.
* Reads may run during writes; they show the log before or after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

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


class LogEngine(Protocol):
    """One log. Its writes are called one at a time. All methods but `load` raise NotStored or Unreadable."""

    epoch: str
    """The identity of this log: random, another one when its messages were lost."""

    async def load(self) -> Loaded:
        """What there is; called once, first. Raises Damaged."""

    async def append(self, number: int, entry: bytes) -> None:
        """Make an entry durable, the one after the last."""

    async def confirm(self) -> None:
        """After a failed append: write something, which shows whether the storage works again."""

    async def forward(self, number: int, take: int) -> list[tuple[int, bytes]]:
        """Up to `take` entries from this one on, in order, at least one if there is any, about READ_BYTES."""

    async def pick(self, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        """These entries, in order, as far as they are there."""

    async def seal(self, first: int, header: bytes, postings: bytes) -> None:
        """Close the segment that begins with an entry."""

    async def postings(self, first: int) -> bytes | None:
        """The postings of the segment that begins with an entry; None when it was dropped."""

    async def drop(self, oldest: int, clock: int) -> None:
        """Remove all entries and segments before this entry, the oldest from now on, and remember a `clock`."""


class StreamEngine(Protocol):
    """Keeps both logs."""

    async def open(self, ledger_epoch: str, *, damage: str | None = None) -> None:
        """Open what belongs to this ledger, or begin anew. Raises StoreError.

        With `damage`, what was found by loading it, it begins anew in any case. What was there is set aside.
        """

    def log(self, name: LogName) -> LogEngine:
        """One of the logs."""

    async def close(self) -> None:
        """Release all resources. Always called, also after a failed `open`, and may be called twice."""
