"""Status, tenants and permissions (tenant configuration, section 2.5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from hivewire.access.identity import Identity
from hivewire.dialects.tenant.calls import TenantCall, TenantCallers
from hivewire.http.request import HttpRequest
from hivewire.http.response import Response, json
from hivewire.http.routes import Route
from hivewire_protocol.nouns.tenant import Privilege

BUSINESS_MODEL = "MDM.config.businessModel"
"""The objects of the privileges (tenant configuration, section 1)."""


def routes(callers: TenantCallers) -> Iterator[Route[Any]]:
    """Status, tenants, permissions."""

    async def tenants(identity: Identity) -> Response:
        """The ids of the tenants that the caller may read."""
        return json([tenant for tenant in callers.tenants.all() if identity.may_tenant(tenant, Privilege.READ)])

    yield Route("GET", "/reltio/status", callers.anyone, _status, "tenant/status")
    yield Route("GET", "/reltio/tenants", callers.somebody, tenants, "tenant/list")
    for end in ("", "/"):
        path, admit = f"/reltio/permissions/{{tenantId}}{end}", partial(callers.having, Privilege.READ)
        yield Route("GET", path, admit, _permissions, "tenant/permissions")


async def _status(request: HttpRequest) -> Response:
    """The status page; its answer shows that the gateway runs."""
    return json({"status": "OK"})


async def _permissions(call: TenantCall) -> Response:
    """What the caller may do in a tenant that it may read."""
    return json({BUSINESS_MODEL: call.may})
