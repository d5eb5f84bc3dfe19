"""Tenants, and what may be done in them (tenant configuration, section 1)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import ClassVar

from msgspec import Struct

from hivewire_protocol.messages import Reply, Request
from hivewire_protocol.permissions import Permission

TENANT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
"""Letters and digits; capitals count."""


class Privilege(StrEnum):
    """What a client may do in a tenant."""

    READ = "READ"
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class TenantInsert(Request, tag="tenant/insert"):
    """Make a tenant; its id is 1 to 32 letters and digits."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_USER

    tenantId: str | None = None


class TenantList(Request, tag="tenant/list"):
    """All tenants by id."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_USER


class TenantDelete(Request, tag="tenant/delete"):
    """Delete a tenant; privileges in it end, and do not come back with a new one of its name."""

    permission: ClassVar[Permission | None] = Permission.MANAGE_USER

    tenantId: str | None = None


class TenantView(Struct):
    """A tenant."""

    tenantId: str


class TenantReply(Reply):
    """The answer to `tenant/insert`."""

    tenant: TenantView


class TenantListReply(Reply):
    """The answer to `tenant/list`."""

    tenants: list[TenantView]
