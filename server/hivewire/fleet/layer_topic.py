"""What can be followed of layers: the changes of their configurations, as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hivewire.access.identity import Identity
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.registry import Registry
from hivewire.hub.feed import Subscription
from hivewire.hub.hub import Hub
from hivewire.hub.source import Row, Topic
from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change
from hivewire.resources import LAYERED
from hivewire_protocol.nouns.layer import OF_DEVICE, key_of, split
from hivewire_protocol.patterns import Patterns
from hivewire_protocol.permissions import Permission

EVERY = "*"
"""Instead of a layer: all of them."""


SHARED, OWN = "\0", "\1"
"""In the hub's index, what names in all layers begin with, and those in the layers of single devices."""


class Selection(Patterns):
    """Names in one layer, or in all, as keys of the hub's index: those of records, or names behind SHARED or OWN.

    `own` says whether all layers are also those of single devices.
    """

    __slots__ = ("layer", "names", "own")

    def __init__(self, layer: str, names: Patterns, *, own: bool = True) -> None:
        before = (SHARED, OWN) if own else (SHARED,)
        super().__init__(
            [mark + each for each in names.patterns for mark in before]
            if layer == EVERY
            else [key_of(layer, each) for each in names.patterns]
        )
        self.layer = layer
        self.names = names
        self.own = own

    def shows(self, key: str) -> bool:
        """Whether a key of a record, which is within the patterns or of any layer, is selected."""
        return split(key)[1] in self.names and (self.own or not key.startswith(OF_DEVICE))


class Held:
    """The values of layers, for snapshots."""

    def __init__(self, ledger: Ledger) -> None:
        self._kind = ledger.kind(LAYERED)

    def records(self, names: Patterns, after: str) -> Iterator[Row]:
        """Those that are selected after a key, in the order of keys, with None for others that were looked at."""
        assert isinstance(names, Selection)  # noqa: S101 - what the topic serves
        kind = self._kind
        found = kind.keys.islice(kind.keys.bisect_right(after)) if names.layer == EVERY else kind.within(names, after)
        for key in found:
            change = kind.live[key]
            yield key, change.revision, change if names.shows(key) else None


class LayerTopics:
    """The topics of layers. A follower of the layer of a device is served while it reaches the device."""

    def __init__(self, ledger: Ledger, registry: Registry, hub: Hub) -> None:
        self._registry = registry
        self._hub = hub
        self._held = Held(ledger)
        self._followers: dict[str, dict[Subscription, None]] = {}  # of layers of single devices
        ledger.observe(self._move, DEVICE)

    def topic(self, update: Callable[[Change], bytes]) -> Topic:
        """The topic whose pushes have the members that `update` gives."""
        return Topic(
            "configuration",
            LAYERED,
            update,
            _keys,
            self._served,
            scoped=True,
            visible=self._held,
            joined=self._join,
            left=self._leave,
        )

    def _served(self, identity: Identity, wanted: Patterns) -> Patterns:
        assert isinstance(wanted, Selection)  # noqa: S101 - what requests make
        scope = self._registry.scope(identity)
        reaches = identity.may(Permission.GET_CONFIGURATION)
        if reaches and wanted.layer.startswith(OF_DEVICE) and not scope.everything:
            device = self._registry.device(wanted.layer.removeprefix(OF_DEVICE))
            reaches = device is not None and scope.covers(device)
        names = wanted.names & identity.names if reaches else Patterns(())
        return Selection(wanted.layer, names, own=wanted.layer != EVERY or scope.everything)

    def _join(self, sub: Subscription) -> None:
        assert isinstance(sub.wanted, Selection)  # noqa: S101 - what requests make
        if sub.wanted.layer.startswith(OF_DEVICE):
            self._followers.setdefault(sub.wanted.layer, {})[sub] = None

    def _leave(self, sub: Subscription) -> None:
        assert isinstance(sub.wanted, Selection)  # noqa: S101 - what requests make
        found = self._followers.get(sub.wanted.layer, {})
        if found.pop(sub, sub) is None and not found:
            del self._followers[sub.wanted.layer]

    def _move(self, changes: Iterable[Change]) -> None:
        """A device may be elsewhere now, and out of reach of those who follow its layer."""
        for change in changes:
            if change.kind == DEVICE:
                for sub in list(self._followers.get(OF_DEVICE + change.key, ())):
                    self._hub.reconsider(sub.feed)


def _keys(change: Change) -> tuple[str, str]:
    return change.key, (OWN if change.key.startswith(OF_DEVICE) else SHARED) + split(change.key)[1]
