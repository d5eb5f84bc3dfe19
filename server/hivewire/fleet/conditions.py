"""The conditions of writes into layers and of layers themselves, each with its error (fleet.md, sections 3 and 10)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.scope import SHOWN, no_device
from hivewire.fleet.layers import LAYER, Layers
from hivewire.ledger.records import Change, EvaluatedState, Guard, Write, version_of
from hivewire.resources import LAYERED
from hivewire_protocol.errors import Conflict, NotFound, OutOfBounds, WireError
from hivewire_protocol.nouns.layer import GLOBAL, OF_DEVICE, split

MOST_LAYERS, MOST_NAMES = 1_000, 1_000
"""Layers of a ledger, and names in each."""


class Exists(Struct, gc=False):
    """A condition: the layer exists, or the device whose layer it is."""

    layer: str

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it does."""
        return last is not None and last.content is not None

    def error(self, last: Change | None) -> WireError:
        """The error for a layer that does not exist."""
        return missing(self.layer)


class Room(Struct):
    """A condition: the layer has room for another name, or has this one."""

    layers: Layers
    layer: str

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it has."""
        return version_of(last) > 0 or self.layers.size(self.layer, state.changes) < MOST_NAMES

    def error(self, last: Change | None) -> WireError:
        """The error for one that is full."""
        return OutOfBounds(f"Layer '{self.layer}' holds {MOST_NAMES:,} configurations, the most that a layer can")


class Vacant(Struct):
    """A condition: no other layer has this rank. `holder` is the one that has it."""

    layers: Layers
    layer: str
    rank: int
    holder: str | None = None

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether that is so."""
        written, before = self.layers.ranked_anew.of(state.changes), self.layers.ranks.get(self.rank)
        holders = [name for name, rank in written.items() if rank == self.rank]
        if before is not None and before.name not in written:
            holders.append(before.name)
        self.holder = next((name for name in holders if name != self.layer), None)
        return self.holder is None

    def error(self, last: Change | None) -> WireError:
        """The error that names the holder."""
        return Conflict(f"Rank {self.rank} belongs to layer '{self.holder}'")


class Countable(Struct, gc=False):
    """A condition: there is room for another layer, or this one exists."""

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it is true."""
        return version_of(last) > 0 or state.count(LAYER) < MOST_LAYERS

    def error(self, last: Change | None) -> WireError:
        """The error for one too many."""
        return OutOfBounds(f"there are {MOST_LAYERS:,} layers, the most that there can be")


class Empty(Struct):
    """A condition: the layer has no values any more."""

    layers: Layers
    layer: str
    left: int = 0

    def holds(self, last: Change | None, state: EvaluatedState) -> bool:
        """Whether it is true after the writes before this one."""
        self.left = self.layers.size(self.layer, state.changes)
        return not self.left

    def error(self, last: Change | None) -> WireError:
        """The error that says how much is left."""
        return Conflict(f"Layer '{self.layer}' holds {self.left:,} configurations")


def missing(layer: str) -> NotFound:
    """The error for a layer that does not exist."""
    if layer.startswith(OF_DEVICE):
        return no_device(layer.removeprefix(OF_DEVICE))
    return NotFound(f"Layer '{layer[:SHOWN]}' does not exist")


def guards_of(writes: Sequence[Write]) -> tuple[Guard, ...]:
    """The guards of the layers that a transaction writes into."""
    return tuple(guard for layer in layers_of(writes) for guard in _guards(layer))


def layers_of(writes: Sequence[Write]) -> Iterable[str]:
    """The layers that a transaction writes into."""
    return dict.fromkeys(split(write.key)[0] for write in writes if write.kind == LAYERED)


def _guards(layer: str) -> list[Guard]:
    if layer == GLOBAL:
        return []
    kind, key = (DEVICE, layer.removeprefix(OF_DEVICE)) if layer.startswith(OF_DEVICE) else (LAYER, layer)
    return [Guard(kind, key, (Exists(layer),))]
