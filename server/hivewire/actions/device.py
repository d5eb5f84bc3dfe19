"""Devices: none exist until they can be registered."""

from __future__ import annotations

from hivewire.client import Client
from hivewire.dispatch import House
from hivewire_protocol.device import DeviceList, DeviceListReply
from hivewire_protocol.messages import Reply


def list_(house: House, client: Client, request: DeviceList) -> Reply:
    """An empty list."""
    return DeviceListReply([])


READS = {DeviceList: list_}
