"""The sender of a request: address, scheme, and the identity of its `Authorization` header."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from hivewire.access.identity import ANONYMOUS, Identity
from hivewire.addresses import plain, unmapped
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.dispatch import Dispatcher
from hivewire.http.request import HttpRequest
from hivewire.services import Services
from hivewire.settings import Settings
from hivewire_protocol.errors import InvalidCredentials, InvalidParameters, TokenRevoked, Unauthorized, WireError
from hivewire_protocol.messages import Request

_WITH_PORT = re.compile(r"\[([^]]*)](?::\d+)?|([^:]*):\d+")

MOST_PROXIES = 16
"""Proxies in a row that are followed back."""

HeaderOf = Callable[[str], "str | None"]
"""Gives the value of a request header by its lower-case name."""


def caller_of(services: Services, address: str, header: HeaderOf, *, context: str, secure: bool, http: bool) -> Caller:
    """The caller behind a request. Raises Unauthorized or TokenExpired when its `Authorization` is not valid.

    Without `http` it is the handshake of a socket. A request without a valid token is counted, and may raise
    TooManyRequests.
    """
    address, secure = origin_of(services.settings, address, header, secure)
    caller = Caller(address, header("host") or "", context, secure, http)
    try:
        caller.identity = _identity(services, header("authorization"), address)
    finally:
        if not http and caller.identity is ANONYMOUS:
            services.anonymous_rate.count(services.settings, address)
    return caller


def origin_of(settings: Settings, address: str, header: HeaderOf, secure: bool) -> tuple[str, bool]:
    """The address that a request comes from, and whether the client used TLS.

    Forwarding headers count only from the proxies that the settings name. The last address of X-Forwarded-For is the
    one that the proxy itself saw; if it is that of another trusted proxy, the one before it is what that one saw, and
    so on. Those before the first that is not trusted are claims of the client. Text that is not an address counts as
    the address of the proxy that wrote it.
    """
    if settings.trusts(address):
        secure = (header("x-forwarded-proto") or "").strip() == "https" or secure
        hops = (header("x-forwarded-for") or "").rsplit(",", MOST_PROXIES)[-MOST_PROXIES:]
        while settings.trusts(address) and hops and (seen := _parse_forwarded(hops.pop().strip())) is not None:
            address = seen
    return unmapped(address), secure


def _parse_forwarded(text: str) -> str | None:
    """The address in an element of X-Forwarded-For, to which some proxies add a port, and brackets to IPv6."""
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text = match[1] or match[2]
    return None if isinstance(plain(text), str) else text


def _identity(services: Services, authorization: str | None, address: str) -> Identity:
    """The identity of a bearer token; ANONYMOUS without the header (core protocol, section 3.7)."""
    if authorization is None:
        return ANONYMOUS
    try:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":  # RFC 9110, section 11.1: in any case
            raise Unauthorized
        return services.tokens.verify(token.strip(), now())
    except WireError as error:
        services.telemetry.authentication_failed("bearer", type(error), address)
        if isinstance(error, InvalidCredentials):
            raise Unauthorized from None
        raise


async def caller_of_request(
    services: Services, request: HttpRequest, context: str, *, query_token: bool = False
) -> Caller:
    """The caller behind a request. Raises Unauthorized, TokenExpired or TokenRevoked when its token is not valid.

    With `query_token` the token may come as `access_token` in the query instead of the header (RFC 6750, section 2.3).
    Raises InvalidParameters when it comes in both ways or twice.
    """
    header: HeaderOf = request.header
    if query_token and (tokens := [value for name, value in request.query() if name == "access_token"]):
        if len(tokens) > 1 or header("authorization") is not None:
            raise InvalidParameters("the request has more than one token")
        given = f"Bearer {tokens[0]}"
        header = lambda name: given if name == "authorization" else request.header(name)  # noqa: E731
    find = partial(caller_of, services, request.address, header, context=context, secure=request.secure, http=True)
    caller = await services.ledger.sure(find, Unauthorized, TokenRevoked)
    if caller.identity is not ANONYMOUS:
        request.logged_in()
    return caller


class Admitted(NamedTuple):
    """A request and its caller."""

    request: HttpRequest
    caller: Caller


async def admit_request(
    dispatcher: Dispatcher, context: str, wanted: type[Request], request: HttpRequest, query_token: bool = False
) -> Admitted:
    """The caller, if it has the right that an action needs. Raises WireError, as `caller_of_request`.

    An invalid token is refused even where none is needed (core protocol, section 1.5).
    """
    caller = None if query_token else _known_caller(dispatcher, context, wanted, request)
    if caller is None:
        caller = await caller_of_request(dispatcher.services, request, context, query_token=query_token)
        identity = caller.identity
        dispatcher.admit(caller, wanted)
        if identity is not ANONYMOUS:
            caller.when_gone = request.connection.when_lost
            if not query_token:  # a stream gives its caller feeds
                request.connection.known = identity, caller
    return Admitted(request, caller)


def _known_caller(dispatcher: Dispatcher, context: str, wanted: type[Request], request: HttpRequest) -> Caller | None:
    """The caller of an earlier request on this connection, with the rights that were found then, if this request has
    the same token. None for whatever else; where no right is needed, because `admit` then does not look at the token;
    and where the address is that of a proxy: then all is worked out anew."""
    known, services = request.connection.known, dispatcher.services
    if known is None or wanted.permission is None or services.settings.trusted_proxies:
        return None
    identity, caller = known
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    if scheme != "Bearer" or services.tokens.verified(token) is not identity:
        return None
    if caller.host != (request.header("host") or "") or caller.context != context:
        return None
    try:
        dispatcher.admit(caller, wanted)
    except WireError:
        return None  # another gateway may know better, and whoever asks is told the reason
    request.logged_in()
    return caller
