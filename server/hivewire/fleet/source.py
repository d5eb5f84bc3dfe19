"""The effective values of devices, as a source and a topic of the hub (fleet.md, section 4).

An event is the new effective value of a name in some views. A subscription is served the names of one view. There is no
log: a device that was disconnected gets the names that its layers have changed since, from memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from heapq import merge
from itertools import groupby, islice, repeat
from operator import itemgetter
from typing import Any

from msgspec import Struct

from hivewire.fleet.layers import Layer, Value
from hivewire.fleet.views import View
from hivewire.hub.feed import NOTHING
from hivewire.hub.ledger_source import OfLedger
from hivewire.hub.source import Event, NotCovered, Row
from hivewire.ledger.ledger import Ledger
from hivewire_protocol.encoding import encode
from hivewire_protocol.nouns.configuration import resource
from hivewire_protocol.nouns.device_configuration import DesiredConfiguration
from hivewire_protocol.patterns import Patterns

SOURCE, KIND = "fleet", "desired"
"""The name of the source at the hub, and the kind of its events."""

KEPT_VIEWS, KEPT_NAMES = 16, 1_000
"""Most views whose rows are kept, and names of each: a few megabytes together."""

LOOKED_AT = 4_000
"""Most names of a view that are looked at to find those that are kept: 15 ms."""

EVENT_BYTES, KEY_BYTES = 600, 120
"""Approximate memory of an event without its content, and of each view in it."""


class Desired(Struct, frozen=True, gc=False):
    """The effective value of a name since a revision, in the views with these ids; None when it was deleted."""

    name: str
    value: Value | None
    revision: int
    views: frozenset[str]
    keys: tuple[str, ...]


def desired(name: str, value: Value | None, revision: int, views: Sequence[View]) -> Desired:
    """The item about a name."""
    # The name alone comes first, by which a snapshot knows whether it was sent already. No pattern matches it.
    keys = (name, *(f"{view.id}\0{name}" for view in views))
    return Desired(name, value, revision, frozenset(view.id for view in views), keys)


class Sight(Patterns):
    """The names of a view that a device follows, as keys of the hub's index; no name has a NUL."""

    __slots__ = ("device", "names", "view")

    def __init__(self, device: str, view: View | None, names: Patterns) -> None:
        keys = NOTHING if view is None else _keys(view.id, names)
        self._exact, self._prefixes, self._ordered = keys.exact, keys.prefixes, None
        self.device = device
        self.view = view
        self.names = names


@lru_cache(64)
def _keys(view: str, names: Patterns) -> Patterns:
    """The keys of names in a view, which nearly all of its devices share; they take no more than a request."""
    return Patterns(f"{view}\0{pattern}" for pattern in names.patterns)


def wants(item: Desired, served: Patterns) -> bool:
    """Whether an item is about a name that is served."""
    return (
        isinstance(served, Sight)
        and served.view is not None
        and served.view.id in item.views
        and item.name in served.names
    )


def shown(name: str, value: Value | None, most: int | None = None) -> DesiredConfiguration:
    """A configuration as devices see it; a value that takes more than `most` bytes with its name is left out."""
    if value is None:
        return DesiredConfiguration(name, None, None)
    found = resource(name, value.content, value.content_type, 1)
    text = found.value
    if text is not None and most is not None and len(encode(name)) + len(encode(text)) > most:
        text = None
    left_out = text is None
    size = len(value.content) if left_out else found.size
    content_type = value.content_type if left_out else found.contentType
    return DesiredConfiguration(name, text, value.tag, content_type, size)


