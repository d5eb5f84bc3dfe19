"""What a watcher is owed, judged by what the ledger's history says (configuration contract, sections 4, 8 and 11).

No sockets here. Whoever follows names writes down each frame in a Watch as it comes; afterwards a Judge must be able to
explain every one of them by the History. The tests over the wire and the soak run share it.
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
"""Whether a conflated run must be what it is said to be: every frame says `conflated`, also those of changes which are
made meanwhile; nothing comes again that came last before the run, in a group that it breaks off, or in a run that it
begins anew; and no older delete of a name behind a newer one. Nothing of this makes a wrong state."""


class Change(NamedTuple):
    """One change of one name; `value` is None for a delete, and short: see `brief`."""

    revision: int
    name: str
    version: int
    value: str | None


class Entry(NamedTuple):
    """One configuration of a snapshot."""

    name: str
    version: int
    value: str | None


class Broken(AssertionError):
    """A promise that was not kept: `kind` is one of KINDS, the text is the evidence."""

    def __init__(self, kind: str, evidence: str) -> None:
        super().__init__(f"{kind}: {evidence}")
        self.kind = kind


KINDS = ("lost", "duplicated", "out of order", "half transactions", "contradictions", "not linearizable")


def brief(value: str | None) -> str | None:
    """A value, or what tells a long one from others."""
    if value is None or len(value) <= 64:
        return value
    return f"{value[:32]}...{len(value)}:{crc32(value.encode()):08x}"


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether a name is covered by exact names, or by prefixes ending in `*`."""
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in patterns)


def revision_of(position: str) -> int:
    """The revision inside a position: opaque to clients, but a test may look."""
    return int(position.rpartition("-")[2])


def change_of(members: dict[str, Any]) -> Change:
    """A change as it stands in a push or in a history."""
    resource = members["configuration"]
    deleted = members["operation"] == "delete"
    if deleted != (resource["value"] is None):
        raise Broken("contradictions", f"a {members['operation']} with the value {resource['value']!r}")
    return Change(members["revision"], intern(resource["name"]), resource["entityVersion"], brief(resource["value"]))


class History:
    """Every change there was, by revision; in a transaction in its own order."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self.changes = sorted(changes, key=lambda change: change.revision)
        self.known = set(self.changes)

    def owed(self, serves: Callable[[str], bool]) -> Owed:
        """The part of it that is about some names."""
        return Owed([change for change in self.changes if serves(change.name)])


class Owed:
    """The changes that one watcher is owed. A place in it is the number of changes before."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self._revisions = [change.revision for change in changes]
        self._state: dict[str, Change] = {}
        self._place = 0

    def __len__(self) -> int:
        return len(self.changes)

    def after(self, revision: int) -> int:
        """The place behind a revision."""
        return bisect_right(self._revisions, revision)

    def between(self, place: int) -> bool:
        """Whether no transaction is cut in two at this place."""
        return not 0 < place < len(self) or self._revisions[place - 1] != self._revisions[place]

    def state(self, place: int) -> dict[str, Change]:
        """What exists at a place. Not to be kept: the next call changes it."""
        if place < self._place:
            self._state, self._place = {}, 0
        for change in self.changes[self._place : place]:
            apply(self._state, change)
        self._place = place
        return self._state

    def next_to(self, place: int, cursor: str) -> int:
        """The place of the first change, from a place on, of a name up to the cursor."""
        while place < len(self) and self.changes[place].name > cursor:
            place += 1
        return place


def apply(state: dict[str, Change], change: Change) -> None:
    """Make a change in a state."""
    if change.value is None:
        state.pop(change.name, None)
    else:
        state[change.name] = change


class Begun(NamedTuple):
    """A subscription was made: its `mode`, the revision of its position if there is one, and a revision that the
    ledger had reached before it was asked for."""

    mode: str
    revision: int | None
    floor: int


class Pushed(NamedTuple):
    """An update; `revision` is that of its position, None where it says that more follows."""

    change: Change
    revision: int | None
    conflated: bool


class Copied(NamedTuple):
    """A snapshot frame; `revision` is that of the position of the last one."""

    entries: tuple[Entry, ...]
    revision: int | None
    reset: bool


class Marked(NamedTuple):
    """A bookmark."""

    revision: int


class Cut(NamedTuple):
    """The connection or the subscription ended."""


Event = Begun | Pushed | Copied | Marked | Cut


