"""The paths of tenants."""

from __future__ import annotations

from hivewire.dialects.devicehive.row import Row
from hivewire_protocol.nouns.tenant import TenantDelete, TenantInsert, TenantList

ROWS = (
    Row("GET", "/tenant", TenantList, shows="tenants"),
    Row("POST", "/tenant", TenantInsert, 201, shows="tenant"),
    Row("DELETE", "/tenant/{tenantId}", TenantDelete, 204),
)
