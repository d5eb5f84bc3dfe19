"""Layers: which devices a layer is for, and the value of each of its names (fleet.md, sections 2 and 3).

The record of a layer's configuration has the key `LAYER/NAME`. A layer is known here when its record exists or it has
values; `global` always is.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from hivewire.ledger.ledger import Ledger
from hivewire.ledger.records import Change
from hivewire.resources import LAYERED
from hivewire.slices import in_order
from hivewire_protocol.nouns.layer import GLOBAL, OF_DEVICE, TOP_RANK, Target, bucket, split
from hivewire_protocol.tenant.steps import Steps

LAYER, LABEL = "layer", "label"

DEVICE_RANK = TOP_RANK + 1
"""The rank of the layer of a single device, above all others."""

TAG_BYTES = 9
"""Bytes of the HMAC in a tag: 12 characters."""

FEW_NAMES = 50
"""Names of a layer that are put in order each time. There may be 100,000 layers of single devices."""

EVERYBODY = Target()

T = TypeVar("T")


class LayerContent(Struct, omit_defaults=True):
    """The content of a layer's record. Its key is the layer's name."""

    rank: int
    target: Target


class Value(Struct, frozen=True, gc=False):
    """The value of a name in a layer."""

    content: bytes
    content_type: str
    tag: str
    version: int
    revision: int


class Placed(NamedTuple):
    """What targets look at: a device, where it is, and its labels."""

    id: str
    network: int
    type: int
    labels: Mapping[str, str]


class Selector:
    """A target as sets: it may have 32,000 values of labels, and 100,000 devices are tested."""

    __slots__ = ("_devices", "_labels", "_networks", "_percent", "_types")

    def __init__(self, target: Target) -> None:
        self._networks, self._types = _set_of(target.networkIds), _set_of(target.deviceTypeIds)
        self._devices, self._percent = _set_of(target.deviceIds), target.percent
        self._labels = [(label, _set_of(given)) for label, given in (target.labels or {}).items()]

    def selects(self, device: Placed, salt: str) -> bool:
        """Whether a device meets all members of the target."""
        return (
            (self._networks is None or device.network in self._networks)
            and (self._types is None or device.type in self._types)
            and (self._devices is None or device.id in self._devices)
            and all(_fits(device.labels.get(label), given) for label, given in self._labels)
            and (self._percent is None or within(self._percent, salt, device.id))
        )


def _set_of(given: Iterable[T] | None) -> frozenset[T] | None:
    return None if given is None else frozenset(given)


def _fits(value: str | None, given: frozenset[str] | None) -> bool:
    """Whether the value of a label, None without it, is one of those that are given; None: whether there is none."""
    return value is None if given is None else value in given


EVERY_DEVICE = Selector(EVERYBODY)


class Tagger:
    """Makes tags: 12 characters that stand for a content, which cannot be guessed from them without the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def tag(self, content_type: str, content: bytes) -> str:
        """The tag of a content of this type."""
        digest = hmac.digest(self._key, content_type.encode() + b"\0" + content, "sha256")
        return urlsafe_b64encode(digest[:TAG_BYTES]).decode()


