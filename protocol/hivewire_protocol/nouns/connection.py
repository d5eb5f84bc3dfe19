"""Open connections: WebSockets and event streams, as administrators see them."""

from typing import Annotated

from msgspec import Struct

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds
from hivewire_protocol.messages import Integer, Reply, Request, says
from hivewire_protocol.permissions import Permission

MOST = 500
"""Connections of one reply: with the longest logins they fit into a fact that gateways tell one another."""

_Id = Annotated[str, says("Its id, which no other connection has, on any gateway, also after a restart.")]


class ConnectionListed(Struct):
    """An open WebSocket or event stream."""

    connectionId: _Id
    kind: Annotated[str, says("`websocket` or `events`.")]
    login: Annotated[str | None, says("The login, or the id of the client; null when nobody has logged in on it.")]
    address: Annotated[str, says("The address of the peer; behind a trusted proxy the one that this tells.")]
    since: Annotated[str, says("When it was opened, in UTC: `2026-03-01T09:30:00.123`.")]
    subscriptions: Annotated[int, says("The number of its subscriptions.")]
    behind: Annotated[
        int,
        says(
            "How many changes its slowest subscription is behind: revisions of the ledger, or messages, also those that"
            " it does not follow; 0 when all are live, at least 1 during a snapshot."
        ),
    ]
    unreadBytes: Annotated[int, says("Bytes that wait in the gateway until the peer reads.")]
    gateway: Annotated[
        str | None, says("The gateway that has it, by its name in the log; null when it is the only one.")
    ]


class ConnectionListReply(Reply):
    """Open connections."""

    connections: Annotated[
        list[ConnectionListed],
        says("The connections by `connectionId`: those of one gateway together, the oldest first."),
    ]


class ConnectionList(Request, tag="connection/list"):
    """List the open WebSockets and event streams of all gateways of the ledger. Administrators only.

    A gateway that does not answer within a second is left out.
    """

    permission = Permission.MANAGE_USER
    read_only = True
    reply = ConnectionListReply
    errors = (NotAllowed, OutOfBounds)

    login: Annotated[str | None, says("Only those of this login or client.")] = None
    after: Annotated[str | None, says("Only those after this `connectionId`, that of the last one so far.")] = None
    take: Annotated[
        Integer | None, says(f"The most connections to return: 0 to {MOST}, default 100.", minimum=0, maximum=MOST)
    ] = None


class ConnectionClose(Request, tag="connection/close"):
    """Close a WebSocket with 4011, or end an event stream. Administrators only; it may be their own.

    It does not keep the client away: it may connect again as long as its token is good.
    """

    permission = Permission.MANAGE_USER
    required = ("connectionId",)
    reply = Reply
    errors = (NotAllowed, NotFound)

    connectionId: Annotated[str | None, says("The connection.")] = None
