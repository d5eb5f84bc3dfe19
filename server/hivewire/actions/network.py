"""Networks: none exist until they can be registered."""

from __future__ import annotations

from hivewire.caller import Caller
from hivewire.services import Services
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.network import NetworkList, NetworkListReply


def list_(services: Services, caller: Caller, request: NetworkList) -> Reply:
    """An empty list."""
    return NetworkListReply([])


READS = {NetworkList: list_}
