"""What can be followed of layers: the changes of their configurations, as they are written."""

from __future__ import annotations

from collections.abc import Iterator

from hivewire.access.identity import Identity
from hivewire.hub.source import Row, Topic
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change
from hivewire.resources import LAYERED, Resources
from hivewire_protocol.encoding import encode
from hivewire_protocol.nouns.layer import key_of, split
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.permissions import Permission

EVERY = "*"
"""In the place of a layer: all of them."""


class Selection(Patterns):
    """Names in one layer, or in all, as keys of the hub's index: those of records, or names behind a NUL."""

    __slots__ = ("layer", "names")

    def __init__(self, layer: str, names: Patterns) -> None:
        super().__init__(f"\0{each}" if layer == EVERY else key_of(layer, each) for each in names.patterns)
        self.layer = layer
        self.names = names


class Held:
    """What layers hold, for snapshots."""

    def __init__(self, ledger: Ledger) -> None:
        self._kind = ledger.kind(LAYERED)

    def records(self, names: Patterns, after: str) -> Iterator[Row]:
        """Those that are selected after a key, in the order of keys, with None for others that were looked at."""
        assert isinstance(names, Selection)  # noqa: S101 - what the topic serves
        kind = self._kind
        found = kind.keys.islice(kind.keys.bisect_right(after)) if names.layer == EVERY else kind.within(names, after)
        for key in found:
            change = kind.live[key]
            yield key, change.revision, change if split(key)[1] in names.names else None


def layer_topic(ledger: Ledger, resources: Resources) -> Topic:
    """The topic."""

    def keys(change: Change) -> tuple[str, str]:
        return change.key, "\0" + split(change.key)[1]

    def served(identity: Identity, wanted: Patterns) -> Patterns:
        assert isinstance(wanted, Selection)  # noqa: S101 - what requests make
        if not identity.may(Permission.GET_CONFIGURATION):
            return Selection(wanted.layer, Patterns(()))
        return Selection(wanted.layer, wanted.names & identity.names)

    def update(change: Change) -> bytes:
        return encode(resources.change(change))[1:-1]

    def element(change: Change) -> bytes:
        return encode(resources.of(change))

    return Topic("configuration", LAYERED, update, keys, served, "configurations", element, view=Held(ledger))
