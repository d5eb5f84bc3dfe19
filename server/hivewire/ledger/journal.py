"""The contract of a storage engine: `Journal`, its log, and `Engine`, through which a gateway gets that.

An engine is an ordered log of entries. An entry is a batch of changes that is durable and visible completely or not at
all. The log may be shared: other gateways append to it too, and then `append` can be too late. One contract suite
(`tests/ledger/test_engines.py`) tests every engine for these promises:

* When `append` returns True, its changes survive a crash of the process and of the machine. When it returns False or
  raises NotDurable (but not Undecided), none of them is in the log, and none can appear after a later write succeeded,
  such as that of `confirm`. Only a start after a process that died in between may find them, and only after Unsynced.
* Every entry after those of `changes` goes to `take` of `follow`, once and in order, whichever gateway appended it.
* Revisions of appended changes never decrease. They may have gaps.
* Kinds in NO_HISTORY keep only their last change: an older one is gone when `append` returns.
* A change of a kind in AUDITED has a row in the audit (`audit_row`), which is durable with it or not at all.
* Only `remove` and `remove_audit` remove anything else. The ledger knows what is needed.
* `epoch` identifies this history. It is random, chosen when the history begins, and a copy gets another one.
* Reads may run during an append; they show the log before it or after it.
* Several gateways may share not only the log but everything stored. Then one of them is the `keeper`, and the notes of
each are sent to the others.

The contract has no tables, files or rows, so that a replicated log can be an engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from hivewire.ledger.records import KINDS, AuditFilter, AuditRow, Change, Outline
from hivewire.stopped import Stopped
from hivewire_protocol.encoding import encode

if TYPE_CHECKING:
    from hivewire.telemetry import Gauges  # not at run time: commands that only ask for help would load it

NO_HISTORY = frozenset(kind for kind, rules in KINDS.items() if not rules.history)
"""Kinds whose older changes are not kept: no history of password hashes and signing secrets."""

AUDITED = frozenset(kind for kind, rules in KINDS.items() if rules.audited)
"""Kinds whose changes are rows of the audit too, written in the same append."""

MAX_APPEND = 1_024
"""The most changes in one `append` or `remove`, and rows in one `append_audit` or `remove_audit`."""

BATCH_BYTES = 4 << 20
"""The default of `batch_bytes`, so that no write waits behind hundreds of megabytes."""

SINCE_BYTES = 4 << 20
"""`since` stops after the transaction that reaches this much content, so that a reader cannot use all memory."""


class Entry(Struct, gc=False):
    """One batch of changes in the log, which may be empty. `place` is the engine's number of it; it increases."""

    place: int
    changes: Sequence[Change]


Take: TypeAlias = Callable[[Entry], None]
Recall: TypeAlias = Callable[[Mapping[str, str]], None]


class Copied(Struct, gc=False):
    """An entry of a shared log for the local copy. `id` is the log's name for it; `rows` are those of the audit."""

    place: int
    id: bytes
    changes: Sequence[Change]
    rows: Sequence[AuditRow]


def audit_row(change: Change) -> AuditRow:
    """The row for a change of a kind in AUDITED, without the content, which has hashes of secrets."""
    operation = "delete" if change.content is None else "put"
    members = {"operation": operation, "version": change.version, "revision": change.revision}
    detail = encode(members | ({"description": change.description} if change.description is not None else {}))
    return AuditRow(change.time, change.kind, change.key, change.id, change.author, detail=detail.decode())


class Journal(Protocol):
    """A storage engine, opened for this ledger alone."""

    tip: int
    """The place of the last entry that `take` or `changes` delivered. It moves only together with them."""

    batch_bytes: int
    """A batch is closed once it holds this much content."""

    shared: bool
    """Whether other gateways append to this log too, so that what was taken here may be behind it."""

    shares_notes: bool
    """Whether notes are stored together with those of other gateways, which come to the `recall` of `follow`."""

    append_seconds: float
    """How long an append may take until it raises Undecided by itself, as one over a network does; 0 if it does not."""

    @property
    def keeper(self) -> bool:
        """Whether this gateway removes what is no longer needed. Of several on one storage it is one; it may change."""

    @property
    def stopped(self) -> Stopped | None:
        """Why nothing is taken or written any more, although others may go on; None while the log is followed."""

    async def open(self) -> None:
        """Open the log. Raises JournalError when it cannot be used, and leaves it as it was."""

    @property
    def epoch(self) -> str:
        """The identity of this history."""

    @property
    def read_only(self) -> bool:
        """Whether every append will fail, because the log can be read but not written."""

    def changes(self) -> AsyncIterator[list[Change]]:
        """All changes in the log, in the order in which they were appended, in portions."""

    async def follow(self, take: Take, recall: Recall) -> None:
        """From now on, hand every entry after those of `changes` to `take`.

        Once, in order, on the event loop, when the entry is durable and `since` and `history` show it; own entries
        before `append` returns. `take` does not raise. It may be called at any time, also during `append` or `confirm`.
        `recall` gets the notes that other gateways have stored in the same storage, in order with the entries, before
        anything is removed.
        """

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Entered when an append may well be the next one: while others append too, they may go first.

        Within it one batch is evaluated and appended, or none. It only saves work: `append` can still be too late.
        """

    async def append(self, changes: Sequence[Change], *, behind: int) -> bool:
        """Make the changes durable, all or none, as the entry directly after the one at `behind`.

        False means that another entry is there, which `take` has got by now; this one will never be in the log. Raises
        NotDurable, and Undecided when the outcome is unknown: an entry that appears later goes to `take` as usual.
        """

    async def confirm(self, *, quorum: bool = False) -> None:
        """Return when `take` has got everything that was durable at the time of the call. Raises NotDurable.

        With `quorum` a commit proves that, such as one of an empty entry: without it a part of the storage may be asked
        that does not know yet that the others go on without it. A log that is not `shared` has nothing to prove. It may
        be called during an append. After a failed one it writes something first, which shows whether the storage works
        again.
        """

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """The record's change of this revision and earlier ones, newest first, up to the first that was removed.

        Empty when the record has no change of this revision.
        """

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """The changes after a revision in order: whole transactions, at least one if there is any.

        It ends with the transaction that reaches `take` changes or SINCE_BYTES of content.
        """

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """Outlines of up to `take` changes after the place `after`, in order, while their revision is below `before`.

        The cost does not depend on the size of contents.
        """

    async def remove(self, places: Sequence[int]) -> None:
        """Remove the changes at these places permanently, all or none, MAX_APPEND at most. Raises NotDurable."""

    async def append_audit(self, rows: Sequence[AuditRow]) -> None:
        """Store rows of the audit, all or none, outside of the log and of memory. Raises NotDurable."""

    async def read_audit(self, wanted: AuditFilter, *, before: int, take: int, skip: int = 0) -> list[AuditRow]:
        """Rows of the audit with a number below `before`, newest first; the first `skip` are left out."""

    async def remove_audit(self, numbers: Sequence[int]) -> None:
        """Remove rows of the audit permanently, MAX_APPEND at most. Raises NotDurable."""

    def gauges(self) -> Gauges:
        """Its metrics, beside those that the ledger has of every engine."""

    async def notes(self) -> dict[str, str]:
        """The small facts outside of the log."""

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Store small facts outside of the log, without revision and history; the last one wins, and an empty one is
        removed. Raises NotDurable."""

    async def close(self) -> None:
        """Release all resources. It is always called, also after a failed `open`, and may be called twice."""


