"""Networks: none can be registered yet, so there is only a list, and it is empty."""

from __future__ import annotations

from typing import Annotated, Any

from hivewire_protocol.messages import Reply, Request, says
from hivewire_protocol.permissions import Permission


class NetworkListReply(Reply):
    """The networks."""

    networks: Annotated[list[dict[str, Any]], says("Empty: no networks can be registered yet.")]


class NetworkList(Request, tag="network/list"):
    """List the networks that the caller may see: none until networks can be registered."""

    permission = Permission.GET_NETWORK
    read_only = True
    reply = NetworkListReply
