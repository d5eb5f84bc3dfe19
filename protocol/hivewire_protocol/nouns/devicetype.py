"""DeviceTypes: none exist yet, so the one thing that can be asked is a list, and it is empty."""

from __future__ import annotations

from typing import Any, ClassVar

from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.permissions import Permission


class DeviceTypeList(Request, tag="devicetype/list"):
    """What the caller may see, which is nothing until devicetypes can be registered."""

    permission: ClassVar[Permission | None] = Permission.GET_DEVICE_TYPE


class DeviceTypeListReply(Reply):
    """The answer to `devicetype/list`."""

    deviceTypes: list[dict[str, Any]]
