"""Admission: how many connections may be open, and how much memory all of them may hold."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from hivewire.addresses import network_prefix
from hivewire.settings import Settings
from hivewire_protocol.errors import Unavailable

FREE = 16 << 10
"""Bytes of an unfinished message that every connection may hold without drawing from the common budget."""


class Stallable(Protocol):
    """A connection whose peer may stop reading."""

    def abort(self) -> None:
        """Cut it at once."""


class Admission:
    """Counts who is inside, what messages and bodies that are not whole yet hold (`unfinished` bytes), and what answers
    hold that their peers do not read (`unread` bytes)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inside = 0
        self.unfinished = 0
        self.unread = 0
        self._stalled: dict[Stallable, int] = {}
        self._by_network_prefix: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Whether one more connection from this address may come in; every one that may must `leave`."""
        if self.inside >= self.settings.connections:
            return False
        network_prefix = self._network_prefix(address)
        if network_prefix and self._by_network_prefix[network_prefix] >= self.settings.connections_per_address:
            return False
        self._by_network_prefix[network_prefix] += 1
        self.inside += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was let in has ended."""
        self.inside -= 1
        network_prefix = self._network_prefix(address)
        self._by_network_prefix[network_prefix] -= 1
        if not self._by_network_prefix[network_prefix]:
            del self._by_network_prefix[network_prefix]

    def draw(self, drawn: int, held: int) -> int:
        """What a connection that has `drawn` so much of the common budget draws for an unfinished message of `held`
        bytes; nothing when that is 0. Raises Unavailable when not so much is left."""
        wanted = max(0, held - FREE)
        if wanted > drawn and self.unfinished + wanted - drawn > self.settings.unfinished_bytes:
            raise Unavailable("too many unfinished messages; try again later")
        self.unfinished += wanted - drawn
        return wanted

    def stall(self, connection: Stallable, held: int) -> None:
        """A connection holds so many bytes, and its peer does not read. What is too much for all of them is taken from
        those who have read nothing for longest: they are cut."""
        self.resume(connection)
        self._stalled[connection] = held
        self.unread += held
        while self.unread > self.settings.unread_bytes:
            longest = next(iter(self._stalled))
            self.resume(longest)
            longest.abort()

    def resume(self, connection: Stallable) -> None:
        """Its peer has read, or it has ended."""
        self.unread -= self._stalled.pop(connection, 0)

    def _network_prefix(self, address: str) -> str:
        """Empty for trusted proxies: there are many clients behind them, so only the limit for all counts."""
        return "" if self.settings.trusts(address) else network_prefix(address)
