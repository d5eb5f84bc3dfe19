"""Checks what subscribers received against the ledger's history (configuration contract, sections 4, 8 and 11).

No sockets here. A subscriber records each frame in a Watch as it arrives. Afterwards a Checker compares the record with
the changes that the History says it should have received. The tests over the wire and the soak run share it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from sys import intern
from typing import Any, NamedTuple
from zlib import crc32

SNAPSHOT_BYTES = 256 << 10
"""The most in one snapshot frame that has more than one configuration."""

STRICT_RUNS = True
"""Whether conflated runs are checked for more than the right state at their end: every frame must say `conflated`, also
for changes made during the run; no change may be repeated from before the run, from a transaction that it interrupts or
from a run that it replaces; and no delete may follow a newer change of its name."""


class ObservedChange(NamedTuple):
    """A change of one name as a subscriber or a history shows it. `value` is None for a delete; see `brief`."""

    revision: int
    name: str
    version: int
    value: str | None


class SnapshotEntry(NamedTuple):
    """One configuration of a snapshot."""

    name: str
    version: int
    value: str | None


class Violation(AssertionError):
    """A broken guarantee. `kind` is one of KINDS, the text is the evidence."""

    def __init__(self, kind: str, evidence: str) -> None:
        super().__init__(f"{kind}: {evidence}")
        self.kind = kind


KINDS = ("lost", "duplicated", "out of order", "torn transactions", "inconsistent", "not linearizable")


def brief(value: str | None) -> str | None:
    """A value; a long one is replaced by its beginning, length and checksum."""
    if value is None or len(value) <= 64:
        return value
    return f"{value[:32]}...{len(value)}:{crc32(value.encode()):08x}"


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether a name matches exact names, or prefixes ending in `*`."""
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in patterns)


def revision_of(position: str) -> int:
    """The revision in a position. Positions are opaque to clients; only tests look inside."""
    return int(position.rpartition("-")[2])


def change_of(members: dict[str, Any]) -> ObservedChange:
    """The change in a push or in a row of a history."""
    resource = members["configuration"]
    deleted = members["operation"] == "delete"
    if deleted != (resource["value"] is None):
        raise Violation("inconsistent", f"a {members['operation']} with the value {resource['value']!r}")
    return ObservedChange(
        members["revision"], intern(resource["name"]), resource["entityVersion"], brief(resource["value"])
    )


class History:
    """Every change of the ledger by revision; changes of one transaction keep their order."""

    def __init__(self, changes: Iterable[ObservedChange]) -> None:
        self.changes = sorted(changes, key=lambda change: change.revision)
        self.known = set(self.changes)

    def expected(self, serves: Callable[[str], bool]) -> ExpectedChanges:
        """The changes of the names that `serves` accepts."""
        return ExpectedChanges([change for change in self.changes if serves(change.name)])


class ExpectedChanges:
    """The changes that one watcher should receive. A place among them is the number of changes before it."""

    def __init__(self, changes: Sequence[ObservedChange]) -> None:
        self.changes = changes
        self._revisions = [change.revision for change in changes]
        self._state: dict[str, ObservedChange] = {}
        self._place = 0

    def __len__(self) -> int:
        return len(self.changes)

    def after(self, revision: int) -> int:
        """The place after all changes up to a revision."""
        return bisect_right(self._revisions, revision)

    def between(self, place: int) -> bool:
        """Whether this place is between two transactions, not inside one."""
        return not 0 < place < len(self) or self._revisions[place - 1] != self._revisions[place]

    def state(self, place: int) -> dict[str, ObservedChange]:
        """The state at a place. The next call changes the returned dictionary."""
        if place < self._place:
            self._state, self._place = {}, 0
        for change in self.changes[self._place : place]:
            apply(self._state, change)
        self._place = place
        return self._state

    def next_to(self, place: int, cursor: str) -> int:
        """The place of the next change of a name up to the cursor, from a place on."""
        while place < len(self) and self.changes[place].name > cursor:
            place += 1
        return place


