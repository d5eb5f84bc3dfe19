"""The caller and the tenant of a request in the tenant dialect; its body and its query."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote

from hivewire.access.identity import Identity
from hivewire.clocks import now
from hivewire.dispatch import Dispatcher
from hivewire.documents import Saver
from hivewire.http.body import Body, NotGzip
from hivewire.http.peer import caller_of_request
from hivewire.http.request import HttpRequest
from hivewire.http.response import JSON
from hivewire.transport.admission import Admission
from hivewire_protocol import errors as wire
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.tenant.errors import BadRequest, NotJson, TooLarge, UnsupportedMediaType


class TenantCall(NamedTuple):
    """A request about a tenant, whose caller has the privilege for it.

    `record_id` tells the tenant from a later one of the same name. `check_right` raises WireError when the caller has
    lost its right since.
    """

    request: HttpRequest
    tenant: str
    record_id: int
    identity: Identity
    address: str
    may: list[Privilege]
    check_right: Callable[..., object]

    def still_right(self) -> Callable[[], object]:
        """A check for a long answer: as `check_right`, but the token may expire while it is sent."""
        return partial(self.check_right, began=now())

    @property
    def author(self) -> Saver:
        """The caller, as the author of a save."""
        return Saver(self.tenant, self.record_id, self.identity, self.check_right)


class TenantCallers:
    """The `admit` of the routes: finds the caller."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.tenants = dispatcher.services.tenants

    async def anyone(self, request: HttpRequest) -> HttpRequest:
        """No token is needed; one that is sent is ignored."""
        return request

    async def somebody(self, request: HttpRequest) -> Identity:
        """Any valid token. Raises WireError."""
        return self._dispatcher.authenticated(await caller_of_request(self._dispatcher.services, request, "reltio"))

    async def having(self, privilege: Privilege, request: HttpRequest) -> TenantCall:
        """A privilege in the tenant of the path: 401, then 404, then 403 (section 10). Raises WireError."""
        caller = await caller_of_request(self._dispatcher.services, request, "reltio")
        # Bytes that are not UTF-8 become U+FFFD, which no name of a tenant has. So the answer is a 404, as for any
        # unknown tenant.
        tenant = unquote(request.parameters["tenantId"])
        check_right = partial(self._dispatcher.authorize_tenant, caller, tenant, privilege)
        identity = await self._dispatcher.ledger.sure(check_right, wire.NotFound)
        may = [each for each in Privilege if identity.may_tenant(tenant, each)]
        record_id = self.tenants.record_id(tenant) or 0
        return TenantCall(request, tenant, record_id, identity, caller.address, may, check_right)


@asynccontextmanager
async def read_body(request: HttpRequest, admission: Admission, limit: int) -> AsyncIterator[bytes]:
    """The JSON of a body, which counts against the budget of unfinished bodies until the work with it is over.

    A body in an unknown coding is read too, because its size is checked before its type (section 10). Raises TooLarge,
    UnsupportedMediaType, NotJson for invalid gzip, RequestTimeout and Unavailable.
    """
    body = Body(request, admission, limit)
    try:
        data = await body.read()
    except wire.TooLarge:
        raise TooLarge(f"The request body is over {limit} bytes", "Nothing was changed.") from None
    except NotGzip as error:
        raise NotJson(f"The request body {error}") from None
    try:
        if request.media_type() != JSON or body.coding is None:
            raise UnsupportedMediaType
        yield data
    finally:
        body.free()


def values(call: TenantCall, name: str) -> list[str]:
    """Every value of a parameter of the query."""
    return [value for given, value in call.request.query() if given == name]


def value(call: TenantCall, name: str) -> str | None:
    """The last value of a parameter of the query."""
    return next(iter(reversed(values(call, name))), None)


def number(call: TenantCall, name: str, default: int, most: int) -> int:
    """An integer of the query, up to a limit. Raises BadRequest."""
    text = value(call, name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise BadRequest(f"{name} is a whole number, not negative")
    return min(int(text), most)
