"""OAuth clients: programs that work in tenants (tenant configuration, section 1)."""

import re
from typing import Annotated

from msgspec import UNSET, Struct

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds, Unavailable, VersionConflict
from hivewire_protocol.messages import DryRun, Reply, Request, WasDryRun, WriteReply, says
from hivewire_protocol.nouns.configuration import ExpectedRevision
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.permissions import Permission

CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Only characters that form encoding leaves alone: RFC 6749, section 2.3.1, wants the two halves of a Basic header
encoded, and most programs do not do it."""

MAX_TENANTS = 100
"""Tenants of one client: all of them stand in its token, which has to fit into a header."""

_Id = Annotated[str, says("The client's id.")]
_Grants = Annotated[dict[str, list[Privilege]], says("Its privileges by tenant id.")]


class ClientView(Struct):
    """A client and its privileges in the tenants that still exist."""

    clientId: _Id
    tenants: _Grants
    revision: Annotated[int, says("The revision of its last change.")]


class ClientInsertReply(Reply):
    """The new client. No other reply shows the secret."""

    clientId: _Id
    clientSecret: Annotated[
        str, says("The secret, shown only here; the gateway stores a hash of it. Empty after a dry run.")
    ]
    tenants: _Grants
    dryRun: WasDryRun = UNSET

    def __repr__(self) -> str:
        return f"ClientInsertReply({self.clientId!r}, ...)"


class ClientUpdateReply(Reply):
    """The client as it is now."""

    clientId: _Id
    clientSecret: Annotated[
        str | None, says("The new secret, shown only here; null when it is still the old one, and after a dry run.")
    ]
    tenants: _Grants
    dryRun: WasDryRun = UNSET

    def __repr__(self) -> str:
        return f"ClientUpdateReply({self.clientId!r}, ...)"


class ClientListReply(Reply):
    """The clients."""

    clients: Annotated[list[ClientView], says("All clients, by id.")]


class ClientInsert(Request, tag="client/insert"):
    """Create an OAuth client with privileges in `tenants`; the reply shows its secret, once. Administrators only."""

    permission = Permission.MANAGE_USER
    required = ("tenants",)
    reply = ClientInsertReply
    errors = (NotAllowed, OutOfBounds, Unavailable)

    clientId: Annotated[
        str | None, says("1 to 64 letters, digits, dots, hyphens and underscores; generated when absent.")
    ] = None
    tenants: Annotated[
        dict[str, list[str]] | None,
        says("1 to 100 tenant ids, each with some of `READ`, `CREATE`, `UPDATE`, `DELETE`."),
    ] = None
    dryRun: DryRun = None


class ClientList(Request, tag="client/list"):
    """List all OAuth clients by id, without their secrets."""

    permission = Permission.MANAGE_USER
    read_only = True
    reply = ClientListReply


class ClientUpdate(Request, tag="client/update"):
    """Give an OAuth client a new secret, other privileges, or both. Administrators only.

    The old secret is refused from that moment on; tokens stay valid until they expire. Privileges that are taken away
    end in all tokens at once; those that are added are in the next token.
    """

    permission = Permission.MANAGE_USER
    required = ("clientId",)
    reply = ClientUpdateReply
    errors = (NotAllowed, NotFound, OutOfBounds, VersionConflict, Unavailable)

    clientId: Annotated[str | None, says("The client's id.")] = None
    tenants: Annotated[
        dict[str, list[str]] | None,
        says("All its privileges by tenant id, in place of the former ones; as they are when absent."),
    ] = None
    newSecret: Annotated[bool | None, says("`true` generates a new secret, which the reply shows once.")] = None
    revision: ExpectedRevision = UNSET
    dryRun: DryRun = None


class ClientDelete(Request, tag="client/delete"):
    """Delete an OAuth client; its tokens are invalid from that moment on. Administrators only."""

    permission = Permission.MANAGE_USER
    required = ("clientId",)
    reply = WriteReply
    errors = (NotAllowed, NotFound, Unavailable)

    clientId: Annotated[str | None, says("The client's id.")] = None
    dryRun: DryRun = None
