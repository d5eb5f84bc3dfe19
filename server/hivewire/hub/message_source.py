"""A log of messages as a source: an event is a message, an offset is its place, and there is no state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hivewire.hub.source import Event, NotCovered
from hivewire.streams.filters import Keys
from hivewire.streams.log import Log
from hivewire.streams.message import Message, NotKept
from hivewire_protocol.patterns import Patterns

EVENT_BYTES = 500
"""Approximate memory of a message without its body, in bytes."""


class MessageSource:
    """Commands or notifications as a source. Every message is a transaction of its own."""

    def __init__(self, log: Log, kind: str) -> None:
        self._log = log
        self._kind = kind
        self.covers = log.covers
        self.confirm = log.confirm
        self.on_gap = log.on_gap
        self.is_over: Callable[[Message], bool] = log.is_over
        self.follow: Callable[[Callable[[Sequence[Message]], None]], None] = log.observe

    @property
    def epoch(self) -> str:
        """The identity of the log."""
        return self._log.epoch

    @property
    def tip(self) -> int:
        """The place of the last message that was announced."""
        return self._log.tip

    @property
    def oldest(self) -> int:
        """The first place from which the log is complete."""
        return self._log.oldest

    @property
    def shared(self) -> bool:
        """Whether other gateways append to the log too."""
        return self._log.shared

    async def since(self, offset: int, *, take: int) -> list[Event]:
        """The messages after a place. Raises NotCovered when the log does not cover it."""
        try:
            messages = await self._log.since(offset, take=take)
        except NotKept as error:
            raise NotCovered(str(error)) from None
        return [self.as_event(message) for message in messages]

    def skip(self, offset: int, served: Patterns) -> int:
        """Over the segments without messages of the device, if they are of one device."""
        if isinstance(served, Keys) and served.filter.device is not None:
            return self._log.skip(offset, served.filter.device)
        return offset

    def safe(self, offset: int) -> int:
        """The same: what is announced is all there is."""
        return offset

    def as_event(self, message: Message) -> Event:
        """A message as an event."""
        return Event(message.place, self._kind, message, EVENT_BYTES + len(message.body))

    def compacted(self, kind: str) -> None:
        """Messages have no state."""