class Layer:
    """A layer as it is now. `revision` is that of its record's last change, 0 without one.

    `gone` are the revisions at which names were deleted that are not there now, as long as the log covers them. `edits`
    counts the writes of its values since the start; `edited` is the revision of the last one.
    """

    __slots__ = (
        "_ordered",
        "edited",
        "edits",
        "gone",
        "id",
        "name",
        "rank",
        "revision",
        "selector",
        "target",
        "values",
    )

    def __init__(self, name: str, rank: int) -> None:
        self.name = name
        self.rank = rank
        self.target, self.selector = EVERYBODY, EVERY_DEVICE
        self.revision = self.id = 0
        self.values: dict[str, Value] = {}
        self.gone: dict[str, int] = {}
        self.edits = self.edited = 0
        self._ordered: tuple[int, dict[int, list[str]]] | None = None

    def ordered(self, since: int = 0) -> list[str]:
        """The names that it has or had, and that changed after a revision, in order. Many are put in order once until
        the next edit: all, and those after the last such revision."""
        if since >= self.edited:
            return []
        kept = self._ordered[1] if self._ordered is not None and self._ordered[0] == self.edits else {}
        names = kept.get(since)
        if names is None:
            changed = [name for name, value in self.values.items() if value.revision > since]
            names = sorted([*changed, *(name for name, revision in self.gone.items() if revision > since)])
            if len(names) > FEW_NAMES:
                self._ordered = self.edits, {each: kept[each] for each in kept if not each} | {since: names}
        return names

    def put(self, name: str, value: Value | None, revision: int, oldest: int) -> Value | None:
        """Set or delete a name's value. Returns the one before. `oldest` is the first revision in the log."""
        before = self.values.get(name)
        self.edits += 1
        self.edited = max(self.edited, revision)
        self.gone.pop(name, None)
        if value is not None:
            self.values[name] = value
            return before
        self.values.pop(name, None)
        if self.gone and next(iter(self.gone.values())) < oldest:  # they are in the order of their revisions
            self.gone = {each: at for each, at in self.gone.items() if at >= oldest}
        self.gone[name] = revision
        return before

    def covers(self, device: Placed) -> bool:
        """Whether a device belongs to its target."""
        return self.selector.selects(device, f"layer/{self.name}")


def within(percent: float, salt: str, device_id: str) -> bool:
    """Whether a percentage selects a device under a salt. A larger one includes those of a smaller."""
    return bucket(salt, device_id) < round(percent * 100, 6)


def anchors(target: Target) -> list[tuple[object, ...]]:
    """The keys by which a device finds a target: of its most selective member, or `()` for all devices."""
    if target.deviceIds is not None:
        return [("device", each) for each in target.deviceIds]
    for label, given in (target.labels or {}).items():
        if given is not None:
            return [("label", label, each) for each in given]
    if target.networkIds is not None:
        return [("network", each) for each in target.networkIds]
    if target.deviceTypeIds is not None:
        return [("type", each) for each in target.deviceTypeIds]
    return [()]


class Unseen:
    """Which changes of an evaluation were not there before: so each is read once, however often they are looked at."""

    def __init__(self) -> None:
        self._count = 0
        self._last: Change | None = None

    def of(self, changes: Sequence[Change]) -> tuple[Sequence[Change], bool]:
        """Those of these, and whether those before do not count: they were of another evaluation, or taken back."""
        anew = self._count > len(changes) or (self._count > 0 and changes[self._count - 1] is not self._last)
        unseen = changes[0 if anew else self._count :]
        self._count, self._last = len(changes), changes[-1] if changes else None
        return unseen, anew


class Growth:
    """How many names each layer gets by the changes of an evaluation, negative when it loses some."""

    def __init__(self) -> None:
        self._unseen = Unseen()
        self._by_layer = Counter[str]()

    def of(self, layer: str, changes: Sequence[Change]) -> int:
        """That of a layer, by these changes."""
        unseen, anew = self._unseen.of(changes)
        if anew:
            self._by_layer = Counter()
        for change in unseen:
            if change.kind == LAYERED and (change.content is None or change.version == 1):
                self._by_layer[split(change.key)[0]] += -1 if change.content is None else 1
        return self._by_layer[layer]


class Written(Generic[T]):
    """What the changes of an evaluation say of the records of a kind, as `read` finds it in each."""

    def __init__(self, kind: str, read: Callable[[Change], T]) -> None:
        self._kind = kind
        self._read = read
        self._unseen = Unseen()
        self._found: dict[str, T] = {}

    def of(self, changes: Sequence[Change]) -> Mapping[str, T]:
        """That by these changes, the last one of each record, by key."""
        unseen, anew = self._unseen.of(changes)
        if anew:
            self._found = {}
        for change in unseen:
            if change.kind == self._kind:
                self._found[change.key] = self._read(change)
        return self._found


def rank_of(change: Change) -> int | None:
    """The rank that a change of a layer's record leaves it; None after a delete."""
    return None if change.content is None else msgspec.json.decode(change.content, type=LayerContent).rank


