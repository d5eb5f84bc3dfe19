"""From a request to what it does: look up, check the permission, call; and from any exception to an error reply."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from hivewire.access.identity import Identity
from hivewire.caller import Caller
from hivewire.ledger.ledger import Outcome
from hivewire.ledger.pending import PendingWrite, commit, conclude, unavailable
from hivewire.ledger.records import Change, Mismatch, NotDurable, Precondition, Refused
from hivewire.services import Services, now
from hivewire_protocol.errors import (
    AccessDenied,
    ClientDeleted,
    InternalError,
    NotFound,
    TokenExpired,
    Unauthorized,
    UserNotActive,
    WireError,
)
from hivewire_protocol.messages import Reply, Request, action_of
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.permissions import Permission

Answer: TypeAlias = "Reply | PendingWrite[Reply] | Coroutine[Any, Any, Reply | PendingWrite[Reply]]"
Handler: TypeAlias = "Callable[[Services, Caller, Any], Answer]"
Table: TypeAlias = "Mapping[type[Request], Handler]"


class Condition(Precondition, Protocol):
    """A precondition that knows the error for a record that does not meet it."""

    def error(self, last: Change | None) -> WireError:
        """Why it does not hold for the record's last change."""


class Dispatcher:
    """Knows what each request does. `reads` answer at once or by a coroutine, `writes` return a PendingWrite."""

    def __init__(self, services: Services, reads: Table, writes: Table) -> None:
        self.services = services
        self.writes = frozenset(writes)
        self._handlers = {**reads, **writes}

    def start(self, caller: Caller, request: Request) -> Answer:
        """Check the caller's rights and begin. Raises WireError."""
        self.admit(caller, type(request))
        return self._handlers[type(request)](self.services, caller, request)

    def admit(self, caller: Caller, request: type[Request]) -> None:
        """Raise AccessDenied, or what `authenticated` raises, unless the caller may ask for this now."""
        if request.permission is None:
            return
        identity = self.authenticated(caller)
        if not identity.may(request.permission) and not (request.or_tenant and identity.tenants):
            raise AccessDenied

    def authorize(self, caller: Caller, permission: Permission) -> None:
        """Raise AccessDenied, or what `authenticated` raises, unless the caller may do this now."""
        if not self.authenticated(caller).permissions >> permission & 1:
            raise AccessDenied

    def authorize_tenant(self, caller: Caller, tenant: str, privilege: Privilege) -> None:
        """The same for a privilege in a tenant; an unknown tenant is NotFound, and comes before AccessDenied (tenant
        configuration, section 10)."""
        check_tenant(self.services, self.authenticated(caller), tenant, privilege)

    def authenticated(self, caller: Caller) -> Identity:
        """Who the caller is, if its token counts. Raises Unauthorized, TokenExpired, UserNotActive or ClientDeleted."""
        identity = caller.identity
        if identity is None:
            raise Unauthorized
        if identity.expires < now():
            raise TokenExpired
        if not self.services.tokens.active(identity):
            raise ClientDeleted if identity.client else UserNotActive
        return identity

    async def carry_out(self, caller: Caller, request: Request, conditions: Iterable[Condition] = ()) -> Reply:
        """The reply to a request, once what it writes is durable.

        `conditions` are preconditions of the caller's surroundings, such as HTTP headers: they are evaluated before
        those of the request, and the error of one that fails is its own. Raises WireError.
        """
        answer = self.start(caller, request)
        if isinstance(answer, Coroutine):
            answer = await answer
        if not isinstance(answer, PendingWrite):
            return answer
        extra, refuse = (*conditions,), answer.refuse
        if extra:
            for write in answer.transaction.writes:
                write.preconditions = (*extra, *write.preconditions)

            def refused(outcome: Refused) -> WireError:
                if isinstance(outcome, Mismatch):
                    for condition in extra:
                        if condition is outcome.failed:
                            return condition.error(outcome.last)
                return refuse(outcome)

            answer = PendingWrite(answer.transaction, answer.answer, refused)
        return await commit(self.services.ledger, answer)

    def conclude(self, pending: PendingWrite[Reply], outcome: Outcome) -> Reply:
        """The reply to a write that has ended. Raises WireError."""
        result = conclude(pending, outcome)
        if isinstance(result, Exception):
            raise result
        return result

    def error(self, request_type: type[Request] | None, error: BaseException) -> WireError:
        """The error that the caller sees; one that nobody foresaw is logged and shown as an internal one."""
        if isinstance(error, WireError):
            return error
        if isinstance(error, NotDurable):
            return unavailable(error)
        self.services.telemetry.unexpected(action_of(request_type) if request_type else "decode", error)
        return InternalError()


def check_tenant(services: Services, identity: Identity, tenant: str, privilege: Privilege) -> None:
    """Raise NotFound when there is no such tenant, AccessDenied when the identity has not this privilege in it."""
    if not services.tenants.exists(tenant):
        raise NotFound(f"Tenant {tenant[:64]!r} is not defined")
    # A socket's identity may be older than the tenant.
    if not services.tokens.current(identity).may_tenant(tenant, privilege):
        raise AccessDenied(f"{AccessDenied.text}: this needs {privilege} in tenant {tenant}")
