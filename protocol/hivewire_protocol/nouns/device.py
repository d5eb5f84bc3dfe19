"""Devices: none can be registered yet, so there is only a list, and it is empty."""

from __future__ import annotations

from typing import Annotated, Any

from hivewire_protocol.messages import Reply, Request, says
from hivewire_protocol.permissions import Permission


class DeviceListReply(Reply):
    """The devices."""

    devices: Annotated[list[dict[str, Any]], says("Empty: no devices can be registered yet.")]


class DeviceList(Request, tag="device/list"):
    """List the devices that the caller may see: none until devices can be registered."""

    permission = Permission.GET_DEVICE
    read_only = True
    reply = DeviceListReply
