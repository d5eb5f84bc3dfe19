"""A message on its way into its log, and how its outcome becomes a reply or an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from hivewire.streams.log import Log
from hivewire.streams.message import (
    Draft,
    KeyReused,
    Message,
    NotFound,
    NotStored,
    Outcome,
    StreamError,
    TooLarge,
    TooMany,
    Undecided,
)
from hivewire_protocol.errors import KeyReused as KeyReusedOnWire
from hivewire_protocol.errors import NotFound as NotFoundOnWire
from hivewire_protocol.errors import TooLarge as TooLargeOnWire
from hivewire_protocol.errors import TooManyMessages, Unavailable, WireError

R = TypeVar("R")


class PendingMessage(Draft, Generic[R], gc=False, kw_only=True):
    """The result of a handler that inserts: a draft, its log, and the reply for the message once it is durable."""

    log: Log
    answer: Callable[[Message], R]

    def conclude(self, outcome: Outcome) -> R | WireError:
        """The reply or the error for an outcome of the log."""
        return self.answer(outcome) if type(outcome) is Message else wire_error(outcome)

    async def reply(self, by: Any) -> R:
        """Insert the message for somebody with this identity; the reply once it is durable. Raises WireError."""
        self.by = by
        try:
            return self.answer(await self.log.insert(self))
        except StreamError as error:
            raise wire_error(error) from None


def wire_error(error: StreamError) -> WireError:
    """The error that a client gets."""
    if isinstance(error, TooLarge):
        return TooLargeOnWire(f"{error}, setting parameters_bytes")
    if isinstance(error, TooMany):
        return TooManyMessages(str(error) or None)
    if isinstance(error, KeyReused):
        return KeyReusedOnWire()
    if isinstance(error, NotFound):
        return NotFoundOnWire(str(error))
    if isinstance(error, Undecided):
        return Unavailable("not known whether this was stored; read before trying again")
    if isinstance(error, NotStored):
        return Unavailable.because(f"{error}; nothing was stored")
    return Unavailable.because(error)
