"""The tenant dialect, `/reltio`: configuration documents of tenants, and the requests around them.

The paths are those of the tenant configuration contract, section 2. Checks follow the order of its section 10: caller,
tenant, privilege, size of the body, its type, its content.
"""

from __future__ import annotations

from hivewire.dialects.tenant import activities, documents, lists
from hivewire.dialects.tenant.calls import TenantCallers
from hivewire.dialects.tenant.errors import challenge, refuse
from hivewire.dialects.tenant.operations import operations
from hivewire.http.routes import Context, Dialect
from hivewire_protocol.tenant.errors import TenantError

__all__ = ["dialect", "operations"]


def dialect(context: Context) -> Dialect:
    """Everything under `/reltio`."""
    callers = TenantCallers(context.dispatcher)
    routes = [*lists.routes(callers), *documents.routes(context, callers), *activities.routes(context, callers)]
    return Dialect(
        routes,
        refuse,
        errors=(TenantError,),
        challenge=challenge,
        prefixes=("/reltio/",),
        listed={"tenants": ("/reltio/tenants", "configuration documents of tenants")},
        unknown_path="There is no such path; GET / lists the interfaces",
    )