def apply(state: dict[str, ObservedChange], change: ObservedChange) -> None:
    """Apply a change to a state."""
    if change.value is None:
        state.pop(change.name, None)
    else:
        state[change.name] = change


class Subscribed(NamedTuple):
    """A subscription began. `revision` is that of the position in the reply, if any; `floor` is a revision that the
    ledger had reached before the request."""

    mode: str
    revision: int | None
    floor: int


class Update(NamedTuple):
    """An update; `revision` is that of its position, None when more of its transaction follows."""

    change: ObservedChange
    revision: int | None
    conflated: bool


class SnapshotFrame(NamedTuple):
    """A snapshot frame; `revision` is that of its position, which only the last frame has."""

    entries: tuple[SnapshotEntry, ...]
    revision: int | None
    reset: bool


class Bookmark(NamedTuple):
    """A bookmark."""

    revision: int


class Disconnected(NamedTuple):
    """The connection or the subscription ended."""


Event = Subscribed | Update | SnapshotFrame | Bookmark | Disconnected


class Watch:
    """One watcher over any number of connections: its names, the events it received, and its last position.

    `inside`: it is inside a transaction or a snapshot. `seen` counts events by kind.
    """

    def __init__(
        self, label: str, names: Sequence[str], allowed: Sequence[str] = ("*",), conflate: bool = True
    ) -> None:
        self.label = label
        self.names = names
        self.allowed = allowed
        self.conflate = conflate
        self.events: list[Event] = []
        self.seen: Counter[str] = Counter()
        self.position: str | None = None
        self.inside = False
        self._shared: dict[Event, Event] = {}

    def share(self, events: dict[Event, Event]) -> None:
        """Store equal events of several watches once, to save memory. The caller clears the dictionary at times."""
        self._shared = events

    def serves(self, name: str) -> bool:
        """Whether the watcher should receive changes of this name."""
        return matches(self.names, name) and matches(self.allowed, name)

    def begin(self, reply: dict[str, Any], floor: int) -> None:
        """Record the reply to a subscription. Raises Violation."""
        mode, position = reply["mode"], reply.get("position")
        expected = ("resumed", "reset") if self.position is not None else ("snapshot", "live")
        if mode not in expected or (position is None) != (mode in ("snapshot", "reset")):
            raise Violation("inconsistent", f"{self.label}: {reply}, subscribed since {self.position}")
        if mode == "reset" and not revision_of(self.position or "") < reply["oldest"] - 1:
            raise Violation("inconsistent", f"{self.label}: {reply}, though {self.position} is covered")
        if mode == "resumed" and position != self.position:
            raise Violation("inconsistent", f"{self.label}: {reply}, subscribed since {self.position}")
        self.seen[mode] += 1
        self.inside = position is None
        self.position = position or self.position
        self.events.append(Subscribed(mode, None if position is None else revision_of(position), floor))

    def take(self, what: str, members: dict[str, Any], size: int) -> None:
        """Record an `update`, `snapshot` or `bookmark`; `size` is the bytes of its frame. Raises Violation."""
        position = members.get("position")
        revision = None if position is None else revision_of(position)
        if revision is not None and revision < self.reached:
            raise Violation("out of order", f"{self.label}: behind {self.position} the position {position}")
        event: Event
        if what == "update":
            if (position is None) != members.get("more", False):
                raise Violation("torn transactions", f"{self.label}: neither a position nor more, or both: {members}")
            conflated = members.get("conflated", False)
            self.seen["conflated runs"] += conflated and position is not None
            copying = bool(self.events) and isinstance(self.events[-1], SnapshotFrame) and self.inside
            self.seen["conflated" if conflated else "pushed between" if copying else "updates"] += 1
            event = Update(change_of(members), revision, conflated)
        elif what == "snapshot":
            entries = members["configurations"]
            if (position is None) == members["last"] or (size > SNAPSHOT_BYTES and len(entries) > 1):
                raise Violation("inconsistent", f"{self.label}: a snapshot frame of {size} bytes: {str(members)[:300]}")
            self.seen["snapshot frames"] += 1
            self.seen["of several"] += position is None
            self.seen["resets on the way"] += members.get("reset", False)
            found = (SnapshotEntry(each["name"], each["entityVersion"], brief(each["value"])) for each in entries)
            event = SnapshotFrame(tuple(found), revision, members.get("reset", False))
        else:
            if revision is None:
                raise Violation("inconsistent", f"{self.label}: a bookmark without a position: {members}")
            self.seen["bookmarks"] += 1
            event = Bookmark(revision)
        self.inside = position is None
        self.position = position or self.position
        self.events.append(self._shared.setdefault(event, event))

    def cut(self) -> None:
        """Record the end of the connection or subscription. An incomplete transaction or snapshot is dropped."""
        self.seen["cut inside a group"] += self.inside
        self.inside = False
        self.events.append(Disconnected())

    @property
    def reached(self) -> int:
        """The revision up to which it has received everything; -1 before the first position."""
        return revision_of(self.position) if self.position is not None else -1


