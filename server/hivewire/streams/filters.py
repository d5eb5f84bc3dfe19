"""Which messages of a log somebody wants, as a test and as keys of an index.

A message has a few keys, one for each way in which it can be asked for, and a filter has the keys that it asks for: it
wants a message exactly if they have a key in common, and that is then one key. So an index finds all who want a message
without looking at the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import lru_cache

from msgspec import Struct

from hivewire.streams.message import Message
from hivewire_protocol.patterns import Patterns


class Filter(Struct, frozen=True, gc=False):
    """Messages of these networks, types and names, and of this device (the id of its record). None stands for all.

    Notifications of the gateway itself have no network and no type; only a filter without both wants them.
    """

    networks: frozenset[int] | None = None
    types: frozenset[int] | None = None
    names: frozenset[str] | None = None
    device: int | None = None

    @property
    def is_global(self) -> bool:
        """Whether it wants the messages of all devices."""
        return self.device is None and self.networks is None and self.types is None

    def accepts(self, message: Message) -> bool:
        """Whether it wants a message, updated or not."""
        return (
            (self.device is None or message.device == self.device)
            and (self.networks is None or message.network in self.networks)
            and (self.types is None or message.type in self.types)
            and (self.names is None or message.name in self.names)
        )

    def meets(self, networks: Set[int | None], types: Set[int | None], names: Set[str | None]) -> bool:
        """Whether it may want one of some messages, which have these networks, types and names."""
        return (
            (self.networks is None or not self.networks.isdisjoint(networks))
            and (self.types is None or not self.types.isdisjoint(types))
            and (self.names is None or not self.names.isdisjoint(names))
        )

    def covers(self, other: Filter) -> bool:
        """Whether it wants all that another one of the same device and names wants."""
        sides = (self.networks, other.networks), (self.types, other.types)
        return all(mine is None or (their is not None and their <= mine) for mine, their in sides)

    def __len__(self) -> int:
        """The number of its keys."""
        sides = (self.networks, self.types, self.names)
        networks, types, names = (1 if side is None else len(side) for side in sides)
        return networks * types * names

    def keys(self, *, updated: bool) -> Iterator[str]:
        """Its keys, for messages that were updated or for those that were not."""
        event, device = _event(updated=updated), _part("d", self.device)
        for network in (None,) if self.networks is None else sorted(self.networks):
            for type_ in (None,) if self.types is None else sorted(self.types):
                place = event + _part("n", network) + _part("t", type_) + device
                yield from (place,) if self.names is None else (_named(place, name) for name in sorted(self.names))


class Keys(Patterns):
    """The keys of a filter, as patterns: a filter covers more than what is in its keys."""

    __slots__ = ("filter",)

    def __init__(self, filter: Filter, *, updated: bool) -> None:
        super().__init__(filter.keys(updated=updated))
        self.filter = filter

    def covers(self, other: Patterns) -> bool:
        """Whether its filter wants all that the other one's wants. Both are of one subscription."""
        return self.filter.covers(other.filter) if isinstance(other, Keys) else super().covers(other)


def keys_of(message: Message) -> tuple[str, ...]:
    """The keys by which a message is found."""
    network, type_, name = message.network, message.type, message.name
    updated = message.changed != message.timestamp
    shared = _shared_keys(updated, network, type_, name)
    if network is None or type_ is None:
        return shared
    own = f"{shared[0]}d{message.device}"
    # The names of `_named`, written out: every message has this one of its own.
    return ((own,) if name is None else (own, f"{own}={name};")) + shared


@lru_cache(1_024)
def _shared_keys(updated: bool, network: int | None, type_: int | None, name: str | None) -> tuple[str, ...]:
    """Those that messages of several devices have: many messages come from few places. Their hashes are kept, too."""
    event = _event(updated=updated)
    places: tuple[str, ...] = (event,)
    if network is not None and type_ is not None:
        places = (event + f"n{network}t{type_}", event + f"n{network}", event + f"t{type_}", event)
    return places if name is None else (*places, *[_named(place, name) for place in places])


def _event(*, updated: bool) -> str:
    return "updated:" if updated else "inserted:"


def _part(letter: str, number: int | None) -> str:
    return "" if number is None else f"{letter}{number}"


def _named(place: str, name: str) -> str:
    return f"{place}={name};"  # the last character keeps a name that ends in `*` from being a pattern
