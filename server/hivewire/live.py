"""Small facts that gateways tell one another: who is online, what time it is. Nobody keeps them, any may be lost.

What must not be lost is in a log. `Live` is the contract of what carries facts; a gateway that is alone has `Alone`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

Hear: TypeAlias = Callable[[str, bytes], None]
"""Gets the name of the gateway that told a fact, and the fact."""

FACT_BYTES = 512 << 10
"""The most bytes of a fact."""


class Live(Protocol):
    """What carries facts from this gateway to all others, and from them."""

    name: str
    """This gateway, as the others know it: random, and another one after a restart."""

    def tell(self, subject: str, fact: bytes) -> None:
        """Tell all other gateways, soon. The subject is a word of lower-case letters."""

    def hear(self, subject: str, hear: Hear) -> None:
        """Call it on the event loop with each fact of another gateway about a subject.

        Those of one gateway come in the order in which it told them; some may be missing.
        """


class Alone:
    """There is no other gateway."""

    name = "alone"

    def tell(self, subject: str, fact: bytes) -> None:
        """Nobody hears it."""

    def hear(self, subject: str, hear: Hear) -> None:
        """Nobody tells anything."""
