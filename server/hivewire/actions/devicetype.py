"""Device types (core protocol, section 6.5); what is the same for networks stands in `groupings`."""

from __future__ import annotations

from hivewire.access.users import UserContent
from hivewire.actions.groupings import Ids, Noun, brief, checked_path, counted, created, deleted, found, listed, updated
from hivewire.actions.listing import Listing, ListingWithin
from hivewire.caller import Caller
from hivewire.devices.registry import DEVICE_TYPE, Grouping
from hivewire.devices.scope import Scope
from hivewire.ledger.pending import PendingWrite
from hivewire.services import Services
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.devicetype import (
    DeviceTypeCount,
    DeviceTypeCountReply,
    DeviceTypeCreated,
    DeviceTypeDelete,
    DeviceTypeGet,
    DeviceTypeInsert,
    DeviceTypeInsertReply,
    DeviceTypeList,
    DeviceTypeListed,
    DeviceTypeUpdate,
)
from hivewire_protocol.nouns.user import Role


def _assigned(user: UserContent) -> Ids:
    """Administrators, and clients with all device types, see all; other clients see those that they are assigned."""
    return None if user.role == Role.ADMIN or user.all_device_types_available else frozenset(user.device_types)


def _devices(device_type: int, scope: Scope) -> tuple[Ids, Ids]:
    return scope.reached, frozenset({device_type})


DEVICE_TYPES = Noun(DEVICE_TYPE, "Device type", lambda scope: scope.types, _assigned, _devices)


async def list_(services: Services, caller: Caller, request: DeviceTypeList) -> Reply:
    """Those that match and that the caller may see, sorted and paged."""
    return Listing("deviceTypes", await listed(services, caller, DEVICE_TYPES, request), view)


def view(device_type: Grouping) -> DeviceTypeListed:
    """A device type as a member of a list."""
    return DeviceTypeListed(device_type.id, device_type.name, device_type.description)


async def count(services: Services, caller: Caller, request: DeviceTypeCount) -> Reply:
    """How many match: of those in the list over HTTP, of all over a socket, as in DeviceHive."""
    return DeviceTypeCountReply(await counted(services, caller, DEVICE_TYPES, request, every=not caller.http))


async def get(services: Services, caller: Caller, request: DeviceTypeGet) -> Reply:
    """One, with its devices by creation; over HTTP they may be any number. Raises NotFound."""
    device_type, devices = await found(services, caller, DEVICE_TYPES, request.deviceTypeId)
    return ListingWithin("deviceType", devices, brief, "devices", view(device_type))


def insert(services: Services, caller: Caller, request: DeviceTypeInsert) -> PendingWrite[Reply]:
    """Create one. Raises NotAllowed when the name is taken."""
    return created(caller, DEVICE_TYPES, request.deviceType, _created).tried(request.dryRun)


def _created(made: int) -> Reply:
    return DeviceTypeInsertReply(DeviceTypeCreated(made))


async def update(services: Services, caller: Caller, request: DeviceTypeUpdate) -> Reply:
    """Change its name or description. Raises NotFound, and NotAllowed when the name is taken."""
    return await updated(services, caller, DEVICE_TYPES, request.deviceTypeId, request.deviceType, request.dryRun)


async def delete(services: Services, caller: Caller, request: DeviceTypeDelete) -> Reply:
    """Delete one, with its devices if that is forced. Raises NotFound."""
    return await deleted(
        services, caller, DEVICE_TYPES, request.deviceTypeId, request.dryRun, force=bool(request.force)
    )


check_path = checked_path(DEVICE_TYPES, "deviceTypeId")
"""Checks what a path names; see there."""

READS = {
    DeviceTypeList: list_,
    DeviceTypeCount: count,
    DeviceTypeGet: get,
    DeviceTypeUpdate: update,
    DeviceTypeDelete: delete,
}
WRITES = {DeviceTypeInsert: insert}
