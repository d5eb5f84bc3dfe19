"""Clients: programs that work in tenants (tenant configuration, section 1)."""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import Struct

from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.permissions import Permission

CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Only what looks the same whether a program encodes the two halves of a Basic header (RFC 6749, section 2.3.1) or,
as most do, forgets to."""

MAX_TENANTS = 100
"""Tenants of one client: they all stand in its token, which has to fit into a header."""


class ClientInsert(Request, tag="client/insert"):
    """Make a client with its privileges in `tenants`; the reply has its secret, this once. Administrators only."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_USER

    clientId: str | None = None
    tenants: dict[str, list[str]] | None = None


class ClientList(Request, tag="client/list"):
    """All clients by id, without their secrets."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_USER


class ClientDelete(Request, tag="client/delete"):
    """Delete a client; its tokens count no more from that moment on. Administrators only."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_USER

    clientId: str | None = None


class ClientView(Struct):
    """A client and its privileges in tenants that are still there."""

    clientId: str
    tenants: dict[str, list[Privilege]]


class ClientInsertReply(Reply):
    """The answer to `client/insert`: the only time that the secret is told."""

    clientId: str
    clientSecret: str
    tenants: dict[str, list[Privilege]]

    def __repr__(self) -> str:
        return f"ClientInsertReply({self.clientId!r}, ...)"


class ClientListReply(Reply):
    """The answer to `client/list`."""

    clients: list[ClientView]