class Records:
    """The state of views as a compacted log: the effective value of each name, or that it was deleted.

    Thousands of devices come back at once and most have the same view, so the rows of a few views are kept until the
    ledger moves on.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._revision = 0
        self._kept: dict[tuple[View, Patterns], list[Row]] = {}

    def records(self, names: Patterns, after: str, since: int = 0) -> Iterator[Row]:
        """The effective values of a view, and the names deleted from it as far back as the log goes, by name. With
        None for others that were looked at."""
        assert isinstance(names, Sight)  # noqa: S101 - what the topic serves
        view = names.view
        if view is None:
            return
        if self._revision != self._ledger.revision:
            self._revision, self._kept = self._ledger.revision, {}
        if since:
            yield from _rows(view, _held(view, names.names, after, since))
            return
        rows = self._kept.get((view, names.names))
        if rows is None and len(self._kept) < KEPT_VIEWS:
            rows = self._kept[view, names.names] = _few(view, names.names)
        if rows:
            yield from islice(rows, bisect_right(rows, after, key=itemgetter(0)), None)
        else:
            yield from _rows(view, _held(view, names.names, after))

    def tombstones(self, after: int, before: int) -> Iterator[list[Row]]:
        """None: deleted names are among the records."""
        yield from ()

    def event(self, row: Row) -> Event:
        """The row as an event."""
        return event_of(row[2])


def _few(view: View, names: Patterns) -> list[Row]:
    """The rows of these names in a view, if they are few and quickly found, else none."""
    few: list[tuple[str, list[Layer] | None]] = []
    for looked, each in enumerate(_held(view, names, ""), 1):
        if each[1] is not None:
            few.append(each)
        if looked > LOOKED_AT or len(few) > KEPT_NAMES:
            return []
    return [*_rows(view, few)]


def _held(view: View, names: Patterns, after: str, since: int = 0) -> Iterator[tuple[str, list[Layer] | None]]:
    """The names that layers and overlays of a view have or had, in order after one, with these layers, the highest
    first; without them if it is not one of `names`. With `since` only those that a layer has changed after a revision.

    Not all are looked at: a device gets a part of them at a time, and there may be 1,000 in each of many.
    """
    runs = [layer.ordered(since) for layer in view.layers]
    if not since:  # a rollout that begins or ends is no change since a revision: its devices start over
        runs += [sorted(overlay.values) for overlay in view.overlays]
    merged = merge(*[zip(run[bisect_right(run, after) :], repeat(number)) for number, run in enumerate(runs) if run])
    for name, found in groupby(merged, key=itemgetter(0)):
        if name not in names:
            yield name, None
        elif since:
            yield name, list(view.layers)
        else:
            yield name, [view.layers[number] for _, number in found if number < len(view.layers)]


def _rows(view: View, held: Iterable[tuple[str, list[Layer] | None]]) -> Iterator[Row]:
    """The rows of these names in a view."""
    for name, layers in held:
        if layers is None:
            yield name, 0, None
            continue
        value, revision = _last(name, layers)
        if view.overlays:
            found = view.find(name)
            value = None if found is None else found.value
        yield name, revision, Desired(name, value, revision, frozenset((view.id,)), (name,))


def _last(name: str, layers: Iterable[Layer]) -> tuple[Value | None, int]:
    """The value of a name in the first of some layers that has it, and when those up to there last changed it."""
    revision = 0
    for layer in layers:
        value = layer.values.get(name)
        revision = max(revision, layer.gone.get(name, 0) if value is None else value.revision)
        if value is not None:
            return value, revision
    return None, revision


class Present(Records):
    """The same without deleted names, for snapshots."""

    def records(self, names: Patterns, after: str, since: int = 0) -> Iterator[Row]:
        """The effective values of a view, by name."""
        for name, revision, item in super().records(names, after):
            yield name, revision, None if item is None or item.value is None else item


def event_of(item: Desired) -> Event:
    """An item as an event. Its content counts twice: once more when it is encoded."""
    size = EVENT_BYTES + KEY_BYTES * len(item.keys) + 2 * (0 if item.value is None else len(item.value.content))
    return Event(item.revision, KIND, item, size, removed=item.value is None)


def update_of(most: int | None = None) -> Callable[[Desired], bytes]:
    """The function that encodes the members of a push; values that take more than `most` bytes are left out."""

    def update(item: Desired) -> bytes:
        operation = "put" if item.value is not None else "delete"
        members = {
            "revision": item.revision,
            "operation": operation,
            "configuration": shown(item.name, item.value, most),
        }
        return encode(members)[1:-1]

    return update


def element_of(most: int | None = None) -> Callable[[Desired], bytes]:
    """The same for an element of a snapshot."""
    return lambda item: encode(shown(item.name, item.value, most))


class FleetSource(OfLedger):
    """The source. Its offsets are the ledger's revisions."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._records = Records(ledger)
        self.as_event = event_of
        self.announce: Callable[[Sequence[Desired]], None] = lambda items: None
        """Tell the hub of new items, whole transactions in order."""
        self.lose: Callable[[], None] = lambda: None
        """Tell the hub that there are new items which it is not told of: subscriptions get them from the state."""
        self.unsettled: int | None = None
        """The first revision at which devices got another view that was not pushed to them yet; None if there is
        none."""

    async def since(self, offset: int, *, take: int) -> list[Event]:
        """There is no log."""
        raise NotCovered

    def skip(self, offset: int, served: Patterns) -> int:
        """There is no log, so nothing can be skipped in it."""
        return offset if isinstance(served, Sight) else self.tip

    def safe(self, offset: int) -> int:
        """An earlier one while devices move to other views: one that has not moved must not resume from here."""
        return offset if self.unsettled is None else min(offset, self.unsettled - 1)

    def follow(self, observer: Callable[[Sequence[Any]], None]) -> None:
        """Call the observer with new items from now on."""
        self.announce = observer

    def on_gap(self, call: Callable[[], None]) -> None:
        """Call it when there are too many items to be announced one by one."""
        self.lose = call

    def compacted(self, kind: str) -> Records:
        """The state of views."""
        return self._records
