"""Which messages a subscription or a poll gets (devices, section 6.2; its addendum, sections 1 and 4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

from msgspec import Struct

from hivewire.access.identity import Identity
from hivewire.devices.index import Device
from hivewire.devices.scope import Scope
from hivewire.services import Services
from hivewire.streams.filters import Filter
from hivewire_protocol.errors import AccessDenied, InvalidParameters, NotFound
from hivewire_protocol.patterns import MAX_PATTERNS


class Reach(Struct, frozen=True, gc=False):
    """What a caller reaches at a moment: its scope, the types that its user has (None: all), and what exists."""

    scope: Scope
    assigned: frozenset[int] | None
    networks: Collection[int]
    types: Collection[int]

    def grants_network(self, network: int) -> bool:
        """Whether token and membership reach a network. A token without networks reaches those that are asked for."""
        scope = self.scope
        return (not scope.networks or network in scope.networks) and (scope.members is None or network in scope.members)

    def grants_type(self, device_type: int) -> bool:
        """Whether the token reaches a device type. A token without types reaches those that are asked for."""
        return not self.scope.types or device_type in self.scope.types

    def shows_network(self, network: int) -> bool:
        """Whether a network exists for the caller, who asks for it."""
        return network in self.networks and self.grants_network(network)

    def shows_type(self, device_type: int) -> bool:
        """Whether a device type exists for the caller, who asks for it."""
        has = self.assigned is None or device_type in self.assigned
        return device_type in self.types and has and self.grants_type(device_type)


def reach_of(services: Services, identity: Identity) -> Reach:
    """What a caller reaches now."""
    registry, user = services.registry, services.users.by_id(identity.user_id)
    scope = registry.scope(identity)
    every = user is not None and (scope.members is None or user.content.all_device_types_available)
    assigned = None if every or user is None else frozenset(user.content.device_types)
    return Reach(scope, assigned, registry.networks, registry.device_types)


def device_of_filter(services: Services, identity: Identity, device_id: str | None) -> Device | None:
    """The device that a request names. Raises InvalidParameters, AccessDenied or NotFound (devices, section 2.5)."""
    if device_id is None:
        return None
    if not device_id and services.registry.scope(identity).unrestricted:
        raise InvalidParameters("Device id is wrong or empty")
    return services.registry.reach(identity, device_id, follows=True)


def resolve(
    reach: Reach,
    device: Device | None,
    network_ids: Sequence[int] | None,
    type_ids: Sequence[int] | None,
    names: Sequence[str] | None,
) -> Filter | None:
    """The filter of a request; None when it cannot match anything.

    A client's token for all networks stands for those that its user belongs to, of which there may be none. Raises
    AccessDenied or NotFound for networks and types that are not there for the caller.
    """
    scope = reach.scope
    _check(scope, network_ids, reach.shows_network, "Networks with such networkIds wasn't found")
    _check(scope, type_ids, reach.shows_type, "Device types with such deviceTypeIds wasn't found")
    networks = frozenset(network_ids) if network_ids else scope.networks
    types = frozenset(type_ids) if type_ids else scope.types
    nothing = networks == NONE or types == NONE
    if nothing or (names is not None and not names and (device is not None or (networks is None and types is None))):
        return None
    wanted = frozenset(names) if names else None
    if device is not None:
        return Filter(_only(device.network), _only(device.type), wanted, device.record_id)
    if scope.members is not None:
        if networks is not None and not networks & scope.members:
            return None
        networks = scope.members if networks is None else networks & scope.members
    return Filter(networks, types, wanted)


def reached(
    reach: Reach, network_ids: Sequence[int] | None, type_ids: Sequence[int] | None, names: Sequence[str] | None
) -> Filter | None:
    """The filter of a request without a device, of the networks and types that are (still, or again) there for the
    caller; None when there is nothing that it could get."""
    networks, types = list(network_ids or ()), list(type_ids or ())
    shown, typed = list(filter(reach.shows_network, networks)), list(filter(reach.shows_type, types))
    if (networks and not shown) or (types and not typed):
        return None
    return resolve(reach, None, shown, typed, names)


def _check(scope: Scope, wanted: Sequence[int] | None, shows: Callable[[int], bool], missing: str) -> None:
    """Raise for ids of which one does not exist: an administrator is told so, a client gets AccessDenied."""
    # A list may have any length until its bound is checked, which comes after what does not exist.
    if not wanted or all(map(shows, {*wanted})):
        return
    if scope.members is not None:
        raise AccessDenied
    raise NotFound(f"{missing}: {{[{', '.join(map(str, wanted[:MAX_PATTERNS]))}]}}")


def narrowed(wanted: Filter, reach: Reach) -> Filter:
    """The part of a filter that the caller still reaches."""
    scope = reach.scope
    if wanted.networks is None:
        networks = None if scope.networks is None and scope.members is None else NONE
    else:
        networks = frozenset(filter(reach.grants_network, wanted.networks))
    if wanted.types is None:
        types = None if scope.types is None else NONE
    else:
        types = frozenset(filter(reach.grants_type, wanted.types))
    return Filter(networks, types, wanted.names, wanted.device)


NONE: frozenset[int] = frozenset()


# Lists in a query.

_NUMBER = re.compile(r"\s*(-?[0-9]{1,18})\s*")


def texts_of(given: list[str] | None) -> list[str] | None:
    """The elements of a list whose parameter has commas, comes several times, or both."""
    return None if given is None else [text for each in given for text in each.split(",") if text]


def numbers_of(given: list[str] | None) -> list[int] | None:
    """The numbers of such a list. Raises InvalidParameters."""
    texts = texts_of(given)
    if texts is None:
        return None
    found = [_NUMBER.fullmatch(text) for text in texts]
    if None in found:
        raise InvalidParameters
    return list(dict.fromkeys(int(match[1]) for match in found if match is not None))


@lru_cache(1_024)
def _only(number: int) -> frozenset[int]:
    """The set of one network or type. It is shared, because each device that is online has it in its filter."""
    return frozenset((number,))
