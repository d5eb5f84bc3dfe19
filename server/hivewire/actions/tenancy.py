"""Tenants and clients as administrators see them (tenant configuration, section 1)."""

from __future__ import annotations

from hivewire.access.tenants import ApiClient, TenancyError, generate_id, generate_secret, in_order
from hivewire.client import Client
from hivewire.dispatch import Commit, House
from hivewire.ledger.records import Mismatch, Refused
from hivewire_protocol.errors import InvalidParameters, NotAllowed, NotFound, OutOfBounds, Unauthorized, WireError
from hivewire_protocol.messages import NOTHING, Reply
from hivewire_protocol.tenancy import (
    ClientDelete,
    ClientInsert,
    ClientInsertReply,
    ClientList,
    ClientListReply,
    ClientView,
    TenantDelete,
    TenantInsert,
    TenantList,
    TenantListReply,
    TenantReply,
    TenantView,
)
from hivewire_protocol.user import Role


def tenant_insert(house: House, client: Client, request: TenantInsert) -> Commit:
    """Make a tenant; NotAllowed when there is one of this id."""
    tenant = _required("tenantId", request.tenantId)
    try:
        transaction = house.tenants.insert_tenant(tenant, _author(client))
    except TenancyError as error:
        raise OutOfBounds(f"tenantId: {error}") from None
    return Commit(transaction, lambda changes: TenantReply(TenantView(tenant)), _refusal)


def tenant_list(house: House, client: Client, request: TenantList) -> Reply:
    """All of them, by id."""
    return TenantListReply([TenantView(tenant) for tenant in house.tenants.all()])


def tenant_delete(house: House, client: Client, request: TenantDelete) -> Commit:
    """Delete a tenant; NotFound when there is none."""
    tenant = _required("tenantId", request.tenantId)
    return Commit(house.tenants.delete_tenant(tenant, _author(client)), lambda changes: NOTHING, _refusal)


def client_insert(house: House, client: Client, request: ClientInsert) -> Commit:
    """Make a client; NotAllowed when there is one of this id."""
    _check_administrator(house, client)
    name = request.clientId or generate_id()
    secret = generate_secret()
    try:
        transaction = house.tenants.insert_client(name, request.tenants or {}, secret, _author(client))
    except TenancyError as error:
        raise OutOfBounds(str(error)) from None

    def inserted(_: object) -> Reply:
        made = house.tenants.client(name)
        return ClientInsertReply(name, secret, _view(house, made).tenants if made is not None else {})

    return Commit(transaction, inserted, _refusal)


def client_list(house: House, client: Client, request: ClientList) -> Reply:
    """All of them, by id."""
    return ClientListReply([_view(house, found) for found in house.tenants.clients()])


def client_delete(house: House, client: Client, request: ClientDelete) -> Commit:
    """Delete a client; NotFound when there is none."""
    _check_administrator(house, client)
    name = _required("clientId", request.clientId)
    return Commit(house.tenants.delete_client(name, _author(client)), lambda changes: NOTHING, _refusal)


def _check_administrator(house: House, client: Client) -> None:
    """A client can be given any privilege, so only who has them all may make one."""
    identity = client.identity
    caller = house.users.by_id(identity.user_id) if identity is not None else None
    if identity is None or caller is None:
        raise Unauthorized
    if caller.profile.role != Role.ADMIN or not identity.unrestricted:
        raise NotAllowed("clients are made and deleted with an administrator's unrestricted token: log in as one")


def _required(field: str, value: str | None) -> str:
    if not value:
        raise InvalidParameters(f"{field} is required")
    return value


def _author(client: Client) -> str:
    if client.identity is None:
        raise Unauthorized
    return client.identity.login


def _view(house: House, client: ApiClient) -> ClientView:
    grants = house.tenants.grants(client)
    return ClientView(client.id, {tenant: in_order(privileges) for tenant, privileges in grants.items()})


def _refusal(refused: Refused) -> WireError:
    what, key = refused.write.kind.capitalize(), refused.write.key[:64]
    if isinstance(refused, Mismatch):
        return NotAllowed(f"{what} with id = {key} exists already")
    return NotFound(f"{what} with id = {key} not found")


READS = {TenantList: tenant_list, ClientList: client_list}
WRITES = {
    TenantInsert: tenant_insert,
    TenantDelete: tenant_delete,
    ClientInsert: client_insert,
    ClientDelete: client_delete,
}
