"""The contract of a storage engine.

An engine is an ordered log of entries. An entry is a batch of changes that is durable and visible as a whole or not at
all. The log may be shared: other gateways append to it too, and then `append` can come too late. One contract suite
(`tests/ledger/test_engines.py`) holds every engine to these promises:

* When `append` returns True, its changes survive a crash of the process and of the machine. When it returns False or
  raises NotDurable (but not Undecided), none of them is there, and none comes back once a later write succeeded, such
  as that of `confirm`. Only a start after a process that died between the two may find them in the log.
* Every entry behind what `changes` told goes to `take` of `follow`, once and in order, whoever appended it.
* Revisions of appended changes never decrease. An engine may be asked to append revisions with gaps.
* Of kinds in NO_HISTORY only the last change is kept: an older one is gone when `append` returns.
* Of a change of a kind in AUDITED there is a row of the audit (`audit_row`), durable with it or not at all.
* Nothing else is removed but what `remove` and `forget` name. The ledger knows what is needed.
* `epoch` names this history. It is random, made when the history begins, and a copy gets another one.
* Reads may run while an append is under way and show the log before it or after it.

Nothing here speaks of tables, files or rows, so that a replicated log can be an engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from hivewire.ledger.records import AuditRow, Change, Outline

NO_HISTORY = frozenset({"secret", "user", "client"})
"""Kinds whose older changes are not kept: no history of password hashes and signing secrets."""

AUDITED = frozenset({"user", "client", "tenant", "revocation"})
"""Kinds whose changes are rows of the audit too, written in the same append."""

MAX_APPEND = 1_024
"""The most changes in one `append` or `remove`, and rows in one `record` or `forget`."""

BATCH_BYTES = 4 << 20
"""The default of `batch_bytes`, so that no write waits behind hundreds of megabytes."""

SINCE_BYTES = 4 << 20
"""`since` stops after the transaction that reaches this much content, so that a reader cannot use all memory."""


class Entry(Struct, gc=False):
    """One batch of changes in the log, which may be empty. `place` is the engine's number of it and grows."""

    place: int
    changes: Sequence[Change]


Take: TypeAlias = Callable[[Entry], None]


class AuditFilter(Struct, frozen=True):
    """Which rows of the audit are wanted: None means any. `others` turns `kind` round; `until` is the latest time."""

    kind: str | None = None
    others: bool = False
    subject: str | None = None
    record: int | None = None
    author: str | None = None
    until: int | None = None

    def matches(self, row: AuditRow) -> bool:
        """Whether a row is wanted."""
        return (
            (self.kind is None or (row.kind == self.kind) is not self.others)
            and self.subject in (None, row.subject)
            and self.record in (None, row.record)
            and self.author in (None, row.author)
            and (self.until is None or row.time <= self.until)
        )


def audit_row(change: Change) -> AuditRow:
    """The row for a change of a kind in AUDITED. It has nothing of the content, which holds hashes of secrets."""
    operation = "delete" if change.content is None else "put"
    detail = f'{{"operation":"{operation}","version":{change.version},"revision":{change.revision}}}'
    return AuditRow(change.time, change.kind, change.key, change.id, change.author, detail=detail)


class Journal(Protocol):
    """A storage engine, opened for this ledger alone."""

    tip: int
    """The place of the last entry that `take` or `changes` delivered. It moves only together with them."""

    batch_bytes: int
    """A batch is closed once it holds this much content."""

    async def open(self) -> None:
        """Open the log. Raises JournalError when it cannot be used, and leaves it as it was."""

    @property
    def epoch(self) -> str:
        """The name of this history."""

    @property
    def read_only(self) -> bool:
        """Whether every append will fail, because the log can be read but not written."""

    def changes(self) -> AsyncIterator[list[Change]]:
        """Everything that is kept, in the order in which it was appended, in portions."""

    async def follow(self, take: Take) -> None:
        """From now on, hand every entry after those of `changes` to `take`.

        Once, in order, on the event loop, when it is durable and `since` and `history` show it; those of our own before
        `append` returns. `take` does not raise. An entry may come at any time, also while `append` or `confirm` runs.
        """

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        """Make the changes durable, all or none, as the entry directly after the one at `behind`.

        False says that another entry stands there, which `take` had meanwhile; this one never will be there. Raises
        NotDurable, and Undecided when nobody knows: should the entry turn up later, `take` gets it like any other.
        """

    async def confirm(self) -> None:
        """Return when `take` had everything that was durable when this was called. Raises NotDurable.

        After an append that failed it writes something first, so that it tells whether the storage works again.
        """

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """The record's change of this revision and those before it, newest first, up to the first that was removed.

        Nothing when it has no change of this revision.
        """

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """The changes after a revision in order: whole transactions, at least one if there is any.

        It ends with the transaction that reaches `take` changes or SINCE_BYTES of content.
        """

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """Of up to `take` changes after the place `after`, in order, as long as their revision is below `before`.

        Costs no more for large contents than for small ones.
        """

    async def remove(self, places: Sequence[int]) -> None:
        """Remove the changes at these places for ever, all or none, MAX_APPEND at most. Raises NotDurable."""

    async def record(self, rows: Sequence[AuditRow]) -> None:
        """Keep rows of the audit, all or none: outside of the log and of memory. Raises NotDurable."""

    async def recorded(self, wanted: AuditFilter, *, before: int, take: int, skip: int = 0) -> list[AuditRow]:
        """Rows of the audit with a number below `before`, newest first, without the first `skip`."""

    async def forget(self, numbers: Sequence[int]) -> None:
        """Remove rows of the audit for ever, MAX_APPEND at most. Raises NotDurable."""

    async def notes(self) -> dict[str, str]:
        """The small facts outside of the log."""

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Keep small facts outside of the log: no revision, no history, the last one wins. Raises NotDurable."""

    async def close(self) -> None:
        """Release everything. It is called on every way out, also after a failed open, and may be called twice."""


class JournalError(Exception):
    """The log cannot be used; the message is a sentence for the operator."""
