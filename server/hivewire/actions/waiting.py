"""Reads that are answered once this gateway has what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any, TypeAlias, TypeVar

from hivewire.actions.checks import check_token
from hivewire.caller import Caller
from hivewire.hub.source import Source
from hivewire.services import Services
from hivewire_protocol.messages import Reply
from hivewire_protocol.nouns.configuration import ConfigurationGet, ConfigurationHistory, ConfigurationList
from hivewire_protocol.nouns.subscription import ConfigurationSubscribe

Waiting: TypeAlias = ConfigurationGet | ConfigurationList | ConfigurationHistory | ConfigurationSubscribe

R = TypeVar("R", bound=Waiting)

Q = TypeVar("Q")

Handle: TypeAlias = Callable[[Services, Caller, Q], Reply | Coroutine[Any, Any, Reply]]


async def until_current(services: Services, caller: Caller, request: Waiting) -> None:
    """Return when the gateway has what the request asks for, at once if that is nothing.

    Raises Unavailable when that takes too long, and the error of a token that has ended meanwhile.
    """
    if request.atLeast is not None or request.fresh:
        await services.freshness.wait(request.atLeast, request.fresh, caller.when_gone)
        request.atLeast = request.fresh = None
        check_token(services, caller)


async def when_current(handler: Handle[R], services: Services, caller: Caller, request: R) -> Reply:
    """What the handler returns when the gateway has what the request asks for. Raises as `until_current`."""
    await until_current(services, caller, request)
    return await _reply(handler(services, caller, request))


async def _reply(answer: Any) -> Reply:
    reply: Reply = await answer if type(answer) is CoroutineType else answer
    return reply


def resuming(handler: Handle[Q]) -> Handle[Q]:
    """A handler of requests with `since`. A position ahead of this gateway may come from another gateway, so it first
    gets all entries of the log. Only then a position that is still ahead counts as invalid.

    Raises Unavailable when the log does not answer.
    """

    def handle(services: Services, caller: Caller, request: Q) -> Reply | Coroutine[Any, Any, Reply]:
        source = services.hub.ahead(getattr(request, "since", None))
        if source is None:
            return handler(services, caller, request)
        return when_confirmed(source, services, caller, request)

    async def when_confirmed(source: Source, services: Services, caller: Caller, request: Q) -> Reply:
        await services.freshness.confirm(source.confirm, caller.when_gone)
        check_token(services, caller)
        return await _reply(handler(services, caller, request))

    return handle
