"""Who asks in the tenant dialect, and about which tenant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote

from hivewire.access.identity import Identity
from hivewire.dispatch import Dispatcher
from hivewire.documents import Author
from hivewire.http.peer import caller_of_request
from hivewire.http.request import HttpRequest
from hivewire_protocol.nouns.tenant import Privilege


class Call(NamedTuple):
    """A request about a tenant, whose caller has the privilege that it takes.

    `number` is that of the tenant's record, so that a new tenant of the name is another one; `still` raises WireError
    when the right to ask has ended.
    """

    request: HttpRequest
    tenant: str
    number: int
    login: str
    may: list[Privilege]
    still: Callable[[], object]

    @property
    def author(self) -> Author:
        """The caller as somebody who saves."""
        return Author(self.tenant, self.number, self.login, self.still)


class Callers:
    """Tells who asks: the `admit` of the routes."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.tenants = dispatcher.services.tenants

    async def anyone(self, request: HttpRequest) -> HttpRequest:
        """No token is needed, nor looked at."""
        return request

    async def somebody(self, request: HttpRequest) -> Identity:
        """A good token, whatever it grants. Raises WireError."""
        return self._dispatcher.authenticated(caller_of_request(self._dispatcher.services, request, "reltio"))

    async def having(self, privilege: Privilege, request: HttpRequest) -> Call:
        """A privilege in the tenant of the path: 401, then 404, then 403 (section 10). Raises WireError."""
        caller = caller_of_request(self._dispatcher.services, request, "reltio")
        tenant = unquote(request.parameters["tenantId"])
        still = partial(self._dispatcher.authorize_tenant, caller, tenant, privilege)
        identity = still()
        may = [each for each in Privilege if identity.may_tenant(tenant, each)]
        return Call(request, tenant, self.tenants.number(tenant) or 0, identity.login, may, still)
