"""Networks: none exist yet, so the one thing that can be asked is a list, and it is empty."""

from __future__ import annotations

from typing import Any, ClassVar

from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.permissions import Permission


class NetworkList(Request, tag="network/list"):
    """What the caller may see, which is nothing until networks can be registered."""

    permission: ClassVar[Permission | None] = Permission.GET_NETWORK


class NetworkListReply(Reply):
    """The answer to `network/list`."""

    networks: list[dict[str, Any]]
