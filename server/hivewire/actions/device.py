"""Devices as clients see them (devices, section 1, and its addendum)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from hivewire.access.user_changes import conflict
from hivewire.actions.checks import MAX_NAME, NAME_LENGTH, NAME_MISSING, check_token, json_object
from hivewire.actions.listing import Listing, Test, arrangement, like, page, search
from hivewire.caller import Caller
from hivewire.devices.index import KIND, Device, DeviceContent
from hivewire.devices.registry import DEVICE_TYPE, NETWORK, Registry, exists
from hivewire.devices.scope import Scope, required
from hivewire.fleet.device_topics import view, view_with_presence
from hivewire.ledger.pending import PendingWrite, changed, commit
from hivewire.ledger.records import Change, Expected, Transaction, Write
from hivewire.services import Services
from hivewire.streams.message import Draft, StreamError
from hivewire.telemetry import log
from hivewire_protocol.codec import MAX_REPLY
from hivewire_protocol.encoding import encode
from hivewire_protocol.errors import InvalidParameters, NotAllowed, OutOfBounds, TooLarge
from hivewire_protocol.messages import DONE, Reply, WriteReply
from hivewire_protocol.nouns.device import (
    DEVICE_ID,
    MAX_DEVICE_ID,
    DeviceCount,
    DeviceCountReply,
    DeviceDelete,
    DeviceFields,
    DeviceGet,
    DeviceList,
    DeviceReply,
    DeviceSave,
    DeviceView,
)
from hivewire_protocol.nouns.notification import NotificationView

# Reading.


def get(services: Services, caller: Caller, request: DeviceGet) -> Reply:
    """One device. Raises AccessDenied or NotFound (addendum, section 4)."""
    device = services.registry.reach(caller.identity, request.deviceId)
    return DeviceReply(_view(services, request.presence)(device))


def _view(services: Services, presence: bool | None) -> Callable[[Device], DeviceView]:
    return partial(view_with_presence, services.presence) if presence else view


async def list_(services: Services, caller: Caller, request: DeviceList) -> Reply:
    """Devices that match, sorted and paged: 20 over a socket, all over HTTP, as in DeviceHive."""
    arrange = arrangement(request, caller, SORTS_OVER_HTTP if caller.http else SORTS)
    matches, scope = _test(request), services.registry.scope(caller.identity)
    among = _among(services.registry, scope.reached, scope.types, request)
    return Listing("devices", await page(among, matches, arrange), _view(services, request.presence))


async def count(services: Services, caller: Caller, request: DeviceCount) -> Reply:
    """How many devices match. A token without networks counts all that its user reaches (devices, section 1.2)."""
    matches, scope = _test(request), services.registry.scope(caller.identity)
    networks = scope.reached if scope.networks else scope.members
    return DeviceCountReply(len(await search(_among(services.registry, networks, scope.types, request), matches)))


SORTS: Mapping[str, Callable[[Device], Any]] = {
    "name": lambda device: device.content.name,
    "network": attrgetter("network"),
}
SORTS_OVER_HTTP: Mapping[str, Callable[[Device], Any]] = {**SORTS, "devicetype": attrgetter("type")}


def _among(
    registry: Registry,
    networks: frozenset[int] | None,
    types: frozenset[int] | None,
    request: DeviceList | DeviceCount,
) -> Iterable[Device]:
    """The devices of these networks and types, if they are in the network that the request names, by id and by name."""
    if request.networkId is not None:
        networks = frozenset((request.networkId,)) & (networks if networks is not None else registry.networks.keys())
    if request.networkName is not None:
        named = (network.id for network in registry.networks.values() if network.name == request.networkName)
        networks = frozenset(named) & (networks if networks is not None else registry.networks.keys())
    return registry.devices_in(networks, types)


def _test(request: DeviceList | DeviceCount) -> Test[Device]:
    """The test for the names that the request asks for."""
    name, matches = request.name, like(request.namePattern, "namePattern")
    if name is None and matches is None:
        return lambda device: True

    def test(device: Device) -> bool:
        found = device.content.name
        return (name is None or found == name) and (matches is None or matches(found))

    return test


# Writing.

MOST_BYTES = MAX_REPLY - (1 << 10)
"""Bytes of a stored device, so that there is room for the rest of an answer."""


async def save(services: Services, caller: Caller, request: DeviceSave) -> Reply:
    """Create or change a device. Raises InvalidParameters, OutOfBounds, TooLarge or NotAllowed
    (devices, section 1.4)."""
    device_id = checked_id(required(request.deviceId))
    fields = request.device
    if not isinstance(fields, DeviceFields):
        raise InvalidParameters("Device is required")
    data = json_object(fields.data)

    async def attempt() -> Change:  # also after its network or type was deleted meanwhile
        await services.registry.forget(device_id)
        check_token(services, caller)
        transaction = _saving(services, caller, device_id, fields, data)
        transaction.dry_run = bool(request.dryRun)
        pending = PendingWrite(transaction, lambda changes: changes, conflict)
        [change] = await commit(services.ledger, pending, caller.identity)
        return change

    change = await changed(services.registry.changing, (KIND, device_id), attempt)
    if request.dryRun:
        return WriteReply(True)
    await announce(services, caller, change)
    return DONE


class Saved(Struct):
    """A device as the gateway's own notifications see it: they have no network and no type."""

    record_id: int
    id: str
    network: None = None
    type: None = None


