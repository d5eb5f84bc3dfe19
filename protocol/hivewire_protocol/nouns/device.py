"""Devices: what DeviceHive's clients register, and which commands and notifications belong to (devices, section 1)."""

import re
from typing import Annotated, ClassVar

from msgspec import UNSET, Raw, Struct, UnsetType

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import DryRun, Integer, Reply, Request, WriteReply, says
from hivewire_protocol.permissions import Permission

DEVICE_ID = re.compile(r"[a-zA-Z0-9-]+")
"""The characters of the id of a device."""

MAX_DEVICE_ID = 48
"""Characters."""


def is_device_id(text: str) -> bool:
    """Whether a device can have this id."""
    return len(text) <= MAX_DEVICE_ID and DEVICE_ID.fullmatch(text) is not None


_Id = Annotated[str, says("The id that the client chose.")]
_Name = Annotated[str, says("What people call the device; several may have the same name.")]
_Data = Annotated[Raw, says("Any JSON object that applications keep with the device, or null.")]
_Blocked = Annotated[bool, says("A mark for applications; the gateway does not act on it.")]


class DeviceView(Struct, gc=False):
    """A device."""

    id: _Id
    name: _Name
    data: _Data
    networkId: Annotated[int, says("The number of its network.")]
    deviceTypeId: Annotated[int, says("The number of its device type.")]
    isBlocked: _Blocked
    online: Annotated[bool | UnsetType, says("With `presence`: whether something waits for its commands.")] = UNSET
    lastSeen: Annotated[
        str | UnsetType | None,
        says("With `presence`: when something last did; null if nothing has since the start of the gateway."),
    ] = UNSET


_Presence = Annotated[bool | None, says("True: show `online` and `lastSeen` too.")]


class DeviceListReply(Reply):
    """The devices."""

    devices: Annotated[list[DeviceView], says("The devices that match and that the caller may see.")]


class DeviceList(Request, tag="device/list"):
    """List the devices that the caller may see, filtered, sorted and paged (devices, section 1.1)."""

    permission = Permission.GET_DEVICE
    read_only = True
    reply = DeviceListReply
    errors = (OutOfBounds,)

    name: Annotated[str | None, says("Only devices with this name.")] = None
    namePattern: Annotated[str | None, says("Only names like this: `%` is any characters, `_` is one.")] = None
    networkId: Annotated[Integer | None, says("Only devices in this network.")] = None
    networkName: Annotated[str | None, says("Only devices in the network with this name.")] = None
    sortField: Annotated[str | None, says("`name` or `network`, over HTTP also `devicetype`; absent: by creation.")] = (
        None
    )
    sortOrder: Annotated[str | None, says("`asc`, as when absent, or `desc`.")] = None
    take: Annotated[Integer | None, says("The most to return; default 20 over a socket, all over HTTP.", minimum=0)] = (
        None
    )
    skip: Annotated[Integer | None, says("The number to skip at the beginning.", minimum=0)] = None
    presence: _Presence = None


class DeviceCountReply(Reply):
    """The number of devices."""

    count: Annotated[int, says("How many devices match.")]


class DeviceCount(Request, tag="device/count"):
    """Count the devices that the caller may see (devices, section 1.2)."""

    permission = Permission.GET_DEVICE
    read_only = True
    reply = DeviceCountReply
    errors = (OutOfBounds,)

    name: Annotated[str | None, says("Only devices with this name.")] = None
    namePattern: Annotated[str | None, says("Only names like this: `%` is any characters, `_` is one.")] = None
    networkId: Annotated[Integer | None, says("Only devices in this network.")] = None
    networkName: Annotated[str | None, says("Only devices in the network with this name.")] = None


class DeviceReply(Reply):
    """The device."""

    device: Annotated[DeviceView, says("The device.")]


class DeviceGet(Request, tag="device/get"):
    """One device. One that does not exist is 403 for a token that is limited to networks or device types."""

    permission = Permission.GET_DEVICE
    of_device = True
    read_only = True
    required = ("deviceId",)
    reply = DeviceReply
    errors = (NotFound,)

    presence: _Presence = None


class DeviceFields(Struct):
    """A device as its client describes it. Null is the same as absent, and unknown members are ignored."""

    required: ClassVar[tuple[str, ...]] = ("name",)

    name: Annotated[str | None, says("1 to 128 characters. Required of a new device; absent: unchanged.")] = None
    data: Annotated[Raw | UnsetType, says("Any JSON object. Absent or null clears it, as in DeviceHive.")] = UNSET
    networkId: Annotated[
        Integer | None, says("Its network. Absent: unchanged; for a new device the first network of the user.")
    ] = None
    deviceTypeId: Annotated[
        Integer | None, says("Its device type. Absent: unchanged; for a new device the first that the token reaches.")
    ] = None
    isBlocked: Annotated[bool | None, says("A mark for applications. Absent: unchanged; false for a new device.")] = (
        None
    )


class DeviceSave(Request, tag="device/save"):
    """Create or change a device (devices, section 1.4)."""

    permission = Permission.REGISTER_DEVICE
    concurrent = True
    required = ("deviceId", "device")
    reply = WriteReply
    errors = (NotAllowed, OutOfBounds, Unavailable)

    device: Annotated[DeviceFields | UnsetType | None, says("The device.")] = UNSET
    dryRun: DryRun = None


class DeviceDelete(Request, tag="device/delete"):
    """Delete a device, and with it its commands and notifications."""

    permission = Permission.REGISTER_DEVICE
    concurrent = True
    of_device = True
    required = ("deviceId",)
    reply = WriteReply
    errors = (NotFound, Unavailable)

    dryRun: DryRun = None
