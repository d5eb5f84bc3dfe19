"""Open connections as administrators see them."""

from __future__ import annotations

from hivewire.actions.checks import within
from hivewire.actions.tenant import require
from hivewire.caller import Caller
from hivewire.connections import Wanted
from hivewire.dispatch import Answer, check_administrator
from hivewire.services import Services
from hivewire_protocol.errors import NotFound
from hivewire_protocol.messages import NOTHING, Reply
from hivewire_protocol.nouns.connection import (
    MOST,
    ConnectionClose,
    ConnectionList,
    ConnectionListed,
    ConnectionListReply,
)

TAKE = 100

NEEDS = "listing and closing connections needs"
"""An administrator's unrestricted token, because connections show who works from where."""


async def list_(services: Services, caller: Caller, request: ConnectionList) -> Reply:
    """A page of the connections of all gateways."""
    check_administrator(services, caller.identity, NEEDS)
    take = within("take", request.take, TAKE, MOST)
    return ConnectionListReply(await services.connections.find(Wanted(request.login, request.after or "", take)))


def close(services: Services, caller: Caller, request: ConnectionClose) -> Answer:
    """Close a connection of any gateway. Raises NotFound when it is not there."""
    check_administrator(services, caller.identity, NEEDS)
    id = require("connectionId", request.connectionId)
    # At once if it is here: if callers close their own connection, the answer has to be sent before.
    if (closed := services.connections.close_here(id)) is not None:
        return _note(services, caller, closed)
    return _close_elsewhere(services, caller, id)


async def _close_elsewhere(services: Services, caller: Caller, id: str) -> Reply:
    if (closed := await services.connections.close_elsewhere(id)) is None:
        raise NotFound(f"Connection with id = {id[:64]} not found")
    return _note(services, caller, closed)


def _note(services: Services, caller: Caller, closed: ConnectionListed) -> Reply:
    """Note in the audit who closed whose connection."""
    services.ledger.audit.note(
        "connection",
        closed.login or "",
        caller.identity.login,
        caller.address,
        connectionId=closed.connectionId,
        transport=closed.kind,
        peer=closed.address,
    )
    return NOTHING


READS = {ConnectionList: list_, ConnectionClose: close}