class Layers:
    """All layers, found by name, by rank and by device. `define` and `write` follow the ledger's changes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._growth = Growth()
        self.ranked_anew = Written(LAYER, rank_of)
        self.tagger = Tagger(b"")
        self.by_name: dict[str, Layer] = {GLOBAL: Layer(GLOBAL, 0)}
        self.ranks: dict[int, Layer] = {}
        self._anchored: dict[tuple[object, ...], dict[str, Layer]] = {}

    def load(self, tagger: Tagger) -> None:
        """Read what the ledger holds."""
        self.tagger = tagger
        for change in self._ledger.kind(LAYER).live.values():
            self.define(change)
        held = self._ledger.kind(LAYERED)
        for change in (*held.live.values(), *held.tombstones.values()):
            self.write(change)

    def define(self, change: Change) -> tuple[Target | None, Target | None]:
        """Follow a change of a layer's record. Returns its target before and after it."""
        layer, before = self.by_name.get(change.key), None
        if layer is not None and layer.id:
            before = layer.target
            self._anchor(layer, add=False)
            self.ranks.pop(layer.rank, None)
        if change.content is None:
            self.by_name.pop(change.key, None)
            return before, None
        content = msgspec.json.decode(change.content, type=LayerContent)
        if layer is None:
            layer = self.by_name[change.key] = Layer(change.key, content.rank)
        layer.rank, layer.target, layer.selector = content.rank, content.target, Selector(content.target)
        layer.revision, layer.id = change.revision, change.id
        self.ranks[layer.rank] = layer
        self._anchor(layer, add=True)
        return before, layer.target

    def _anchor(self, layer: Layer, *, add: bool) -> None:
        for anchor in anchors(layer.target):
            found = self._anchored.setdefault(anchor, {})
            if add:
                found[layer.name] = layer
            else:
                found.pop(layer.name, None)
                if not found:
                    del self._anchored[anchor]

    def layer(self, name: str) -> Layer:
        """The layer of this name; that of a device is made when it is not there."""
        layer = self.by_name.get(name)
        if layer is None:
            layer = Layer(name, DEVICE_RANK)
            if name.startswith(OF_DEVICE):  # else it was deleted, with what it held
                self.by_name[name] = layer
        return layer

    def size(self, name: str, changes: Sequence[Change]) -> int:
        """How many names a layer has after these changes of an evaluation."""
        layer = self.by_name.get(name)
        return (0 if layer is None else len(layer.values)) + self._growth.of(name, changes)

    def write(self, change: Change) -> tuple[Layer, str, Value | None, Value | None]:
        """Follow a change of a layer's configuration: the layer, the name, and its value before and after it."""
        name_of_layer, name = split(change.key)
        layer = self.layer(name_of_layer)
        value = None
        if change.content is not None:
            tag = self.tagger.tag(change.content_type, change.content)
            value = Value(change.content, change.content_type, tag, change.version, change.revision)
        before = layer.put(name, value, change.revision, self._ledger.oldest)
        return layer, name, before, value

    def of(self, device: Placed) -> tuple[Layer, ...]:
        """The layers of a device, the highest first."""
        found = [self.by_name[GLOBAL]]
        own = self.by_name.get(OF_DEVICE + device.id)
        if own is not None:
            found.append(own)
        keys: list[tuple[object, ...]] = [("label", label, value) for label, value in device.labels.items()]
        keys += (("device", device.id), ("network", device.network), ("type", device.type), ())
        for key in keys:
            if (candidates := self._anchored.get(key)) is not None:
                found += [layer for layer in candidates.values() if layer.covers(device)]
        return tuple(sorted(found, key=_rank, reverse=True))

    def shared(self) -> list[Layer]:
        """The layers by rank without those of single devices: `global`, and those with a record."""
        return [self.by_name[GLOBAL], *(self.ranks[rank] for rank in sorted(self.ranks))]

    def ranked(self) -> Steps[list[Layer]]:
        """The layers by rank, with those of single devices by name. There may be 100,000, so this is done in steps."""
        own = [layer for layer in self.by_name.values() if layer.rank == DEVICE_RANK]
        return [*self.shared(), *(yield from in_order(own, _name))]


def _rank(layer: Layer) -> int:
    return layer.rank


def _name(layer: Layer) -> str:
    return layer.name