class Watch:
    """One follower over any number of connections: what it wants, what it got, and from where it can go on."""

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
        """Keep equal events of several watches once; to be cleared from time to time."""
        self._shared = events

    def serves(self, name: str) -> bool:
        """Whether changes of this name are due."""
        return matches(self.names, name) and matches(self.allowed, name)

    def begin(self, reply: dict[str, Any], floor: int) -> None:
        """The reply to the subscription."""
        mode, position = reply["mode"], reply.get("position")
        expected = ("resumed", "reset") if self.position is not None else ("snapshot", "live")
        if mode not in expected or (position is None) != (mode in ("snapshot", "reset")):
            raise Broken("contradictions", f"{self.label}: {reply}, subscribed since {self.position}")
        if mode == "reset" and not revision_of(self.position or "") < reply["oldest"] - 1:
            raise Broken("contradictions", f"{self.label}: {reply}, though {self.position} is covered")
        if mode == "resumed" and position != self.position:
            raise Broken("contradictions", f"{self.label}: {reply}, subscribed since {self.position}")
        self.seen[mode] += 1
        self.inside = position is None
        self.position = position or self.position
        self.events.append(Begun(mode, None if position is None else revision_of(position), floor))

    def take(self, what: str, members: dict[str, Any], size: int) -> None:
        """A push: `what` is `update`, `snapshot` or `bookmark`; `size` is the frame's."""
        position = members.get("position")
        revision = None if position is None else revision_of(position)
        if revision is not None and revision < self.reached:
            raise Broken("out of order", f"{self.label}: behind {self.position} the position {position}")
        event: Event
        if what == "update":
            if (position is None) != members.get("more", False):
                raise Broken("half transactions", f"{self.label}: neither a position nor more, or both: {members}")
            conflated = members.get("conflated", False)
            self.seen["conflated runs"] += conflated and position is not None
            copying = bool(self.events) and isinstance(self.events[-1], Copied) and self.inside
            self.seen["conflated" if conflated else "pushed between" if copying else "updates"] += 1
            event = Pushed(change_of(members), revision, conflated)
        elif what == "snapshot":
            entries = members["configurations"]
            if (position is None) == members["last"] or (size > SNAPSHOT_BYTES and len(entries) > 1):
                raise Broken("contradictions", f"{self.label}: a snapshot frame of {size} bytes: {str(members)[:300]}")
            self.seen["snapshot frames"] += 1
            self.seen["of several"] += position is None
            self.seen["resets on the way"] += members.get("reset", False)
            found = (Entry(each["name"], each["entityVersion"], brief(each["value"])) for each in entries)
            event = Copied(tuple(found), revision, members.get("reset", False))
        else:
            if revision is None:
                raise Broken("contradictions", f"{self.label}: a bookmark without a position: {members}")
            self.seen["bookmarks"] += 1
            event = Marked(revision)
        self.inside = position is None
        self.position = position or self.position
        self.events.append(self._shared.setdefault(event, event))

    def cut(self) -> None:
        """The connection or the subscription ended: what was unfinished is dropped."""
        self.seen["cut inside a group"] += self.inside
        self.inside = False
        self.events.append(Cut())

    @property
    def reached(self) -> int:
        """The revision up to which it has everything, -1 before it knows."""
        return revision_of(self.position) if self.position is not None else -1


