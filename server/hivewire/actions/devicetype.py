"""DeviceTypes: none exist until they can be registered."""

from __future__ import annotations

from hivewire.client import Client
from hivewire.dispatch import House
from hivewire_protocol.devicetype import DeviceTypeList, DeviceTypeListReply
from hivewire_protocol.messages import Reply


def list_(house: House, client: Client, request: DeviceTypeList) -> Reply:
    """An empty list."""
    return DeviceTypeListReply([])


READS = {DeviceTypeList: list_}
