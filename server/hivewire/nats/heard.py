"""Received messages of a log, from the feed or by reading, that are not applied yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hivewire.nats.connection import Message

HEARD_BYTES = 96 << 20
"""Most bytes that wait to be applied, more than one entry. Further messages are read again later."""

MESSAGE_BYTES = 512
"""About how much memory a message takes beside its data while it waits."""


class Complete(NamedTuple):
    """All messages of an entry: the places of the first and the last, and what is in them."""

    first: int
    place: int
    data: bytes


class Heard:
    """By place, each once. `known` is the highest place that is known to exist."""

    def __init__(self) -> None:
        self.known = 0
        self._messages: dict[int, Message] = {}
        self._furthest = 0  # the highest place of them: to look for it among a hundred thousand takes 3 ms
        self._bytes = 0

    def add(self, message: Message, tip: int) -> bool:
        """Keep a message behind the tip, if there is room, which those behind it make; whether it was a new one."""
        place = message.place
        self.known = max(self.known, place)
        if place <= tip or place in self._messages:
            return False
        while self._bytes > HEARD_BYTES and self._furthest > place:
            self._drop(self._furthest)
        if self._bytes <= HEARD_BYTES:
            self._messages[place] = message
            self._furthest = max(self._furthest, place)
            self._bytes += len(message.data) + MESSAGE_BYTES
        return True

    def drop(self, first: int, last: int) -> None:
        """Forget applied messages."""
        for place in range(first, last + 1):
            self._drop(place)

    def _drop(self, place: int) -> None:
        if (message := self._messages.pop(place, None)) is not None:
            self._bytes -= len(message.data) + MESSAGE_BYTES
            if place == self._furthest:  # mostly the one before is there
                self._furthest = place - 1 if place - 1 in self._messages else max(self._messages, default=0)

    def clear(self) -> None:
        """Forget all."""
        self._messages.clear()
        self._furthest = self._bytes = 0

    def missing(self, tip: int) -> int:
        """The first place behind the tip without a message."""
        place = tip + 1
        while place in self._messages:
            place += 1
        return place

    def has_gap(self, tip: int) -> bool:
        """Whether there are messages that do not continue the applied ones."""
        return bool(self._messages) and self._furthest != tip + len(self._messages)

    def entries(self, tip: int) -> Iterator[Complete]:
        """The complete entries directly behind the tip."""
        place = first = tip + 1
        pieces: list[bytes] = []
        while (message := self._messages.get(place)) is not None:
            pieces.append(message.data)
            if message.ends:
                yield Complete(first, place, pieces[0] if len(pieces) == 1 else b"".join(pieces))
                first, pieces = place + 1, []
            place += 1