class Judge:
    """Explains the events of a watch, one after the other, by what it is owed. Raises Broken.

    `place` is how far it has come in what is owed while it follows, `reached` the revision of its last position. While
    a state is copied to it there may be several places at which it can be, because a snapshot frame does not say when
    it was true; `cursor` is the last name that it has then. `state` is what a client has which applies each group when
    it is whole.
    """

    def __init__(self, watch: Watch, history: History, compare_every: int = 1) -> None:
        self.state: dict[str, Change] = {}
        self._watch = watch
        self._known = history.known
        self._owed = history.owed(watch.serves)
        self._compare_every = compare_every
        self._events: Sequence[Event] = watch.events
        self._number = 0
        self._how: Callable[[Any], None] = self._nowhere
        self._place = self._reached = 0
        self._group: list[Change] = []
        self._places: list[int] = []
        self._cursor = ""
        self._copied: dict[str, Change] = {}

    def judge(self) -> dict[str, Change]:
        """Go through everything; the state at the end."""
        for number, event in enumerate(self._events):
            self._number = number
            if isinstance(event, Begun):
                self._begin(event)
            elif isinstance(event, Cut):
                self._group, self._how = [], self._nowhere
            elif isinstance(event, Copied) and event.reset:
                if self._how == self._nowhere:
                    self._break("contradictions", "pushed without a subscription")
                self._start_copying(self._lowest())
                self._copying(event)
            else:
                self._how(event)
        return self.state

    def finish(self, revision: int) -> None:
        """It must have come to this revision by now, with the ledger's state."""
        owed = self._owed
        if self._how != self._following or self._group or self._place < owed.after(revision):
            missing = owed.changes[self._place] if self._place < len(owed) else f"the way to {revision}"
            self._break("lost", f"it ends at place {self._place} of {len(owed)}, before {missing}")
        self._compare()

    # Where it stands.

    def _begin(self, event: Begun) -> None:
        if self._how != self._nowhere:
            self._break("contradictions", "subscribed twice")
        if event.mode in ("snapshot", "reset"):
            self._start_copying(self._owed.after(event.floor))
            return
        assert event.revision is not None
        if event.mode == "live":
            if event.revision < event.floor:
                self._break("contradictions", f"live from {event.revision}, though {event.floor} was answered before")
            self.state = dict(self._owed.state(self._owed.after(event.revision)))
        self._follow(event.revision)

    def _follow(self, revision: int) -> None:
        self._place, self._reached = self._owed.after(revision), revision
        self._group, self._how = [], self._following

    def _start_copying(self, lowest: int) -> None:
        self._places, self._cursor, self._copied, self._how = [lowest], "", {}, self._copying

    def _lowest(self) -> int:
        """Everything before this place was true when the watcher was last told something."""
        return min(self._places) if self._how == self._copying else self._place

    def _compare(self) -> None:
        truth = self._owed.state(self._place)
        if self.state != truth:
            odd = {name for name in self.state.keys() | truth.keys() if self.state.get(name) != truth.get(name)}
            shown = [(self.state.get(name), truth.get(name)) for name in sorted(odd)[:3]]
            self._break("contradictions", f"the state differs from the ledger's (has, should have): {shown}")

    # What comes.

    def _nowhere(self, event: Event) -> None:
        self._break("contradictions", "pushed without a subscription")

    def _following(self, event: Pushed | Copied | Marked) -> None:
        owed = self._owed
        if isinstance(event, Copied):
            self._break("contradictions", "a snapshot frame for one that follows")
        elif isinstance(event, Marked):
            self._check_whole(event.revision)
            self._follow(event.revision)
        elif event.conflated or (not STRICT_RUNS and self._opens_a_run(event)):
            self._how = self._conflating
            self._conflating(event)
        else:
            if self._place == len(owed) or owed.changes[self._place] != event.change:
                self._explain(event.change)
            self._place += 1
            self._group.append(event.change)
            last = owed.between(self._place)
            if event.revision != (event.change.revision if last else None):
                self._break("half transactions", f"{'the last' if last else 'not the last'} one of its transaction")
            if last:
                self._reached = event.change.revision
                self._end_group()

    def _opens_a_run(self, event: Pushed) -> bool:
        """Whether something is left out before it, and the group that it is in turns out to be conflated."""
        owed, place = self._owed.changes, self._place
        if event.revision is not None or place == len(owed) or event.change.revision <= owed[place].revision:
            return False
        for later in self._events[self._number :]:
            if isinstance(later, Pushed) and later.conflated:
                return True
            if not isinstance(later, Pushed) or later.revision is not None:
                return isinstance(later, Marked)
        return False

    def _end_group(self) -> None:
        for change in self._group:
            apply(self.state, change)
        self._group = []
        if self._place % self._compare_every == 0:
            self._compare()

    def _check_whole(self, revision: int) -> None:
        """Nothing is owed up to a revision, and nothing is half."""
        if self._group:
            self._break("half transactions", f"a bookmark behind {self._group}")
        if self._place < self._owed.after(revision):
            self._break("lost", f"{self._owed.changes[self._place]} is missing before {self._event}")

    def _conflating(self, event: Pushed | Copied | Marked) -> None:
        """A run: the latest of each name, in whatever order; at its end the state counts, and nothing before."""
        if isinstance(event, Copied):
            self._break("contradictions", "a snapshot frame in a conflated run")
        elif isinstance(event, Pushed):
            self._check_known(event.change)
            if STRICT_RUNS and not event.conflated:
                self._break("contradictions", "not marked as conflated, in a conflated run")
            if event.revision is not None and not event.conflated:
                self._break("half transactions", "a position inside a conflated run")
            if self._is_old(event.change):
                held = [change for change in self._group if change.name == event.change.name]
                self._break(
                    "duplicated", f"in a conflated run behind {self._reached} that had {held} of {self._group[:1]}"
                )
            self._group.append(event.change)
        if event.revision is not None:
            self._place = self._owed.after(event.revision)
            self._end_group()
            self._follow(event.revision)
            self._compare()

    def _is_old(self, change: Change) -> bool:
        """Whether it came already, or something newer of its name."""
        held = max((each for each in self._group if each.name == change.name), default=None)
        if change.revision < self._reached + STRICT_RUNS:
            return True
        if held is None or (not STRICT_RUNS and change.value is None and held.value is None):
            return False
        return change.revision < held.revision + STRICT_RUNS

    def _copying(self, event: Pushed | Copied | Marked) -> None:
        if isinstance(event, Marked):
            self._break("half transactions", "a bookmark before the snapshot is whole")
        elif isinstance(event, Pushed):
            self._pushed_between(event)
        else:
            self._check_names(event)
            found = [place for start in self._places for place in self._true_at(start, event)]
            if not found:
                self._break("contradictions", f"true at no moment from {self._places} on, names after {self._cursor!r}")
            self._places = sorted(set(found))
            self._cursor = event.entries[-1].name if event.entries else self._cursor
            self._end_copying(event)

    def _pushed_between(self, event: Pushed) -> None:
        """Between snapshot frames: the next change of a name that was sent already."""
        if event.revision is not None or event.conflated:
            self._break("half transactions", "a position before the snapshot is whole")
        owed = self._owed
        nexts = {owed.next_to(place, self._cursor) for place in self._places}
        self._places = [place + 1 for place in nexts if place < len(owed) and owed.changes[place] == event.change]
        if not self._places:
            self._place = min(nexts)
            self._explain(event.change)
        apply(self._copied, event.change)

    def _check_names(self, event: Copied) -> None:
        names = [self._cursor, *(entry.name for entry in event.entries)]
        if any(one >= other for one, other in pairwise(names)):
            self._break("out of order", f"names in a snapshot, after {self._cursor!r}: {names[1:]}")
        if any(not self._watch.serves(name) for name in names[1:]):
            self._break("contradictions", f"names that were not asked for, or not allowed: {names[1:]}")

    def _true_at(self, start: int, event: Copied) -> Iterator[int]:
        """The places, from one on, at which a snapshot frame is true; of those that come to the same the first."""
        owed, before = self._owed, self._cursor
        upto = event.entries[-1].name if event.entries and event.revision is None else "\U0010ffff"
        names = {entry.name: entry for entry in event.entries}
        end = len(owed) if event.revision is None else owed.after(event.revision)
        part = {name: Entry(*change[1:]) for name, change in owed.state(start).items() if before < name <= upto}
        place, moved = start, True
        while place <= end:
            if owed.between(place) and part == names and (place == end if event.revision is not None else moved):
                moved = False
                yield place
            if place == end or owed.changes[place].name <= before:
                return
            change = owed.changes[place]
            if change.name <= upto:
                moved = True
                part.pop(change.name, None)
                if change.value is not None:
                    part[change.name] = Entry(*change[1:])
            place += 1

    def _end_copying(self, event: Copied) -> None:
        state = self._owed.state(self._places[0])
        self._copied |= {entry.name: state[entry.name] for entry in event.entries}
        if event.revision is not None:
            self.state = self._copied
            self._follow(event.revision)
            self._compare()

    # What went wrong.

    @property
    def _event(self) -> Event:
        return self._events[self._number]

    def _check_known(self, change: Change) -> None:
        if not self._watch.serves(change.name):
            self._break("contradictions", "not asked for, or not allowed")
        if change not in self._known:
            self._break("contradictions", "the history knows no such change")

    def _explain(self, change: Change) -> None:
        """Not the change that had to come: say in which way."""
        self._check_known(change)
        owed, place = self._owed.changes, self._place
        if place == len(owed) or change in owed[self._owed.after(change.revision - 1) : place]:
            self._break("duplicated", f"it had come already, {owed[place : place + 1]} had to follow")
        missing = owed[place]
        for event in self._events[self._number :]:
            if isinstance(event, Cut):
                break
            if isinstance(event, Pushed) and event.change == missing:
                self._break("out of order", f"{missing} had to come first")
        self._break("lost", f"{missing} had to come first")

    def _break(self, kind: str, evidence: str) -> None:
        around = "\n  ".join(str(event)[:300] for event in self._events[max(0, self._number - 4) : self._number + 1])
        watch = self._watch
        raise Broken(kind, f"{evidence}\n{watch.label}, names {watch.names} of {watch.allowed}, got:\n  {around}")
