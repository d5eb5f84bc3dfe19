"""From a request to what it does: look up, check the permission, call; and from any exception to an error reply."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from msgspec import Struct, field

from hivewire.access.identity import Identity
from hivewire.access.passwords import Passwords
from hivewire.access.tenants import Tenants
from hivewire.access.throttle import Throttle
from hivewire.access.tokens import Tokens
from hivewire.access.users import Users
from hivewire.client import Client
from hivewire.hub.hub import Hub
from hivewire.ledger.ledger import Ledger, Outcome
from hivewire.ledger.records import Change, NotDurable, Refused, Transaction
from hivewire.settings import Settings
from hivewire.telemetry import Telemetry
from hivewire.workers import Workers
from hivewire_protocol.errors import (
    AccessDenied,
    ClientDeleted,
    InternalError,
    NotFound,
    TokenExpired,
    Unauthorized,
    Unavailable,
    UserNotActive,
    WireError,
)
from hivewire_protocol.messages import Reply, Request, action_of
from hivewire_protocol.permissions import Permission
from hivewire_protocol.tenancy import Privilege


class House(Struct):
    """The parts that actions work with."""

    settings: Settings
    ledger: Ledger
    users: Users
    tokens: Tokens
    passwords: Passwords
    throttle: Throttle
    telemetry: Telemetry
    hub: Hub
    tenants: Tenants
    workers: Workers = field(default_factory=Workers)


class Commit(Struct, gc=False):
    """What a writing action asks for: a transaction, and how its end becomes a reply or an error."""

    transaction: Transaction
    answer: Callable[[list[Change]], Reply]
    refuse: Callable[[Refused], WireError]


Answer: TypeAlias = "Reply | Commit | Coroutine[Any, Any, Reply | Commit]"
Handler: TypeAlias = "Callable[[House, Client, Any], Answer]"
Table: TypeAlias = "Mapping[type[Request], Handler]"


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def elapsed() -> int:
    """Milliseconds by a clock that nobody can set; it tells spans, not the time of day."""
    return time.monotonic_ns() // 1_000_000


class Dispatcher:
    """Knows what each request does. `reads` answer at once or by a coroutine, `writes` return a Commit."""

    def __init__(self, house: House, reads: Table, writes: Table) -> None:
        self.house = house
        self.writes = frozenset(writes)
        self._handlers = {**reads, **writes}

    def start(self, client: Client, request: Request) -> Answer:
        """Check the caller's rights and begin. Raises WireError."""
        self.admit(client, type(request))
        return self._handlers[type(request)](self.house, client, request)

    def admit(self, client: Client, request: type[Request]) -> None:
        """Raise AccessDenied, or what `authenticated` raises, unless the caller may ask for this now."""
        if request.permission is None:
            return
        identity = self.authenticated(client)
        if not identity.may(request.permission) and not (request.or_tenant and identity.tenants):
            raise AccessDenied

    def authorize(self, client: Client, permission: Permission) -> None:
        """Raise AccessDenied, or what `authenticated` raises, unless the caller may do this now."""
        if not self.authenticated(client).permissions >> permission & 1:
            raise AccessDenied

    def authorize_tenant(self, client: Client, tenant: str, privilege: Privilege) -> None:
        """The same for a privilege in a tenant; an unknown tenant is NotFound, and comes before AccessDenied (tenant
        configuration, section 10)."""
        check_tenant(self.house, self.authenticated(client), tenant, privilege)

    def authenticated(self, client: Client) -> Identity:
        """Who the caller is, if its token counts. Raises Unauthorized, TokenExpired, UserNotActive or ClientDeleted."""
        identity = client.identity
        if identity is None:
            raise Unauthorized
        if identity.expires < now():
            raise TokenExpired
        if not self.house.tokens.active(identity):
            raise ClientDeleted if identity.client else UserNotActive
        return identity

    def conclude(self, commit: Commit, outcome: Outcome) -> Reply:
        """The reply to a write that has ended. Raises WireError."""
        if isinstance(outcome, list):
            return commit.answer(outcome)
        if isinstance(outcome, Refused):
            raise commit.refuse(outcome)
        raise unavailable(outcome)

    def error(self, request_type: type[Request] | None, error: BaseException) -> WireError:
        """The error that the client sees; one that nobody foresaw is logged and shown as an internal one."""
        if isinstance(error, WireError):
            return error
        if isinstance(error, NotDurable):
            return unavailable(error)
        self.house.telemetry.unexpected(action_of(request_type) if request_type else "decode", error)
        return InternalError()


def check_tenant(house: House, identity: Identity, tenant: str, privilege: Privilege) -> None:
    """Raise NotFound when there is no such tenant, AccessDenied when the identity has not this privilege in it."""
    if not house.tenants.exists(tenant):
        raise NotFound(f"Tenant {tenant[:64]!r} is not defined")
    # A socket's identity may be older than the tenant.
    if not house.tokens.current(identity).may_tenant(tenant, privilege):
        raise AccessDenied(f"{AccessDenied.text}: this needs {privilege} in tenant {tenant}")


def unavailable(error: BaseException) -> Unavailable:
    """What a client is told when the journal could not take its change."""
    return Unavailable(f"{Unavailable.text}: {error}; nothing was written")
