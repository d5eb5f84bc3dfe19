"""Evaluation of transactions at a certain tip of the log, each against the result of those before it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hivewire.ledger.records import (
    KINDS,
    Change,
    Guard,
    Missing,
    Outcome,
    PreconditionFailed,
    Refused,
    Transaction,
    Unexpected,
    Unfit,
    Write,
)
from hivewire.ledger.state import Kind, State
from hivewire.unexpected import log_unexpected


class Draft:
    """One kind of records after the batch: the committed state, overlaid with the changes of the batch."""

    __slots__ = ("changes", "count", "first_id", "judge", "last_id", "live", "tombstones")

    def __init__(self, kind: Kind) -> None:
        self.changes: dict[str, Change] = {}
        self.live = kind.live
        self.tombstones = kind.tombstones
        self.count = len(kind.live)
        self.first_id = self.last_id = kind.last_id
        self.judge = kind.judge

    def last(self, key: str) -> Change | None:
        """The record's last change."""
        return self.changes.get(key) or self.live.get(key) or self.tombstones.get(key)

    def take_back(self, change: Change, before: Change | None) -> None:
        """Undo the latest change of a record whose previous change was `before`."""
        if before is None:
            del self.changes[change.key]
        else:
            self.changes[change.key] = before
        self.count += (before is not None and before.content is not None) - (change.content is not None)
        # The write had got a new id, which is free again. An id that a write itself names (`Write.id`) is an older one.
        if change.version == 1 and change.id > self.first_id:
            self.last_id -= 1


class Batch:
    """Transactions evaluated together, valid if their changes are appended directly after `tip`.

    Ids, versions, revisions and times are assigned here, for this tip. If another entry is appended first they are
    invalid, and the same transactions are evaluated again in a new batch. The batch is the `EvaluatedState` of its
    preconditions.
    """

    __slots__ = ("_befores", "_drafts", "_revision", "_state", "_time", "changes", "is_last", "tip")

    def __init__(self, state: State, tip: int, time: int) -> None:
        self.tip = tip
        self.changes: list[Change] = []
        """The changes of all transactions so far."""
        self.is_last = False
        """Whether what comes next has to wait for this batch, which may end the rights to it."""
        self._befores: list[Change | None] = []  # for each change the previous one of its record, to undo it
        self._drafts: dict[str, Draft] = {}
        self._state = state
        self._revision = state.revision
        self._time = time

    def evaluate(self, transaction: Transaction) -> Outcome:
        """The outcome of the transaction, after everything evaluated before it."""
        start = len(self.changes)
        error: Refused | Unexpected
        try:
            if transaction.guards:
                self._check(transaction.guards, len(transaction.writes))
            for index, write in enumerate(transaction.writes):
                self._write(index, write, transaction.author)
        except Refused as refused:
            error = refused
        except Exception as unexpected:
            log_unexpected("a transaction could not be evaluated", unexpected)
            error = Unexpected("internal error")
        else:
            changes = self.changes[start:]
            # What a dry run would write must not be seen by those behind it in the batch.
            if transaction.dry_run:
                self._take_back(start)
            elif changes:
                self._revision += 1
            return changes
        self._take_back(start)
        return error

    def _check(self, guards: Sequence[Guard], index: int) -> None:
        for number, guard in enumerate(guards, index):
            last = self.last(guard.kind, guard.key)
            for precondition in guard.preconditions:
                if not precondition.holds(last, self):
                    raise PreconditionFailed(number, guard, last, precondition)

    def _write(self, index: int, write: Write, author: str | None) -> None:
        # Every put comes through here, so lookups are written out instead of calling `last`.
        kind, key, content = write.kind, write.key, write.content
        draft = self._drafts.get(kind) or self._draft(kind)
        last = draft.changes.get(key) or draft.live.get(key) or draft.tombstones.get(key)
        for precondition in write.preconditions:
            if not precondition.holds(last, self):
                raise PreconditionFailed(index, write, last, precondition)
        if draft.judge is not None and content is not None:
            error = draft.judge(write, self)
            if error is not None:
                raise Unfit(index, write, last, error)
        if last is not None:
            # The same string object for all changes of a record: it takes memory once, and dictionaries find it without
            # comparing characters.
            key = last.key
        # A record that exists keeps its id. A new one of a name that was deleted gets another id and starts at version
        # 1, so tokens and privileges of the earlier record do not count for it.
        if last is not None and last.content is not None:
            number, version = last.id, last.version + 1
            if content is None:
                draft.count -= 1
        elif content is not None:
            number, version = write.id, 1
            if not number:
                number = draft.last_id = draft.last_id + 1
            draft.count += 1
            key = key or str(number)
        elif write.if_present:
            return
        else:
            raise Missing(index, write, last)
        change = draft.changes[key] = Change(
            revision=self._revision + 1,
            kind=kind,
            key=key,
            id=number,
            version=version,
            content=content,
            content_type=write.content_type,
            # The time of a record never goes back, whatever the clock does.
            time=self._time if last is None or last.time <= self._time else last.time,
            author=author,
            description=write.description,
            previous=0 if last is None else last.revision,
            ordinal=1 if last is None else last.ordinal + 1,
        )
        self.changes.append(change)
        self._befores.append(last)

    def _take_back(self, start: int) -> None:
        """Undo the first writes of a transaction whose later one was refused."""
        while len(self.changes) > start:
            change = self.changes.pop()
            self._drafts[change.kind].take_back(change, self._befores.pop())

    def _draft(self, kind: str) -> Draft:
        draft = self._drafts.get(kind)
        if draft is None:
            draft = self._drafts[kind] = Draft(self._state.kind(kind))
            self.is_last = self.is_last or KINDS[kind].rights
        return draft

    # As an `EvaluatedState`.

    def last(self, kind: str, key: str) -> Change | None:
        """The record's last change."""
        return self._draft(kind).last(key)

    def count(self, kind: str) -> int:
        """How many records of this kind exist."""
        return self._draft(kind).count

    def written(self, kind: str) -> Collection[Change]:
        """The last changes of the records of this kind that were written since the last commit."""
        return self._draft(kind).changes.values()
