"""Who is at the other end of a request: address, scheme, and the identity of its `Authorization` header."""

from __future__ import annotations

from collections.abc import Callable

from hivewire.access.identity import Identity
from hivewire.client import Client
from hivewire.dispatch import House, now
from hivewire.settings import Settings
from hivewire_protocol.errors import InvalidCredentials, Unauthorized, WireError

Header = Callable[[str], "str | None"]
"""Gives the value of a request header by its lower-case name."""


def client_of(house: House, address: str, header: Header, *, context: str, secure: bool, http: bool) -> Client:
    """The client behind a request. Raises Unauthorized or TokenExpired when its `Authorization` is no good."""
    address, secure = origin_of(house.settings, address, header, secure)
    client = Client(address, header("host") or "", context, secure, http)
    client.identity = _identity(house, header("authorization"), address)
    return client


def origin_of(settings: Settings, address: str, header: Header, secure: bool) -> tuple[str, bool]:
    """The address that a request comes from, and whether it set out over TLS.

    What is forwarded is believed from the proxies that the settings name, and from nobody else. The last address of
    X-Forwarded-For is the one that the proxy itself saw.
    """
    if settings.trusts(address):
        address = (header("x-forwarded-for") or address).rpartition(",")[2].strip() or address
        secure = (header("x-forwarded-proto") or "").strip() == "https" or secure
    return address, secure


def _identity(house: House, authorization: str | None, address: str) -> Identity | None:
    """The identity of a bearer token; None without the header (core protocol, section 3.7)."""
    if authorization is None:
        return None
    try:
        if not authorization.startswith("Bearer "):
            raise Unauthorized
        return house.tokens.verify(authorization[7:].strip(), now())
    except WireError as error:
        house.telemetry.authentication_failed("bearer", str(error), address)
        if isinstance(error, InvalidCredentials):
            raise Unauthorized from None
        raise
