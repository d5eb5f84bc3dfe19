"""Devices: none exist until they can be registered."""

from __future__ import annotations

from hivewire.caller import Caller
from hivewire.services import Services
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.device import DeviceList, DeviceListReply


def list_(services: Services, caller: Caller, request: DeviceList) -> Reply:
    """An empty list."""
    return DeviceListReply([])


READS = {DeviceList: list_}
