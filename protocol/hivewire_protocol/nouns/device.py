"""Devices: none exist yet, so the one thing that can be asked is a list, and it is empty."""

from __future__ import annotations

from typing import Any, ClassVar

from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.permissions import Permission


class DeviceList(Request, tag="device/list"):
    """What the caller may see, which is nothing until devices can be registered."""

    permission: ClassVar[Permission | None] = Permission.GET_DEVICE


class DeviceListReply(Reply):
    """The answer to `device/list`."""

    devices: list[dict[str, Any]]
