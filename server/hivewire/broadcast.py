"""Small facts that gateways send one another, such as who is online. They are not stored, and any may be lost.

What must not be lost is in a log. `Broadcast` is the contract of what carries facts; a single gateway has `Alone`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeAlias, TypeVar

import msgspec

from hivewire.unexpected import log_unexpected

F = TypeVar("F")

Hear: TypeAlias = Callable[[str, bytes], None]
"""Gets the name of the gateway that told a fact, and the fact."""

FACT_BYTES = 512 << 10
"""Most bytes of a fact."""

_encode = msgspec.msgpack.Encoder().encode


class Broadcast(Protocol):
    """What carries facts from this gateway to all others, and from them."""

    name: str
    """The name of this gateway among the others: random, and a new one after a restart."""

    def tell(self, subject: str, fact: bytes) -> None:
        """Queue a fact for all other gateways. The subject is a word of lower-case letters."""

    def hear(self, subject: str, hear: Hear) -> None:
        """Call it on the event loop with each fact of another gateway about a subject.

        Those of one gateway come in the order in which it sent them; some may be missing.
        """


class Alone:
    """The broadcast of a single gateway: there are no others."""

    name = "alone"

    def tell(self, subject: str, fact: bytes) -> None:
        """Does nothing."""

    def hear(self, subject: str, hear: Hear) -> None:
        """Does nothing."""


class Facts(Generic[F]):
    """Facts about one subject, in MessagePack. `hear` gets those of other gateways that `decode` understands."""

    def __init__(
        self, broadcast: Broadcast, subject: str, decode: Callable[[bytes], F], hear: Callable[[str, F], None]
    ) -> None:
        self._broadcast = broadcast
        self._subject = subject
        self._decode = decode
        self._hear = hear
        broadcast.hear(subject, self._heard)

    def tell(self, fact: F) -> None:
        """Tell all other gateways, soon."""
        self._broadcast.tell(self._subject, _encode(fact))

    def _heard(self, name: str, encoded: bytes) -> None:
        if (fact := understand(self._decode, encoded)) is not None:
            self._hear(name, fact)


def understand(decode: Callable[[bytes], F], encoded: bytes) -> F | None:
    """What another gateway tells, decoded; None, and a report, for what only another version understands."""
    try:
        return decode(encoded)
    except msgspec.MsgspecError as error:
        log_unexpected("a fact of another gateway was not understood", error)
        return None