class Checker:
    """Compares the events of a watch, one after the other, with the expected changes. Raises Violation.

    `place` is how far a live subscription has come among them, `reached` the revision of its last position. A snapshot
    frame does not say at which revision it was read, so during a snapshot there are several possible `places`; `cursor`
    is the last name received by then. `state` is the state of a client that applies each group (a transaction or a
    conflated run) when it is complete.
    """

    def __init__(self, watch: Watch, history: History, compare_every: int = 1) -> None:
        self.state: dict[str, ObservedChange] = {}
        self._watch = watch
        self._known = history.known
        self._expected = history.expected(watch.serves)
        self._compare_every = compare_every
        self._events: Sequence[Event] = watch.events
        self._number = 0
        self._handle: Callable[[Any], None] = self._not_subscribed
        self._place = self._reached = 0
        self._group: list[ObservedChange] = []
        self._places: list[int] = []
        self._cursor = ""
        self._copied: dict[str, ObservedChange] = {}

    def check(self) -> dict[str, ObservedChange]:
        """Check all events and return the state at the end."""
        for number, event in enumerate(self._events):
            self._number = number
            if isinstance(event, Subscribed):
                self._begin(event)
            elif isinstance(event, Disconnected):
                self._group, self._handle = [], self._not_subscribed
            elif isinstance(event, SnapshotFrame) and event.reset:
                if self._handle == self._not_subscribed:
                    self._fail("inconsistent", "pushed without a subscription")
                self._start_copying(self._lowest())
                self._copying(event)
            else:
                self._handle(event)
        return self.state

    def finish(self, revision: int) -> None:
        """Check that the watcher reached this revision and has the ledger's state."""
        expected = self._expected
        if self._handle != self._following or self._group or self._place < expected.after(revision):
            missing = expected.changes[self._place] if self._place < len(expected) else f"the way to {revision}"
            self._fail("lost", f"it ends at place {self._place} of {len(expected)}, before {missing}")
        self._compare()

    # Where the watcher is.

    def _begin(self, event: Subscribed) -> None:
        if self._handle != self._not_subscribed:
            self._fail("inconsistent", "subscribed twice")
        if event.mode in ("snapshot", "reset"):
            self._start_copying(self._expected.after(event.floor))
            return
        assert event.revision is not None
        if event.mode == "live":
            if event.revision < event.floor:
                self._fail("inconsistent", f"live from {event.revision}, though {event.floor} was answered before")
            self.state = dict(self._expected.state(self._expected.after(event.revision)))
        self._follow(event.revision)

    def _follow(self, revision: int) -> None:
        self._place, self._reached = self._expected.after(revision), revision
        self._group, self._handle = [], self._following

    def _start_copying(self, lowest: int) -> None:
        self._places, self._cursor, self._copied, self._handle = [lowest], "", {}, self._copying

    def _lowest(self) -> int:
        """The lowest place at which the last event can have been sent."""
        return min(self._places) if self._handle == self._copying else self._place

    def _compare(self) -> None:
        truth = self._expected.state(self._place)
        if self.state != truth:
            odd = {name for name in self.state.keys() | truth.keys() if self.state.get(name) != truth.get(name)}
            shown = [(self.state.get(name), truth.get(name)) for name in sorted(odd)[:3]]
            self._fail("inconsistent", f"the state differs from the ledger's (has, should have): {shown}")

    # One method for each kind of phase; each takes the next event.

    def _not_subscribed(self, event: Event) -> None:
        self._fail("inconsistent", "pushed without a subscription")

    def _following(self, event: Update | SnapshotFrame | Bookmark) -> None:
        expected = self._expected
        if isinstance(event, SnapshotFrame):
            self._fail("inconsistent", "a snapshot frame for a live subscription")
        elif isinstance(event, Bookmark):
            self._check_whole(event.revision)
            self._follow(event.revision)
        elif event.conflated or (not STRICT_RUNS and self._opens_a_run(event)):
            self._handle = self._conflating
            self._conflating(event)
        else:
            if self._place == len(expected) or expected.changes[self._place] != event.change:
                self._explain(event.change)
            self._place += 1
            self._group.append(event.change)
            last = expected.between(self._place)
            if event.revision != (event.change.revision if last else None):
                self._fail("torn transactions", f"{'the last' if last else 'not the last'} one of its transaction")
            if last:
                self._reached = event.change.revision
                self._end_group()

    def _opens_a_run(self, event: Update) -> bool:
        """Whether changes before it are missing and its group is conflated further on."""
        expected, place = self._expected.changes, self._place
        if event.revision is not None or place == len(expected) or event.change.revision <= expected[place].revision:
            return False
        for later in self._events[self._number :]:
            if isinstance(later, Update) and later.conflated:
                return True
            if not isinstance(later, Update) or later.revision is not None:
                return isinstance(later, Bookmark)
        return False

    def _end_group(self) -> None:
        for change in self._group:
            apply(self.state, change)
        self._group = []
        if self._place % self._compare_every == 0:
            self._compare()

    def _check_whole(self, revision: int) -> None:
        """Check that nothing up to a revision is missing and no transaction is incomplete."""
        if self._group:
            self._fail("torn transactions", f"a bookmark behind {self._group}")
        if self._place < self._expected.after(revision):
            self._fail("lost", f"{self._expected.changes[self._place]} is missing before {self._event}")

    def _conflating(self, event: Update | SnapshotFrame | Bookmark) -> None:
        """A conflated run has the latest change of each name in any order. Only the state at its end is compared."""
        if isinstance(event, SnapshotFrame):
            self._fail("inconsistent", "a snapshot frame in a conflated run")
        elif isinstance(event, Update):
            self._check_known(event.change)
            if STRICT_RUNS and not event.conflated:
                self._fail("inconsistent", "not marked as conflated, in a conflated run")
            if event.revision is not None and not event.conflated:
                self._fail("torn transactions", "a position inside a conflated run")
            if self._is_old(event.change):
                held = [change for change in self._group if change.name == event.change.name]
                self._fail(
                    "duplicated", f"in a conflated run behind {self._reached} that had {held} of {self._group[:1]}"
                )
            self._group.append(event.change)
        if event.revision is not None:
            self._place = self._expected.after(event.revision)
            self._end_group()
            self._follow(event.revision)
            self._compare()

    def _is_old(self, change: ObservedChange) -> bool:
        """Whether this change, or a newer one of its name, was received already."""
        held = max((each for each in self._group if each.name == change.name), default=None)
        if change.revision < self._reached + STRICT_RUNS:
            return True
        if held is None or (not STRICT_RUNS and change.value is None and held.value is None):
            return False
        return change.revision < held.revision + STRICT_RUNS

    def _copying(self, event: Update | SnapshotFrame | Bookmark) -> None:
        if isinstance(event, Bookmark):
            self._fail("torn transactions", "a bookmark before the snapshot is whole")
        elif isinstance(event, Update):
            self._pushed_between(event)
        else:
            self._check_names(event)
            found = [place for start in self._places for place in self._true_at(start, event)]
            if not found:
                self._fail("inconsistent", f"never true from {self._places} on, names after {self._cursor!r}")
            self._places = sorted(set(found))
            self._cursor = event.entries[-1].name if event.entries else self._cursor
            self._end_copying(event)

    def _pushed_between(self, event: Update) -> None:
        """An update between snapshot frames must be the next change of a name that was copied already."""
        if event.revision is not None or event.conflated:
            self._fail("torn transactions", "a position before the snapshot is whole")
        expected = self._expected
        nexts = {expected.next_to(place, self._cursor) for place in self._places}
        self._places = [
            place + 1 for place in nexts if place < len(expected) and expected.changes[place] == event.change
        ]
        if not self._places:
            self._place = min(nexts)
            self._explain(event.change)
        apply(self._copied, event.change)

    def _check_names(self, event: SnapshotFrame) -> None:
        names = [self._cursor, *(entry.name for entry in event.entries)]
        if any(one >= other for one, other in pairwise(names)):
            self._fail("out of order", f"names in a snapshot, after {self._cursor!r}: {names[1:]}")
        if any(not self._watch.serves(name) for name in names[1:]):
            self._fail("inconsistent", f"names that were not asked for, or not allowed: {names[1:]}")

    def _true_at(self, start: int, event: SnapshotFrame) -> Iterator[int]:
        """The places from `start` on at which a snapshot frame is true; of several with the same state the first."""
        expected, before = self._expected, self._cursor
        upto = event.entries[-1].name if event.entries and event.revision is None else "\U0010ffff"
        names = {entry.name: entry for entry in event.entries}
        end = len(expected) if event.revision is None else expected.after(event.revision)
        part = {
            name: SnapshotEntry(*change[1:]) for name, change in expected.state(start).items() if before < name <= upto
        }
        place, moved = start, True
        while place <= end:
            if expected.between(place) and part == names and (place == end if event.revision is not None else moved):
                moved = False
                yield place
            if place == end or expected.changes[place].name <= before:
                return
            change = expected.changes[place]
            if change.name <= upto:
                moved = True
                part.pop(change.name, None)
                if change.value is not None:
                    part[change.name] = SnapshotEntry(*change[1:])
            place += 1

    def _end_copying(self, event: SnapshotFrame) -> None:
        state = self._expected.state(self._places[0])
        self._copied |= {entry.name: state[entry.name] for entry in event.entries}
        if event.revision is not None:
            self.state = self._copied
            self._follow(event.revision)
            self._compare()

    # Violations.

    @property
    def _event(self) -> Event:
        return self._events[self._number]

    def _check_known(self, change: ObservedChange) -> None:
        if not self._watch.serves(change.name):
            self._fail("inconsistent", "not asked for, or not allowed")
        if change not in self._known:
            self._fail("inconsistent", "the history has no such change")

    def _explain(self, change: ObservedChange) -> None:
        """Fail with the kind of violation: this is not the change that was expected next."""
        self._check_known(change)
        expected, place = self._expected.changes, self._place
        if place == len(expected) or change in expected[self._expected.after(change.revision - 1) : place]:
            self._fail("duplicated", f"it had come already, {expected[place : place + 1]} had to follow")
        missing = expected[place]
        for event in self._events[self._number :]:
            if isinstance(event, Disconnected):
                break
            if isinstance(event, Update) and event.change == missing:
                self._fail("out of order", f"{missing} had to come first")
        self._fail("lost", f"{missing} had to come first")

    def _fail(self, kind: str, evidence: str) -> None:
        around = "\n  ".join(str(event)[:300] for event in self._events[max(0, self._number - 4) : self._number + 1])
        watch = self._watch
        raise Violation(kind, f"{evidence}\n{watch.label}, names {watch.names} of {watch.allowed}, got:\n  {around}")
