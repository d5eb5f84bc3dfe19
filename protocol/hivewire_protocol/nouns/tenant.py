"""Tenants, and what may be done in them (tenant configuration, section 1)."""

import re
from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Struct

from hivewire_protocol.errors import NotAllowed, NotFound, OutOfBounds, Unavailable
from hivewire_protocol.messages import DryRun, Reply, Request, WasDryRun, WriteReply, says
from hivewire_protocol.permissions import Permission

TENANT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
"""Letters and digits; upper and lower case differ."""


class Privilege(StrEnum):
    """The privileges of clients in tenants."""

    READ = "READ"
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class TenantView(Struct):
    """A tenant."""

    tenantId: Annotated[str, says("The tenant's id.")]


class TenantReply(Reply):
    """The new tenant."""

    tenant: Annotated[TenantView, says("The tenant.")]
    dryRun: WasDryRun = UNSET


class TenantListReply(Reply):
    """The tenants."""

    tenants: Annotated[list[TenantView], says("All tenants, by id.")]


class TenantInsert(Request, tag="tenant/insert"):
    """Create a tenant. Administrators only."""

    permission = Permission.MANAGE_USER
    required = ("tenantId",)
    reply = TenantReply
    errors = (NotAllowed, OutOfBounds, Unavailable)

    tenantId: Annotated[str | None, says("1 to 32 letters and digits; upper and lower case differ.")] = None
    dryRun: DryRun = None


class TenantList(Request, tag="tenant/list"):
    """List all tenants by id."""

    permission = Permission.MANAGE_USER
    read_only = True
    reply = TenantListReply


class TenantDelete(Request, tag="tenant/delete"):
    """Delete a tenant and its document. Administrators only.

    Privileges in it end, also when a tenant of the same id is created later.
    """

    permission = Permission.MANAGE_USER
    required = ("tenantId",)
    reply = WriteReply
    errors = (NotAllowed, NotFound, Unavailable)

    tenantId: Annotated[str | None, says("The tenant's id.")] = None
    dryRun: DryRun = None