class Block(NamedTuple):
    """A part of a snapshot: changes of whole transactions, rows of the audit, or notes."""

    changes: Sequence[Change] = ()
    rows: Sequence[AuditRow] = ()
    notes: Mapping[str, str] = {}


class Snapshot(Protocol):
    """A copy as it was at one moment: after the entry `id` at `place`."""

    place: int
    id: bytes

    def blocks(self) -> AsyncGenerator[Block, None]:
        """All changes in order, all rows of the audit and all notes; a few megabytes each, at least one of them."""


class Loadable(Protocol):
    """What can be filled with a snapshot."""

    async def begin(self, epoch: str) -> None:
        """Forget everything, and be a copy of the log with this epoch. Raises NotDurable."""

    async def load(self, block: Block) -> None:
        """After `begin`, add what is in a block of a snapshot. Raises NotDurable."""

    async def complete(self, place: int, id: bytes) -> None:
        """All blocks of a snapshot are there. Until then the copy counts as empty."""


class Cache(Loadable, Protocol):
    """The local copy of a shared log: what an engine over a network needs of one on the disk.

    It may lose its newest entries in a power cut, because the log has them. `place` and `id` name its last entry.
    """

    epoch: str
    place: int
    id: bytes

    async def open(self) -> None:
        """Open it; without a file it is empty, with an empty `epoch`. Raises JournalError, also for another ledger."""

    async def set_aside(self) -> None:
        """Keep what is here elsewhere, before `begin` forgets it. Raises NotDurable and JournalError."""

    async def store(self, entries: Sequence[Copied]) -> None:
        """Add the next entries, all or none. Raises NotDurable.

        Rows of the audit get numbers that follow from the place, so that they are the same in all copies.
        """

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """The copy as it is now, to be read while it goes on."""

    # As in `Journal`; what is removed is removed in this copy only.
    def changes(self) -> AsyncIterator[list[Change]]: ...  # noqa: D102
    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]: ...  # noqa: D102
    async def since(self, revision: int, *, take: int) -> list[Change]: ...  # noqa: D102
    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]: ...  # noqa: D102
    async def remove(self, places: Sequence[int]) -> None: ...  # noqa: D102
    async def read_audit(  # noqa: D102
        self, wanted: AuditFilter, *, before: int, take: int, skip: int = 0
    ) -> list[AuditRow]: ...
    async def remove_audit(self, numbers: Sequence[int]) -> None: ...  # noqa: D102
    async def notes(self) -> dict[str, str]: ...  # noqa: D102
    async def remember(self, notes: Mapping[str, str]) -> None: ...  # noqa: D102
    async def close(self) -> None: ...  # noqa: D102


class LocalEngine(Protocol):
    """The location on the disk that an engine over a network gets for its copy."""

    file: Path

    def require_free(self) -> None:
        """Raise JournalError when another process has it."""

    def cache(self) -> Cache:
        """The copy at this location, not open yet."""


class Engine(Protocol):
    """A storage engine, and where it keeps the ledger of a gateway. Nothing there is opened yet.

    This is all that may be known of it before the ledger is open.
    """

    address: str
    """Where the ledger is, for the operator: an absolute path, or a URL without secrets."""

    @property
    def file(self) -> Path | None:
        """The file that backup, dump and vacuum work on, as the settings name it; None when there is none."""

    def require_free(self) -> None:
        """Raise JournalError when another process has the ledger. It is quick; `Journal.open` looks again."""

    def journal(self, *, existing: bool = False, accept_loss: bool = False) -> Journal:
        """The log, not open yet. Raises JournalError when its address is invalid.

        With `existing`, `open` makes no new ledger: that is for commands on the ledger of a stopped gateway. With
        `accept_loss` it opens the log even if the last changes are known to be missing.
        """
