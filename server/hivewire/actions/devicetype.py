"""DeviceTypes: none exist until they can be registered."""

from __future__ import annotations

from hivewire.caller import Caller
from hivewire.services import Services
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.devicetype import DeviceTypeList, DeviceTypeListReply


def list_(services: Services, caller: Caller, request: DeviceTypeList) -> Reply:
    """An empty list."""
    return DeviceTypeListReply([])


READS = {DeviceTypeList: list_}
