"""What can be followed: sources, their events, and topics. A contract that depends on neither the ledger nor the hub.

A *source* is an ordered log that others append to. Each item is an *event* at an *offset*; the events of one offset
are one transaction and belong together. Offsets ascend, with gaps. A *position*, what clients resume from, is the
source's epoch and an offset. A *topic* is what a subscription follows: one kind of event of one source, in one form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire_protocol.patterns import Patterns

LEDGER = "ledger"
"""The name of the source that every hub has."""

Row: TypeAlias = tuple[str, int, Any]
"""A key, the offset at which its item was written or removed, and the item."""


class NotCovered(Exception):
    """The log of a source does not reach back so far."""


class Visible(Protocol):
    """Finds what a subscription may see of a state, where that depends on the content of the items."""

    def records(self, names: Patterns, after: str) -> Iterator[Row]:
        """As `CompactedLog.records`, but by all keys of an item. An item is None where there is nothing to see, so that
        a search through many can be interrupted."""


class Topic(NamedTuple):
    """Something that can be followed. Several topics may show the same kind of event in different forms.

    `kind` says which events of the `source` belong to the topic. `keys` gives the keys of an item: a subscription is a
    set of patterns over keys and gets an item when one of its keys matches. `served` is the part of the wanted patterns
    that an identity may follow. `update` encodes the members of an item's push, JSON without the braces.

    `tells_expiry`: its subscribers get pushes when their token expires soon, and when they are paused.

    `what` says what happened to an item, the last word of its push; None: it is always an update. A `plain` topic is
    for clients that know no positions. What may be followed of a `scoped` one depends on more than the token: it is
    asked for again when the user changes.

    A topic with state also has `element`, which encodes an item as an element of a snapshot, and `elements`, the member
    of a snapshot frame that holds them. Its items have one key each, that of their record.

    `visible`: who may see an item depends on its content. Its first key is that of its record, and the others are what
    it can be asked for by. An item can leave what a subscription sees: its event then has both its former and
    its present keys, and two parts, a delete with the former ones and the item with the present ones. `visible` finds
    what a subscription sees of the state.

    A `volatile` topic also shows facts that are in no log, as they are when they are pushed. So it cannot be resumed.

    A `passing` topic is one of many forms of the same: its pushes are not kept with the event, and it is forgotten when
    nobody follows it.

    Subscribers of a `latest` topic need only the latest item of each key, and get no bookmarks but those that say that
    they are up to date. One that is behind the events in memory gets a run of the changed items. `wants` says whether
    served patterns match an item that has very many keys. `frame_bytes` is its longest snapshot frame, if that is not
    the usual. `joined` and `left` are called with each subscription as it begins and when it has ended, `switched` when
    it is served other patterns, with those before, and `caught_up` when one that was behind is sent the last of that.
    """

    name: str
    kind: str
    update: Callable[[Any], bytes]
    keys: Callable[[Any], Sequence[str]]
    served: Callable[[Identity, Patterns], Patterns]
    elements: str = ""
    element: Callable[[Any], bytes] | None = None
    source: str = LEDGER
    tells_expiry: bool = True
    what: Callable[[Any], str] | None = None
    plain: bool = False
    scoped: bool = False
    visible: Visible | None = None
    volatile: bool = False
    passing: bool = False
    latest: bool = False
    wants: Callable[[Any, Patterns], bool] | None = None
    frame_bytes: int | None = None
    joined: Callable[[Any], None] | None = None
    left: Callable[[Any], None] | None = None
    switched: Callable[[Any, Patterns], None] | None = None
    caught_up: Callable[[Any], None] | None = None


class Event(Struct, gc=False):
    """One item at its offset, encoded at most once in each form, however many subscribers it has.

    `size` is about the bytes that the event keeps in memory, encoded once. `removed`: the item takes its key out of the
    state. `encoded` are the members of its push by the function that made them. `parts` are those that it stands for,
    in their order, where an item leaves what some see and becomes visible to others.
    The garbage collector does not track events, there are many: an item must not refer to its event.
    """

    offset: int
    kind: str
    item: Any
    size: int
    removed: bool = False
    encoded: dict[Callable[[Any], bytes], bytes] | None = None
    parts: tuple[Event, ...] = ()

    def members(self, topic: Topic) -> bytes:
        """The members of its push in the form of a topic."""
        update = topic.update
        if topic.volatile or topic.passing:
            return update(self.item)
        if self.encoded is None:
            self.encoded = {}
        elif update in self.encoded:
            return self.encoded[update]
        members = self.encoded[update] = update(self.item)
        return members


def transactions(events: Iterable[Event]) -> Iterator[list[Event]]:
    """The events of each offset."""
    group: list[Event] = []
    offset = 0
    for event in events:
        if event.offset == offset:
            group.append(event)
            continue
        if group:
            yield group
        group, offset = [event], event.offset
    if group:
        yield group


class CompactedLog(Protocol):
    """The state of a log: the latest item of each key. Iterators are consumed before anything else can change it."""

    def records(self, names: Patterns, after: str, since: int = 0) -> Iterator[Row]:
        """What exists within the patterns after a key, in the order of keys; after '' is from the beginning. What has
        not changed since an offset may be left out."""

    def tombstones(self, after: int, before: int) -> Iterator[list[Row]]:
        """What was removed between two offsets, both exclusive, and not written again. Newest first, a list per offset.

        Complete as long as the source covers `after`.
        """

    def event(self, row: Row) -> Event:
        """The row as an event."""


class Source(Protocol):
    """A log that the hub follows. Everything that it reports has been announced; `tip` is the last such offset."""

    @property
    def epoch(self) -> str:
        """The identity of this history, letters and digits. Positions of another history cannot be resumed."""

    @property
    def tip(self) -> int:
        """The offset up to which everything was announced."""

    @property
    def oldest(self) -> int:
        """The first offset from which the log is complete; never decreases."""

    @property
    def shared(self) -> bool:
        """Whether other gateways append to the log too, so that a position may be ahead of `tip`."""

    async def confirm(self) -> None:
        """Return when everything was announced that was in the log at the time of the call."""

    def covers(self, offset: int) -> bool:
        """Whether the log still has everything after this offset."""

    async def since(self, offset: int, *, take: int) -> list[Event]:
        """The events after an offset in order: whole transactions, about `take` events or a few MiB.

        Nothing means that there is nothing (yet). Raises NotCovered when the log does not cover the offset.
        """

    def skip(self, offset: int, served: Patterns) -> int:
        """An offset up to which nothing after the given one can match these patterns, as far as that costs nothing to
        find out: a reader may go on there."""

    def safe(self, offset: int) -> int:
        """The offset to resume from after all events up to this one: the same, or an earlier one while the source has
        not announced all of its events at this one."""

    def follow(self, observer: Callable[[Sequence[Any]], None]) -> None:
        """Call the observer with new items, whole transactions in order, after `tip` has moved past them.

        Items are in the source's own form, so that no events are built while nobody follows: see `as_event`.
        """

    def on_gap(self, call: Callable[[], None]) -> None:
        """Call it when items were lost that no observer got, after `oldest` and `tip` have moved past them."""

    def as_event(self, item: Any) -> Event:
        """An item that an observer got, as an event."""

    def is_over(self, item: Any) -> bool:
        """Whether an item has expired by its own limit, so that subscriptions that are behind do not get it."""

    def compacted(self, kind: str) -> CompactedLog | None:
        """The state of one kind of events; None when they have none."""
