"""The current state of all records, in memory. It changes in one way only: by applying committed changes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from sortedcontainers import SortedKeyList, SortedList

from hivewire.ledger.records import KINDS, Change, Judge, WrongFile
from hivewire_protocol.patterns import Patterns

ID_BITS = 40
"""Above every id of a kind."""


def _place(change: Change) -> int:
    """Orders changes of one kind by revision. Unique, so that a delete is found among a thousand of one revision."""
    return change.revision << ID_BITS | change.id


def ranges(keys: SortedList, known: Container[str], names: Patterns) -> Iterator[tuple[int, int]]:
    """Half-open index ranges of ordered keys that the patterns cover, in order and disjoint. `known`: the same keys."""
    found = []
    for name in names.exact:
        if name in known:
            start = keys.bisect_left(name)
            found.append((start, start + 1))
    for prefix in names.prefixes:
        found.append((keys.bisect_left(prefix), _end_of(keys, prefix)))
    return iter(sorted(found))


def _end_of(keys: SortedList, prefix: str) -> int:
    """The index after the last key with this prefix."""
    # Where the next prefix of this length would begin: its last character is one higher. After the highest character
    # there is none, and the shorter prefix has the same end.
    while prefix:
        if prefix[-1] < "\U0010ffff":
            return int(keys.bisect_left(prefix[:-1] + chr(ord(prefix[-1]) + 1)))
        prefix = prefix[:-1]
    return len(keys)


class Kind:
    """The records of one kind: `live` by key, their keys in order, the deleted ones, the id counter.

    `tombstones` are the last changes of deleted records, by key, as long as they are in the log. `judge` decides about
    new contents; None while all are right.
    """

    __slots__ = ("_deletes", "judge", "keys", "last_id", "live", "tombstones")

    def __init__(self) -> None:
        self.live: dict[str, Change] = {}
        self.tombstones: dict[str, Change] = {}
        self.keys: SortedList[str] = SortedList()
        self._deletes: SortedKeyList[Change, int] = SortedKeyList(key=_place)
        self.last_id = 0
        self.judge: Judge | None = None

    def last(self, key: str) -> Change | None:
        """The record's last change, a delete included."""
        return self.live.get(key) or self.tombstones.get(key)

    def apply(self, change: Change) -> None:
        """Make a committed change the record's current state."""
        key = change.key
        if change.content is not None:
            if change.version == 1:  # a new record
                self.keys.add(key)
                self.forget(key)
                self.last_id = max(self.last_id, change.id)
            self.live[key] = change
        else:
            if self.live.pop(key, None) is not None:
                self.keys.remove(key)
            self.tombstones[key] = change
            self._deletes.add(change)

    def forget(self, key: str) -> None:
        """Drop a tombstone, because the record was written again or no log needs it."""
        if (change := self.tombstones.pop(key, None)) is not None:
            self._deletes.remove(change)

    def forget_before(self, revision: int) -> None:
        """Drop all tombstones before a revision, of which there may be a hundred thousand, at once."""
        end = self._deletes.bisect_key_left(revision << ID_BITS)
        for change in self._deletes[:end]:
            del self.tombstones[change.key]
        del self._deletes[:end]

    def load(self, change: Change) -> None:
        """Apply the next change of the log at start; `sort` is called when all are there."""
        if change.content is None:
            self.live.pop(change.key, None)
            self.tombstones[change.key] = change
        else:
            self.live[change.key] = change
            if change.version == 1:
                self.tombstones.pop(change.key, None)
        if change.id > self.last_id:
            self.last_id = change.id

    def sort(self) -> None:
        """Put the keys in order, all at once, which is much faster than one by one."""
        self.keys = SortedList(self.live)
        self._deletes = SortedKeyList(self.tombstones.values(), key=_place)

    def deleted_between(self, after: int, before: int) -> Iterator[Change]:
        """The tombstones between two revisions, both exclusive, newest first."""
        return iter(self._deletes.irange_key((after + 1) << ID_BITS, before << ID_BITS, (True, False), reverse=True))

    def ranges(self, names: Patterns) -> Iterator[tuple[int, int]]:
        """Half-open index ranges of the ordered keys that the patterns cover, in order and disjoint."""
        return ranges(self.keys, self.live, names)

    def range(self, prefix: str) -> tuple[int, int]:
        """The half-open index range of the ordered keys that begin with a prefix."""
        return int(self.keys.bisect_left(prefix)), _end_of(self.keys, prefix)

    def within(self, names: Patterns, after: str = "") -> Iterator[str]:
        """The keys that the patterns cover, in order; only those after the key `after`."""
        first = self.keys.bisect_right(after) if after else 0
        for start, end in self.ranges(names):
            if end > first:
                yield from self.keys.islice(max(start, first), end)


class State:
    """The records of all kinds at `revision`, the ledger's.

    `oldest` is the first revision from which the log of changes is complete. It never decreases.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.oldest = 1
        self.kinds = {name: Kind() for name in KINDS}

    def kind(self, name: str) -> Kind:
        """The records of one kind, for reading. Raises ValueError for a kind that is not in KINDS."""
        if name not in self.kinds:
            raise ValueError(f"{name!r} is no kind of record: KINDS in ledger/records.py has no row for it")
        return self.kinds[name]

    def logged(self, name: str) -> Kind:
        """The records of a kind that is in the log. Raises WrongFile for one that only newer versions know."""
        if name not in self.kinds:
            raise WrongFile(
                f"the ledger has records of kind {name!r}, which this version of Hivewire does not know; use the"
                " version that wrote it, or a newer one"
            )
        return self.kinds[name]

    def get(self, kind: str, key: str) -> Change | None:
        """The last change of a record that exists."""
        found = self.kinds.get(kind)
        return found.live.get(key) if found is not None else None

    def forget(self, before: int) -> None:
        """Forget records whose last change is a delete before this revision."""
        for kind in self.kinds.values():
            kind.forget_before(before)

    def apply(self, changes: Sequence[Change]) -> None:
        """Apply one or more committed changes, the next in the log."""
        kinds = self.kinds
        for change in changes:
            (kinds.get(change.kind) or self.logged(change.kind)).apply(change)
        self.revision = changes[-1].revision

    def load(self, changes: Iterable[Change]) -> None:
        """Apply the next changes of the log at start; `sort` is called when all are there."""
        for change in changes:
            self.logged(change.kind).load(change)
            if change.revision > self.revision:
                self.revision = change.revision

    def sort(self) -> None:
        """Put the keys of all kinds in order."""
        for kind in self.kinds.values():
            kind.sort()
