"""Device types: none can be registered yet, so there is only a list, and it is empty."""

from __future__ import annotations

from typing import Annotated, Any

from hivewire_protocol.messages import Reply, Request, says
from hivewire_protocol.permissions import Permission


class DeviceTypeListReply(Reply):
    """The device types."""

    deviceTypes: Annotated[list[dict[str, Any]], says("Empty: no device types can be registered yet.")]


class DeviceTypeList(Request, tag="devicetype/list"):
    """List the device types that the caller may see: none until device types can be registered."""

    permission = Permission.GET_DEVICE_TYPE
    read_only = True
    reply = DeviceTypeListReply
