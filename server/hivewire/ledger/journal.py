"""The contract of a durable engine.

An engine is an ordered log of changes, grouped in batches that are durable and visible as a whole or not at all. One
contract suite (`tests/ledger/test_engines.py`) holds every engine to these promises:

* When `append` returns, its changes survive a crash of the process and of the machine. When it raises NotDurable, none
  of them is there, and none comes back once a later write succeeded. Only a process that dies between the two may find
  them when it reads the log again: somebody was told "not written" and it was.
* Revisions of appended changes never decrease. An engine may be asked to append revisions with gaps.
* Of kinds in NO_HISTORY only the last change is kept: an older one is gone when `append` returns.
* Nothing else is removed but what `remove` names. What is needed is for the ledger to know.
* `epoch` names this history. It is random, made when the history begins, and a copy gets another one.
* Reads may run while an append is under way and show the log before it or after it.

Nothing here speaks of tables, files or rows, so that a replicated log with per-key compare-and-set can be an engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from hivewire.ledger.records import Change, Outline

NO_HISTORY = frozenset({"secret", "user"})
"""Kinds whose older changes are not kept: no history of password hashes and signing secrets."""

MAX_APPEND = 1_024
"""The most changes in one `append` or `remove`."""

SINCE_BYTES = 4 << 20
"""`since` stops behind the transaction with which this much content is reached, so that no reader takes all memory."""


class Journal(Protocol):
    """A durable engine, opened for this ledger alone."""

    async def load(self) -> None:
        """Open the log. Raises JournalError when it cannot be used, and leaves it as it was."""

    @property
    def epoch(self) -> str:
        """The name of this history."""

    @property
    def read_only(self) -> bool:
        """Whether every append will fail, because the log can be read but not written."""

    def changes(self) -> AsyncIterator[list[Change]]:
        """Everything that is kept, in the order in which it was appended, in portions."""

    async def append(self, changes: Sequence[Change]) -> None:
        """Make the changes durable, all or none. Raises NotDurable."""

    async def history(self, kind: str, key: str, *, revision: int, take: int) -> list[Change]:
        """The record's change of this revision and those before it, newest first, up to the first that was removed.

        Nothing when it has no change of this revision.
        """

    async def since(self, revision: int, *, take: int) -> list[Change]:
        """The changes after a revision in order: whole transactions, at least one if there is any.

        It ends with the transaction that reaches `take` changes or SINCE_BYTES of content.
        """

    async def outline(self, after: int, *, before: int, take: int) -> list[Outline]:
        """Of up to `take` changes behind the place `after`, in order, as long as their revision is below `before`.

        Costs no more for large contents than for small ones.
        """

    async def remove(self, places: Sequence[int]) -> None:
        """Let go for ever of the changes at these places, all or none, MAX_APPEND at most. Raises NotDurable."""

    async def notes(self) -> dict[str, str]:
        """The small facts outside of the log."""

    async def remember(self, notes: Mapping[str, str]) -> None:
        """Keep small facts outside of the log: no revision, no history, the last one wins. Raises NotDurable."""

    async def close(self) -> None:
        """Let go of everything; called on every way out, also after a failed load, and may be called twice."""


class JournalError(Exception):
    """The log cannot be used; the message is a sentence for the operator."""
