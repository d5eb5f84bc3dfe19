"""Clients of tenants as administrators see them (tenant configuration, section 1)."""

from __future__ import annotations

from msgspec import UNSET

from hivewire.access.tenants import ApiClient, TenancyError, client_after, generate_id, generate_secret, in_order
from hivewire.access.user_changes import conflict
from hivewire.actions.tenant import refusal, require
from hivewire.caller import Caller
from hivewire.dispatch import check_administrator
from hivewire.ledger.pending import PendingWrite, changed, commit
from hivewire.ledger.records import Change
from hivewire.services import Services
from hivewire_protocol.errors import NotFound, OutOfBounds, VersionConflict
from hivewire_protocol.messages import DONE, Reply
from hivewire_protocol.nouns.client import (
    ClientDelete,
    ClientInsert,
    ClientInsertReply,
    ClientList,
    ClientListReply,
    ClientUpdate,
    ClientUpdateReply,
    ClientView,
)
from hivewire_protocol.nouns.tenant import Privilege

NEEDS = "creating, changing and deleting clients needs"
"""An administrator's unrestricted token: a client can be given any privilege."""


def insert(services: Services, caller: Caller, request: ClientInsert) -> PendingWrite[Reply]:
    """Create a client. Raises NotAllowed when the id exists."""
    check_administrator(services, caller.identity, NEEDS)
    name = request.clientId or generate_id()
    secret = generate_secret()
    try:
        transaction = services.tenants.insert_client(name, request.tenants or {}, secret, caller.identity.login)
    except TenancyError as error:
        raise OutOfBounds(str(error)) from None

    def inserted(changes: list[Change]) -> Reply:
        return ClientInsertReply(name, "" if request.dryRun else secret, _tenants(services, changes))

    pending: PendingWrite[Reply] = PendingWrite(transaction, inserted, refusal)
    return pending.tried(request.dryRun)


def list_(services: Services, caller: Caller, request: ClientList) -> Reply:
    """All clients, by id."""
    return ClientListReply([_view(services, found) for found in services.tenants.clients()])


async def update(services: Services, caller: Caller, request: ClientUpdate) -> Reply:
    """Give a client a new secret or other privileges.

    Raises NotFound when it does not exist, and VersionConflict when it is at another revision than expected.
    """
    name = require("clientId", request.clientId)
    secret = generate_secret() if request.newSecret else None

    def updated(changes: list[Change]) -> Reply:
        return ClientUpdateReply(name, secret if not request.dryRun else None, _tenants(services, changes))

    async def attempt() -> Reply | VersionConflict:
        check_administrator(services, caller.identity, NEEDS)
        if (client := services.tenants.client(name)) is None:
            raise NotFound(f"Client with id = {name[:64]} not found")
        if request.revision is not UNSET and request.revision not in (None, client.revision):
            # Returned, because one that is raised is tried again.
            return VersionConflict(f"Client '{name}' is at revision {client.revision}, not {request.revision}")
        try:
            transaction = services.tenants.update_client(name, request.tenants, secret, caller.identity.login)
        except TenancyError as error:
            raise OutOfBounds(str(error)) from None
        pending: PendingWrite[Reply] = PendingWrite(transaction, updated, conflict)
        return await commit(services.ledger, pending.tried(request.dryRun), caller.identity)

    reply = await changed(services.tenants.changing, name, attempt)
    if isinstance(reply, VersionConflict):
        raise reply
    return reply


def delete(services: Services, caller: Caller, request: ClientDelete) -> PendingWrite[Reply]:
    """Delete a client. Raises NotFound when it does not exist."""
    check_administrator(services, caller.identity, NEEDS)
    name = require("clientId", request.clientId)
    pending: PendingWrite[Reply] = PendingWrite(
        services.tenants.delete_client(name, caller.identity.login), lambda changes: DONE, refusal
    )
    return pending.tried(request.dryRun)


def _tenants(services: Services, changes: list[Change]) -> dict[str, list[Privilege]]:
    """The privileges of the client that the first change wrote."""
    client = client_after(changes[0])
    return _view(services, client).tenants if client is not None else {}


def _view(services: Services, client: ApiClient) -> ClientView:
    grants = services.tenants.grants(client)
    tenants = {tenant: in_order(privileges) for tenant, privileges in grants.items()}
    return ClientView(client.id, tenants, client.revision)


READS = {ClientList: list_}
WRITES = {ClientInsert: insert, ClientUpdate: update, ClientDelete: delete}
