"""What can be followed of devices, networks and device types.

Access to a device depends on where it is. So a subscription to devices has the keys of the places that its user
reaches, and a device has those of its place: as in `streams/filters.py`, one of them is the same exactly if the user
sees the device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from hivewire.access.identity import Identity
from hivewire.devices.index import KIND as DEVICE
from hivewire.devices.index import Device, places_of
from hivewire.devices.presence import Presence
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, GroupingContent, Registry
from hivewire.hub.hub import Hub
from hivewire.hub.ledger_source import key_of
from hivewire.hub.source import Row, Topic
from hivewire.ledger.records import Change
from hivewire_protocol import times
from hivewire_protocol.encoding import encode
from hivewire_protocol.nouns.device import DeviceView
from hivewire_protocol.nouns.devicetype import DeviceTypeListed
from hivewire_protocol.nouns.network import NetworkListed
from hivewire_protocol.nouns.user import Role
from hivewire_protocol.patterns import EVERYTHING, Patterns
from hivewire_protocol.permissions import Permission

FEW = 1_000
"""Devices that are sorted for each frame of a snapshot. Where there may be more, all devices are gone through."""

PLACES = 10_000
"""The most places that one subscription to devices follows: pairs of a network and a type."""

Ids = Collection[int] | None
"""Ids of networks or device types; None stands for all."""


def view(device: Device) -> DeviceView:
    """A device as clients see it."""
    content = device.content
    return DeviceView(device.id, content.name, content.data, content.network, content.type, content.blocked)


def view_with_presence(presence: Presence, device: Device) -> DeviceView:
    """The same with whether it is online, and when it last was."""
    shown, seen = view(device), presence.last_seen(device.record_id)
    shown.online, shown.lastSeen = presence.online(device.record_id), None if seen is None else times.render(seen)
    return shown


class Sight(Patterns):
    """Devices of these networks and types, and with this id, as keys of an index."""

    __slots__ = ("device", "networks", "types")

    def __init__(self, device: str | None, networks: Ids, types: Ids) -> None:
        places = [_key(device, network, type_) for network in _each(networks) for type_ in _each(types)]
        super().__init__(places)
        self.device = device
        self.networks = None if networks is None else frozenset(networks)
        self.types = None if types is None else frozenset(types)

    def shows(self, device: Device) -> bool:
        """Whether a device is among them."""
        return (
            (self.device is None or device.id == self.device)
            and (self.networks is None or device.network in self.networks)
            and (self.types is None or device.type in self.types)
        )


def _each(ids: Ids) -> Iterable[int | None]:
    return (None,) if ids is None else ids


def _key(device: str | None, network: int | None, type_: int | None) -> str:
    """No id of a device has a slash, so no key is one."""
    return f"{device or ''}/{'' if network is None else network}/{'' if type_ is None else type_}"


NOTHING = Sight(None, (), ())


def places(networks: Ids, types: Ids) -> int:
    """The number of keys of these networks and types."""
    return (1 if networks is None else len(networks)) * (1 if types is None else len(types))


def keys_of(change: Change) -> list[str]:
    """The id of a device, and the keys of where it is, and of where it was if it has left."""
    return _keys(change.key, places_of(change))


def _keys(device: str, places: Iterable[tuple[int, int]]) -> list[str]:
    found = [device, _key(None, None, None), _key(device, None, None)]
    for network, type_ in places:
        for wanted in (None, device):
            found += [_key(wanted, network, type_), _key(wanted, network, None), _key(wanted, None, type_)]
    return found


class Devices:
    """The devices that a subscription sees, for its snapshot."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def records(self, names: Patterns, after: str) -> Iterator[Row]:
        """Those after an id, in the order of ids, with None for others that were looked at."""
        assert isinstance(names, Sight)  # noqa: S101 - what the topic serves
        registry = self._registry
        if (few := self._few(names)) is not None:
            yield from ((device.id, 0, device) for device in few if device.id > after)
            return
        keys = registry.ledger.kind(DEVICE).keys
        for key in keys.islice(keys.bisect_right(after) if after else 0):
            device = registry.device(key)
            yield key, 0, device if device is not None and names.shows(device) else None

    def _few(self, names: Sight) -> list[Device] | None:
        """The devices that it sees by id, if they are few."""
        if names.device is not None:
            device = self._registry.device(names.device)
            return [device] if device is not None and names.shows(device) else []
        if names.networks is None and names.types is None:
            return None
        found = list(islice(self._registry.devices_in(names.networks, names.types), FEW + 1))
        return sorted(found, key=_id) if len(found) <= FEW else None


def _id(device: Device) -> str:
    return device.id


