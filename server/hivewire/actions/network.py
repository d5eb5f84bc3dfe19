"""Networks: none exist until they can be registered."""

from __future__ import annotations

from hivewire.client import Client
from hivewire.dispatch import House
from hivewire_protocol.messages import Reply
from hivewire_protocol.network import NetworkList, NetworkListReply


def list_(house: House, client: Client, request: NetworkList) -> Reply:
    """An empty list."""
    return NetworkListReply([])


READS = {NetworkList: list_}
