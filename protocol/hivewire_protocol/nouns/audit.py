"""The audit: who logged in, made tokens, and changed users, clients, tenants, networks and device types."""

from typing import Annotated

from msgspec import Raw, Struct

from hivewire_protocol.errors import OutOfBounds
from hivewire_protocol.messages import Integer, Reply, Request, says
from hivewire_protocol.permissions import Permission

KINDS = (
    "login", "token", "failure", "user", "client", "tenant", "network", "deviceType", "revocation", "connection",
    "reveal", "activity", "lost",
)  # fmt: skip
"""What a row can be about."""


class AuditListed(Struct):
    """One action, or several equal ones within a minute."""

    number: Annotated[int, says("Increases with the rows; pass it as `before` for the next page.")]
    time: Annotated[str, says("When, in UTC: `2026-03-01T09:30:00.123`.")]
    kind: Annotated[str, says(f"One of {', '.join(f'`{kind}`' for kind in KINDS)}.")]
    subject: Annotated[str, says("The object: a login, the id of a client, tenant, network or device type, or a name.")]
    user: Annotated[str | None, says("Who did it: a login, or the id of a client.")]
    address: Annotated[str | None, says("The address of the peer, where it is known.")]
    count: Annotated[int, says("The number of equal ones within that minute.")]
    detail: Annotated[Raw, says("Details, an object that depends on the kind.")]


class AuditListReply(Reply):
    """A page of the audit."""

    rows: Annotated[list[AuditListed], says("The rows, last written first.")]


class AuditList(Request, tag="audit/list"):
    """What people and programs did, last written first: logins, tokens, failures, changed users, clients, tenants,
    networks and device types, closed connections, secret values that were shown.

    `lost` counts what could not be kept, because there was too much at once.
    """

    permission = Permission.MANAGE_USER
    read_only = True
    reply = AuditListReply
    errors = (OutOfBounds,)

    kind: Annotated[str | None, says("Only rows of this kind.")] = None
    user: Annotated[str | None, says("Only actions of this login or client.")] = None
    subject: Annotated[str | None, says("Only actions on this login, client, tenant, network or device type.")] = None
    before: Annotated[Integer | None, says("Only rows before this number, that of the last one so far.")] = None
    take: Annotated[
        Integer | None, says("The most rows to return: 0 to 1,000, default 100.", minimum=0, maximum=1_000)
    ] = None