async def announce(services: Services, caller: Caller, change: Change) -> None:
    """Insert a notification that a device was saved (devices, section 7).

    Only subscriptions to everything get it. The device is saved already, so a failure is only logged.
    """
    name = "$device-add" if change.version == 1 else "$device-update"
    device = Saved(change.id, change.key)
    shown = Raw(encode(view(Device.of(change, 0, 0))))
    body = NotificationView(0, name, device.id, None, None, "", shown)
    draft = Draft(device, name, caller.identity.user_id, body.stamped, size=len(shown))
    try:
        await services.messages.notifications.insert(draft)
    except StreamError as error:
        log.warning("a notification of the gateway was not stored", device=change.key, name=name, reason=str(error))


def checked_id(device_id: str) -> str:
    """The id of a device that is saved. Raises OutOfBounds for one with other characters."""
    if not DEVICE_ID.fullmatch(device_id):
        raise OutOfBounds("Device Id can only contain letters, digits and dashes.")
    return device_id


def check_id_in_path(services: Services, caller: Caller, parameters: Mapping[str, str]) -> None:
    """The same for the id in a path, which is checked before the body is read."""
    checked_id(unquote(parameters["deviceId"]))


def _saving(services: Services, caller: Caller, device_id: str, fields: DeviceFields, data: Raw) -> Transaction:
    """The transaction that saves a device over what it is now. Checks are in the order of devices, section 1.4."""
    registry = services.registry
    scope = registry.scope(caller.identity)
    network, device_type = _network(services, caller, scope, fields), _type(registry, scope, fields)
    former = registry.device(device_id)
    if former is None:
        _check_name(fields.name, device_id)
        content = DeviceContent(name=fields.name or "", network=network, type=device_type)
    else:
        if not scope.registers(former.network):
            raise NotAllowed("No access to device")
        content = former.content
        if fields.name is not None:
            _check_name(fields.name)
            content.name = fields.name
        content.network = content.network if fields.networkId is None else network
        content.type = content.type if fields.deviceTypeId is None else device_type
    content.data = data
    content.blocked = content.blocked if fields.isBlocked is None else fields.isBlocked
    encoded = msgspec.json.encode(content)
    if len(encoded) > MOST_BYTES:
        raise TooLarge(f"The device has {len(encoded):,} bytes, more than the {MOST_BYTES:,} that an answer could show")
    expected = Expected(version=0) if former is None else former.unchanged
    moves = former is not None and (former.network, former.type) != (content.network, content.type)
    farewell = former.farewell if former is not None and moves else None
    return Transaction(
        [Write(KIND, device_id, encoded, "application/json", farewell, (expected,))],
        caller.identity.login,
        (exists(NETWORK, content.network), exists(DEVICE_TYPE, content.type)),
    )


def _network(services: Services, caller: Caller, scope: Scope, fields: DeviceFields) -> int:
    """The network that is asked for, or the first one of the user. Its default is checked also where it is not used."""
    networks = services.registry.networks
    if fields.networkId is None:
        user = services.users.by_id(caller.identity.user_id)
        own = sorted(user.content.networks) if user is not None else ()
        network = next((network for network in own if network in networks and scope.registers(network)), None)
    else:
        if fields.networkId not in networks:
            raise InvalidParameters
        network = fields.networkId if scope.registers(fields.networkId) else None
    if network is None:
        raise NotAllowed("No access to network!")
    return network


def _type(registry: Registry, scope: Scope, fields: DeviceFields) -> int:
    """The device type that is asked for, or the first one that the token reaches."""
    if fields.deviceTypeId is not None:
        if fields.deviceTypeId not in registry.device_types:
            raise InvalidParameters
        return fields.deviceTypeId
    for found in registry.device_types:
        if scope.types is None or found in scope.types:
            return found
    raise NotAllowed("No access to device type!")


def _check_name(name: str | None, new_id: str = "") -> None:
    """Raise OutOfBounds for a bad name, and for the id of a new device that is too long: both texts, if need be."""
    wrong = ""
    if name is None:
        wrong = NAME_MISSING
    elif not 1 <= len(name) <= MAX_NAME:
        wrong = NAME_LENGTH
    if len(new_id) > MAX_DEVICE_ID:
        wrong += f"Field cannot be empty. The length of guid should not be more than {MAX_DEVICE_ID} symbols."
    if wrong:
        raise OutOfBounds(wrong)


async def delete(services: Services, caller: Caller, request: DeviceDelete) -> Reply:
    """Delete a device. Raises AccessDenied or NotFound (addendum, section 4)."""
    device_id = required(request.deviceId)

    async def attempt() -> Reply:
        check_token(services, caller)
        device = services.registry.reach(caller.identity, device_id)
        transaction = Transaction(services.registry.removal(device), caller.identity.login)
        pending: PendingWrite[Reply] = PendingWrite(transaction, lambda changes: DONE, conflict)
        return await commit(services.ledger, pending.tried(request.dryRun), caller.identity)

    return await changed(services.registry.changing, (KIND, device_id), attempt)


READS = {DeviceGet: get, DeviceList: list_, DeviceCount: count, DeviceSave: save, DeviceDelete: delete}
