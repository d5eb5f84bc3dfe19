"""From a request to its handler: look up, check the permission, call. Exceptions become error replies."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from time import time_ns
from types import CoroutineType
from typing import Any, TypeAlias

from hivewire.access.identity import ANONYMOUS, Identity
from hivewire.caller import Caller
from hivewire.clocks import now
from hivewire.ledger.pending import PendingWrite, commit, unavailable
from hivewire.ledger.records import Condition, NotDurable, PreconditionFailed, Refused
from hivewire.services import Services
from hivewire.streams.message import StreamError
from hivewire.streams.pending import PendingMessage, wire_error
from hivewire_protocol.errors import (
    AccessDenied,
    HeaderConditionFailed,
    InternalError,
    NotAllowed,
    NotFound,
    Unauthorized,
    VersionConflict,
    WireError,
)
from hivewire_protocol.messages import Reply, Request, action_of
from hivewire_protocol.nouns.tenant import Privilege
from hivewire_protocol.permissions import Permission

Pending: TypeAlias = "PendingWrite[Reply] | PendingMessage[Reply]"
Answer: TypeAlias = "Reply | Pending | Coroutine[Any, Any, Reply | Pending]"
Handler: TypeAlias = "Callable[[Services, Caller, Any], Answer]"
Table: TypeAlias = "Mapping[type[Request], Handler]"


DEPENDENT = frozenset({NotFound.code, VersionConflict.code, HeaderConditionFailed.code, Unauthorized.code})
"""Refusals that depend on what is stored."""


class Dispatcher:
    """Finds and calls handlers. `reads` answer at once or by a coroutine, `writes` return a PendingWrite or a
    PendingMessage."""

    def __init__(self, services: Services, reads: Table, writes: Table) -> None:
        self.services = services
        self.ledger = ledger = services.ledger
        self.telemetry = services.telemetry
        self.writes: Mapping[type, str] = {shape: shape.log for shape in writes}
        self._tokens = services.tokens
        handlers = {**reads, **writes}
        if ledger.shared:
            handlers = {shape: handler if shape.read_only else _sure(handler) for shape, handler in handlers.items()}
        # Each type of request has its own bit in `Caller.permitted`.
        self._rows = {shape: (handler, 1 << number) for number, (shape, handler) in enumerate(handlers.items())}

    def start(self, caller: Caller, request: Request) -> Answer:
        """Check the caller's rights and call the handler. Raises WireError."""
        handler, bit = self._rows[type(request)]
        # Rights are decided once for each caller and kind of request, until the token, a user or a client changes.
        if not (
            caller.permitted & bit
            and caller.permitted_to is caller.identity
            and caller.permitted_at == self._tokens.generation
            and caller.permitted_until > time_ns()
        ):
            self.admit(caller, type(request))
        return handler(self.services, caller, request)

    def carry_out(
        self, caller: Caller, request: Request, conditions: Callable[[], Sequence[Condition]] = tuple
    ) -> Coroutine[Any, Any, Reply]:
        """The reply to a request, once what it writes is durable.

        `conditions` is called for a write only, and gives preconditions that are evaluated before the request's own.
        Raises WireError; for a condition that does not hold, that condition's error.
        """
        answer: Any = self.start(caller, request)
        # Polls look at rights themselves, and are one coroutine less, because thousands wait.
        if request.read_only and request.http_only and type(answer) is CoroutineType:
            return answer
        return self._conclude(caller, request, answer, conditions)

    async def _conclude(
        self, caller: Caller, request: Request, answer: Answer, conditions: Callable[[], Sequence[Condition]]
    ) -> Reply:
        if not isinstance(answer, (Reply, PendingWrite, PendingMessage)):
            answer = await answer
            self.check_read(caller, request)
        if isinstance(answer, PendingMessage):
            return await answer.reply(caller.identity)
        if isinstance(answer, Reply):
            return answer
        return await self.write(caller, answer, conditions())

    def check_read(self, caller: Caller, request: Request) -> None:
        """Raise as `admit` if a request that has waited is a read whose caller has no right to it any more. Writes look
        for themselves before they write."""
        if request.read_only:
            self.admit(caller, type(request))

    def write(
        self, caller: Caller, pending: PendingWrite[Reply], conditions: Sequence[Condition] = ()
    ) -> Coroutine[Any, Any, Reply]:
        """The reply to a write of an admitted caller, once it is durable. Raises as `carry_out`."""
        return commit(self.ledger, _under(conditions, pending) if conditions else pending, caller.identity)

    def admit(self, caller: Caller, shape: type[Request]) -> None:
        """Raise AccessDenied, or what `authenticated` raises, unless the caller may ask for this now."""
        if shape.permission is None:
            return
        bit = self._rows[shape][1]
        if self._is_decided(caller, bit):
            return
        identity = self.authenticated(caller)
        may = any(map(identity.may, (shape.permission, *shape.or_one_of)))
        if not may and not (shape.or_tenant and identity.tenants):
            raise AccessDenied.because(f"this needs {shape.permission.wire_name}")
        if caller.permitted_to is not identity or caller.permitted_at != self._tokens.generation:
            caller.permitted, caller.permitted_to, caller.permitted_at = 0, identity, self._tokens.generation
            caller.permitted_until = (identity.expires + 1) * 1_000_000
        caller.permitted |= bit

    def _is_decided(self, caller: Caller, bit: int) -> bool:
        """Whether the caller may ask for this for certain. `start` looks for itself, which saves a call."""
        return bool(
            caller.permitted & bit
            and caller.permitted_to is caller.identity
            and caller.permitted_at == self._tokens.generation
            and caller.permitted_until > time_ns()
        )

    def check_device(self, caller: Caller, device_id: str | None) -> None:
        """Raise AccessDenied for a device that a request names and the caller does not reach. It may not exist."""
        if device_id is not None:
            with suppress(NotFound):
                self.services.registry.reach(caller.identity, device_id)

    def authorize_tenant(self, caller: Caller, tenant: str, privilege: Privilege, began: int | None = None) -> Identity:
        """Raise NotFound when there is no such tenant, AccessDenied when the caller lacks the privilege in it, or what
        `authenticated` raises. NotFound comes before AccessDenied (tenant configuration, section 10)."""
        identity = self.authenticated(caller, began)
        check_tenant(self.services, identity, tenant, privilege)
        return identity

    def authenticated(self, caller: Caller, began: int | None = None) -> Identity:
        """The identity of the caller, if its token is valid. That it has expired since the request `began`, in
        milliseconds since 1970, does not matter.

        Raises Unauthorized, TokenExpired, TokenRevoked, UserNotActive or ClientDeleted.
        """
        identity = caller.identity = self._tokens.as_now(caller.identity)
        if identity is ANONYMOUS:
            raise Unauthorized
        self._tokens.check(identity, now() if began is None else began)
        return identity

    def error(self, request_type: type[Request] | None, error: BaseException) -> WireError:
        """The error that the caller sees. An unexpected one is logged and shown as an internal error."""
        if isinstance(error, WireError):
            return error
        if isinstance(error, NotDurable):
            return unavailable(error)
        if isinstance(error, StreamError):
            return wire_error(error)
        self.telemetry.unexpected(action_of(request_type) if request_type else "decode", error)
        return InternalError()


