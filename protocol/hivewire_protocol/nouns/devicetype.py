"""Device types: another way to group devices (core protocol, sections 6.1, 6.2 and 6.5)."""

from typing import Annotated, ClassVar

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WasDryRun, WriteReply, says
from hivewire_protocol.nouns.network import DeviceBrief
from hivewire_protocol.permissions import Permission

_Id = Annotated[int, says("The device type's number.")]
_Name = Annotated[str, says("The device type's name; no other device type has it.")]
_Description = Annotated[str | None, says("Its description, or null.")]
_WantedName = Annotated[str | None, says("Only the device type with this name.")]
_WantedPattern = Annotated[
    str | None, says("Only names like this: `%` is any characters, `_` is one; applies together with `name`.")
]


class DeviceTypeListed(Struct):
    """A device type without its devices."""

    id: _Id
    name: _Name
    description: _Description


class DeviceTypeFull(Struct):
    """A device type with its devices."""

    devices: Annotated[list[DeviceBrief], says("Its devices that the token reaches, by creation.")]
    id: _Id
    name: _Name
    description: _Description


class DeviceTypeCreated(Struct):
    """A new device type."""

    id: _Id


class DeviceTypeListReply(Reply):
    """The device types."""

    deviceTypes: Annotated[list[DeviceTypeListed], says("The device types that match and that the caller may see.")]


class DeviceTypeCountReply(Reply):
    """The number of device types."""

    count: Annotated[int, says("How many match.")]


class DeviceTypeReply(Reply):
    """A device type."""

    deviceType: Annotated[DeviceTypeFull, says("The device type.")]


class DeviceTypeInsertReply(Reply):
    """The new device type's number."""

    deviceType: Annotated[DeviceTypeCreated, says("The new device type.")]
    dryRun: WasDryRun = UNSET


class DeviceTypeList(Request, tag="devicetype/list"):
    """List the device types that the caller may see, filtered, sorted and paged; by number when not sorted.

    They are those that the token names, and all for a user that has all of them; for a client without that only those
    that it is assigned.
    """

    permission = Permission.GET_DEVICE_TYPE
    read_only = True
    reply = DeviceTypeListReply
    errors = (OutOfBounds,)

    name: _WantedName = None
    namePattern: _WantedPattern = None
    sortField: Annotated[str | None, says("`id` or `name`.")] = None
    sortOrder: Annotated[str | None, says("`asc`, as when absent, or `desc`.")] = None
    take: Annotated[Integer | None, says("The most to return; default 20 over a socket, all over HTTP.", minimum=0)] = (
        None
    )
    skip: Annotated[Integer | None, says("The number to skip at the beginning.", minimum=0)] = None


class DeviceTypeCount(Request, tag="devicetype/count"):
    """Count the device types that match: over HTTP those that `devicetype/list` shows, over a socket all of them, as in
    DeviceHive."""

    permission = Permission.GET_DEVICE_TYPE
    read_only = True
    reply = DeviceTypeCountReply
    errors = (OutOfBounds,)

    name: _WantedName = None
    namePattern: _WantedPattern = None


class DeviceTypeGet(Request, tag="devicetype/get"):
    """One device type with its devices. It exists only for users with all device types, or with this one."""

    permission = Permission.GET_DEVICE_TYPE
    read_only = True
    required = ("deviceTypeId",)
    reply = DeviceTypeReply
    errors = (NotFound,)


class DeviceTypeFields(Struct):
    """A device type. Unknown members are ignored."""

    required: ClassVar[tuple[str, ...]] = ()

    id: Annotated[Raw | UnsetType, says("Refused in a new one over a socket, ignored otherwise.")] = UNSET
    name: Annotated[str | None, says("1 to 128 characters, which no other type has; required in a new one.")] = None
    description: Annotated[str | None, says("Up to 128 characters. It can be emptied, but not be made null again.")] = (
        None
    )


class DeviceTypeInsert(Request, tag="devicetype/insert"):
    """Create a device type. Only users that have all of them reach it until others are assigned."""

    permission = Permission.MANAGE_DEVICE_TYPE
    required = ("deviceType",)
    reply = DeviceTypeInsertReply
    errors = (NotAllowed, Unavailable)

    deviceType: Annotated[DeviceTypeFields | UnsetType | None, says("The new device type.")] = UNSET
    dryRun: DryRun = None


class DeviceTypeUpdate(Request, tag="devicetype/update"):
    """Change the name or the description of a device type; an absent or null one stays as it is."""

    permission = Permission.MANAGE_DEVICE_TYPE
    required = ("deviceTypeId", "deviceType")
    reply = WriteReply
    errors = (NotAllowed, NotFound, Unavailable)

    deviceType: Annotated[DeviceTypeFields | UnsetType | None, says("What to change.")] = UNSET
    dryRun: DryRun = None


class DeviceTypeDelete(Request, tag="devicetype/delete"):
    """Delete a device type. Its devices go with it if `force` is true; else it is refused while the caller sees any."""

    permission = Permission.MANAGE_DEVICE_TYPE
    required = ("deviceTypeId",)
    reply = WriteReply
    errors = (NotFound, Unavailable)

    force: Annotated[bool | None, says("Whether to delete its devices too; default false.")] = None
    dryRun: DryRun = None
