"""What the ledger holds: changes; and what it is asked to do: transactions of writes with preconditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class Change(Struct, gc=False):
    """One committed write of one record; a record's current state is its last change.

    `content` None is a delete. `id` counts the records of a kind and is never reused; `version` is 1 at creation and
    grows by one with every write; `revision` is the ledger's, shared by the changes of one transaction; `time` is
    milliseconds since 1970; `previous` is the revision of the record's change before this one, 0 for its first.
    `ordinal` counts the changes of one key through all its lives: how far a change lies behind the last one is told by
    these two alone. It starts again at 1 only when the key was forgotten.
    """

    revision: int
    kind: str
    key: str
    id: int
    version: int
    content: bytes | None
    content_type: str
    time: int
    author: str | None = None
    description: str | None = None
    previous: int = 0
    ordinal: int = 1


class Outline(Struct, gc=False):
    """What is known of a change without reading its content.

    `place` is the engine's own number of it: it grows along the log and never changes. `size` is its content in bytes.
    """

    place: int
    revision: int
    kind: str
    key: str
    ordinal: int
    size: int


class Precondition(Protocol):
    """What must be true of a record for a write to happen."""

    def holds(self, last: Change | None) -> bool:
        """Judge the record's last change: None when it was never heard of, `content` None when it is deleted."""


class Expected(Struct, gc=False):
    """The version and/or revision that the writer believes current; version 0 = the record does not exist."""

    version: int | None = None
    revision: int | None = None

    def holds(self, last: Change | None) -> bool:
        """Whether both, where given, are those of the record."""
        if self.version is not None and self.version != version_of(last):
            return False
        return self.revision is None or self.revision == (0 if last is None else last.revision)


def version_of(last: Change | None) -> int:
    """The version that a record is at: 0 when it does not exist (any more)."""
    return 0 if last is None or last.content is None else last.version


class Write(Struct, gc=False):
    """Put `content` under a key, or delete the record with content None, if every precondition holds."""

    kind: str
    key: str
    content: bytes | None
    content_type: str = ""
    description: str | None = None
    preconditions: tuple[Precondition, ...] = ()


class Transaction(Struct, gc=False):
    """Writes that happen together, under one revision, or not at all."""

    writes: Sequence[Write]
    author: str | None = None

    @property
    def size(self) -> int:
        """About how many bytes it holds on to while it waits: its content, and 1 KiB of objects for each write."""
        size = 0
        for write in self.writes:
            size += 1_024 + len(write.content or b"")
        return size


class LedgerError(Exception):
    """The base of what can go wrong here."""


class Refused(LedgerError):
    """A write of a transaction could not be; nothing was written. `last` is the record's last change, if any."""

    def __init__(self, index: int, write: Write, last: Change | None) -> None:
        super().__init__(f"{write.kind} {write.key!r}")
        self.index = index
        self.write = write
        self.last = last


class Mismatch(Refused):
    """A precondition did not hold."""

    def __init__(self, index: int, write: Write, last: Change | None, failed: Precondition) -> None:
        super().__init__(index, write, last)
        self.failed = failed


class Missing(Refused):
    """Nothing there to delete."""


class Unexpected(LedgerError):
    """The gateway itself failed while it judged the transaction: it was not written."""


class NotKept(LedgerError):
    """The log does not reach back so far (any more)."""


class NotDurable(LedgerError):
    """The journal could not take the change (disk full, read-only, I/O error, closing): it was not written."""


class Overloaded(NotDurable):
    """Too many changes wait for the journal already: it was not written."""
