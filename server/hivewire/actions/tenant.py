"""Tenants as administrators see them (tenant configuration, section 1)."""

from __future__ import annotations

from hivewire.access.tenants import TenancyError
from hivewire.caller import Caller
from hivewire.dispatch import check_administrator
from hivewire.ledger.pending import PendingWrite
from hivewire.ledger.records import PreconditionFailed, Refused
from hivewire.services import Services
from hivewire_protocol.errors import InvalidParameters, NotAllowed, NotFound, OutOfBounds, WireError
from hivewire_protocol.messages import DONE, Reply
from hivewire_protocol.nouns.tenant import (
    TenantDelete,
    TenantInsert,
    TenantList,
    TenantListReply,
    TenantReply,
    TenantView,
)

NEEDS = "creating and deleting tenants needs"
"""An administrator's unrestricted token: their documents are deleted with them."""


def insert(services: Services, caller: Caller, request: TenantInsert) -> PendingWrite[Reply]:
    """Create a tenant. Raises NotAllowed when the id exists."""
    check_administrator(services, caller.identity, NEEDS)
    tenant = require("tenantId", request.tenantId)
    try:
        transaction = services.tenants.insert_tenant(tenant, caller.identity.login)
    except TenancyError as error:
        raise OutOfBounds(f"tenantId: {error}") from None
    pending: PendingWrite[Reply] = PendingWrite(transaction, lambda changes: TenantReply(TenantView(tenant)), refusal)
    return pending.tried(request.dryRun)


def list_(services: Services, caller: Caller, request: TenantList) -> Reply:
    """All tenants, by id."""
    return TenantListReply([TenantView(tenant) for tenant in services.tenants.all()])


def delete(services: Services, caller: Caller, request: TenantDelete) -> PendingWrite[Reply]:
    """Delete a tenant. Raises NotFound when it does not exist."""
    check_administrator(services, caller.identity, NEEDS)
    tenant = require("tenantId", request.tenantId)
    pending: PendingWrite[Reply] = PendingWrite(
        services.tenants.delete_tenant(tenant, caller.identity.login), lambda changes: DONE, refusal
    )
    return pending.tried(request.dryRun)


def require(field: str, value: str | None) -> str:
    """The value of a required member. Raises InvalidParameters."""
    if not value:
        raise InvalidParameters(f"{field} is required")
    return value


def refusal(refused: Refused) -> WireError:
    """The error for a refused write."""
    what, key = refused.write.kind.capitalize(), refused.write.key[:64]
    if isinstance(refused, PreconditionFailed):
        return NotAllowed(f"{what} with id = {key} exists already")
    return NotFound(f"{what} with id = {key} not found")


READS = {TenantList: list_}
WRITES = {TenantInsert: insert, TenantDelete: delete}