def _sure(handler: Handler) -> Handler:
    """A handler for a ledger that others write too. What it refuses because of what is stored is refused only when that
    is so everywhere. A refusal of the ledger itself is certain anyway."""

    def handle(services: Services, caller: Caller, request: Request) -> Answer:
        seen = services.ledger.revision
        try:
            answer = handler(services, caller, request)
        except WireError as error:
            if error.code not in DEPENDENT:
                raise
            return again(error, seen, services, caller, request)
        # A login is not repeated: it counts wrong passwords, and asks the log about an unknown user itself.
        if type(answer) is CoroutineType and not request.authenticates:
            return waited(answer, seen, services, caller, request)
        return answer

    async def waited(
        answer: Coroutine[Any, Any, Reply | Pending], seen: int, services: Services, caller: Caller, request: Request
    ) -> Reply | Pending:
        try:
            return await answer
        except WireError as error:
            if error.code not in DEPENDENT:
                raise
            return await again(error, seen, services, caller, request)

    async def again(
        error: WireError, seen: int, services: Services, caller: Caller, request: Request
    ) -> Reply | Pending:
        if not await services.ledger.hear(seen):
            raise error
        if request.permission is not None:
            services.tokens.check(caller.identity, now())
        answer: Any = handler(services, caller, request)
        found: Reply | Pending = await answer if type(answer) is CoroutineType else answer
        return found

    return handle


def _under(conditions: Sequence[Condition], write: PendingWrite[Reply]) -> PendingWrite[Reply]:
    """The same write under further conditions."""

    def refuse(refused: Refused) -> WireError:
        if isinstance(refused, PreconditionFailed):
            for condition in conditions:
                if refused.failed is condition:
                    return condition.error(refused.last)
        return write.refuse(refused)

    kind = write.transaction.writes[0].kind  # of what the request is about, not of its expiry
    for each in write.transaction.writes:
        if each.kind != kind:
            continue
        each.preconditions = (*conditions, *each.preconditions)
    return PendingWrite(write.transaction, write.answer, refuse)


def check_permission(identity: Identity, permission: Permission) -> None:
    """Raise AccessDenied unless the token grants this."""
    if not identity.may(permission):
        raise AccessDenied.because(f"this needs {permission.wire_name}")


def check_administrator(services: Services, identity: Identity, what: str) -> None:
    """Raise NotAllowed unless it is an administrator's unrestricted token, or the error for a token that has ended.

    It is for what would give other rights than the token grants. `what` is the beginning of a sentence: "this needs".
    """
    services.tokens.check(identity, now())
    if not identity.administers:
        raise NotAllowed(f"{NOT_ADMINISTRATOR}: {what} an administrator's unrestricted token")


NOT_ADMINISTRATOR = "Admin permissions required for this action"
"""DeviceHive's text (core protocol, section 6.3)."""


def check_tenant(services: Services, identity: Identity, tenant: str, privilege: Privilege) -> None:
    """Raise NotFound when there is no such tenant, AccessDenied when the identity lacks this privilege in it."""
    if not services.tenants.exists(tenant):
        raise NotFound(f"Tenant {tenant[:64]!r} is not defined")
    # A socket's identity may be older than the tenant.
    if not services.tokens.current(identity).may_tenant(tenant, privilege):
        raise AccessDenied.because(f"this needs {privilege} in tenant {tenant}")