class DeviceTopics:
    """The topics. What they serve depends on what the user belongs to, so a change of that is a new beginning."""

    def __init__(self, registry: Registry, presence: Presence, hub: Hub) -> None:
        self._registry = registry
        self._presence = presence
        self._hub = hub
        presence.on_change.append(self._tell)
        self.devices = Topic(
            "device",
            DEVICE,
            _update("device", lambda change: view(Device.of(change, 0, 0))),
            keys_of,
            self._devices_served,
            "devices",
            lambda device: encode(view(device)),
            what=_what,
            scoped=True,
            visible=Devices(registry),
        )
        self.devices_with_presence = self.devices._replace(
            update=_update("device", lambda change: view_with_presence(presence, Device.of(change, 0, 0))),
            element=lambda device: encode(view_with_presence(presence, device)),
            volatile=True,
        )
        self.networks = _groupings("network", NETWORK, NetworkListed, self._networks_served)
        self.device_types = _groupings("deviceType", DEVICE_TYPE, DeviceTypeListed, self._types_served)

    def _tell(self, record_id: int) -> None:
        """A device is online, or offline, from now on."""
        topic = self.devices_with_presence
        if self._hub.is_followed(topic) and (device := self._registry.device_of(record_id)) is not None:
            shown = view_with_presence(self._presence, device)
            members = encode({"deviceId": device.id, "online": shown.online, "lastSeen": shown.lastSeen})[1:-1]
            self._hub.tell(topic, _keys(device.id, [(device.network, device.type)]), "presence", members)

    def _devices_served(self, identity: Identity, wanted: Patterns) -> Patterns:
        assert isinstance(wanted, Sight)  # noqa: S101 - what requests make
        if not identity.may(Permission.GET_DEVICE):
            return NOTHING
        networks, types = self._places(identity, wanted.networks, wanted.types)
        # Too many only if they have become so many since the request.
        return Sight(wanted.device, networks, types) if places(networks, types) <= PLACES else NOTHING

    def sees_too_much(self, identity: Identity, networks: Ids, types: Ids) -> bool:
        """Whether somebody would follow too many places, given what it asks for."""
        return max(places(networks, types), places(*self._places(identity, networks, types))) > PLACES

    def _places(self, identity: Identity, networks: Ids, types: Ids) -> tuple[Ids, Ids]:
        scope = self._registry.scope(identity)
        return _both(networks, scope.reached), _both(types, scope.types)

    def _networks_served(self, identity: Identity, wanted: Patterns) -> Patterns:
        reached = self._registry.scope(identity).reached if identity.may(Permission.GET_NETWORK) else ()
        return wanted & _patterns(reached)

    def _types_served(self, identity: Identity, wanted: Patterns) -> Patterns:
        user = self._registry.users.by_id(identity.user_id)
        if user is None or not identity.may(Permission.GET_DEVICE_TYPE):
            return _patterns(())
        every = user.content.role == Role.ADMIN or user.content.all_device_types_available
        granted = self._registry.scope(identity).types
        return wanted & _patterns(_both(granted, None if every else user.content.device_types))


def _both(one: Ids, other: Ids) -> Ids:
    """The ids in both."""
    if one is None or other is None:
        return other if one is None else one
    return frozenset(one) & frozenset(other)


def _patterns(ids: Ids) -> Patterns:
    """The keys of networks or device types."""
    return EVERYTHING if ids is None else Patterns(map(str, ids))


def _what(change: Change) -> str:
    return "change"


def _update(member: str, shown: Callable[[Change], Any]) -> Callable[[Change], bytes]:
    """The function that encodes the members of a push: what happened, to what, and what it is now."""

    def update(change: Change) -> bytes:
        removed = change.content is None
        members = {
            "revision": change.revision,
            "operation": "delete" if removed else "put",
            "modified": times.render(change.time),
            "modifiedBy": change.author,
            f"{member}Id": change.key if change.kind == DEVICE else change.id,
            member: None if removed else shown(change),
        }
        return encode(members)[1:-1]

    return update


def _groupings(
    member: str, kind: str, listed: Callable[[int, str, str | None], Any], served: Callable[..., Patterns]
) -> Topic:
    """The topic of networks, or of device types."""

    def shown(change: Change) -> Any:
        assert change.content is not None  # noqa: S101 - not a delete
        content = msgspec.json.decode(change.content, type=GroupingContent)
        return listed(change.id, content.name, content.description)

    def element(change: Change) -> bytes:
        return encode(shown(change))

    update, elements = _update(member, shown), f"{member}s"
    return Topic(member.lower(), kind, update, key_of, served, elements, element, what=_what, scoped=True)
