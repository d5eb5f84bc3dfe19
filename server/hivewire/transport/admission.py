"""Admission: how many connections may be open, and how much memory all of them may hold."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from hivewire.addresses import network_prefix
from hivewire.settings import Settings
from hivewire_protocol.errors import Unavailable

FREE = 16 << 10
"""Bytes of an incomplete message that each connection may hold without drawing from the shared budget."""


class Stallable(Protocol):
    """A connection whose peer may stop reading."""

    def abort(self) -> None:
        """Cut the connection at once."""


class Admission:
    """Counts open connections (`inside`), bytes of incomplete messages and bodies beyond FREE (`unfinished`), and bytes
    of answers that their peers do not read (`unread`)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inside = 0
        self.unfinished = 0
        self.unread = 0
        self._stalled: dict[Stallable, int] = {}
        self._by_network_prefix: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Whether one more connection from this address is admitted. An admitted connection must `leave`."""
        if self.inside >= self.settings.connections:
            return False
        network_prefix = self._network_prefix(address)
        if network_prefix and self._by_network_prefix[network_prefix] >= self.settings.connections_per_address:
            return False
        self._by_network_prefix[network_prefix] += 1
        self.inside += 1
        return True

    def leave(self, address: str) -> None:
        """An admitted connection has ended."""
        self.inside -= 1
        network_prefix = self._network_prefix(address)
        self._by_network_prefix[network_prefix] -= 1
        if not self._by_network_prefix[network_prefix]:
            del self._by_network_prefix[network_prefix]

    def draw(self, drawn: int, held: int) -> int:
        """Change what a connection draws from the shared budget, and return the new amount.

        `drawn` is the amount so far, `held` the bytes of its incomplete message. Raises Unavailable when the budget
        does not suffice.
        """
        wanted = max(0, held - FREE)
        if wanted > drawn and self.unfinished + wanted - drawn > self.settings.unfinished_bytes:
            raise Unavailable("too many unfinished messages; try again later")
        self.unfinished += wanted - drawn
        return wanted

    def stall(self, connection: Stallable, held: int) -> None:
        """Count the bytes that a connection holds because its peer does not read.

        When all of them exceed `unread_bytes`, the connections that have read nothing for longest are cut.
        """
        self.resume(connection)
        self._stalled[connection] = held
        self.unread += held
        while self.unread > self.settings.unread_bytes:
            longest = next(iter(self._stalled))
            self.resume(longest)
            longest.abort()

    def resume(self, connection: Stallable) -> None:
        """The peer has read, or the connection has ended."""
        self.unread -= self._stalled.pop(connection, 0)

    def _network_prefix(self, address: str) -> str:
        """Empty for trusted proxies: many clients share their address, so only the limit of the process applies."""
        return "" if self.settings.trusts(address) else network_prefix(address)
