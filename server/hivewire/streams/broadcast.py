"""Logs of messages in memory whose gateways send one another what is inserted: `messages = memory` with others.

Nothing is promised beyond this gateway: each has an order, places and an epoch of its own, and may miss messages of
others that are lost on the way.
"""

from __future__ import annotations

from hivewire.broadcast import FACT_BYTES, Broadcast, understand
from hivewire.streams.contract import LOGS, Follower, LogName
from hivewire.streams.memory import MemoryEngine, MemoryLog
from hivewire.streams.message import ROOM, Message, pack, unpack


class BroadcastLog(MemoryLog):
    """A log in memory, with the messages of other gateways."""

    shared = True

    def __init__(self, broadcast: Broadcast, name: LogName) -> None:
        super().__init__()
        self._broadcast = broadcast
        self._name = name

    async def follow(self, follower: Follower) -> None:
        """From now on also the entries of other gateways."""
        await super().follow(follower)
        self._broadcast.hear(self._name, lambda gateway, entry: self._hear(entry))

    async def append(self, number: int, entry: bytes) -> bool:
        """In this log, and sent to the others."""
        if number != self._next:
            return False
        await super().append(number, entry)
        for portion in [entry] if len(entry) <= FACT_BYTES else _portions(unpack(entry)):
            self._broadcast.tell(self._name, portion)
        return True

    def _hear(self, entry: bytes) -> None:
        """Take an entry of another gateway as the next one."""
        if (messages := understand(unpack, entry)) is None:
            return
        for place, message in enumerate(messages, self._next * ROOM):
            message.place = place
        self.put(self._next, pack(messages))


def _portions(messages: list[Message]) -> list[bytes]:
    """Entries of half as many messages, until each fits into a fact or has only one."""
    half = len(messages) // 2
    parts = [messages[:half], messages[half:]] if half else [messages]
    found: list[bytes] = []
    for part in parts:
        entry = pack(part)
        found += [entry] if len(entry) <= FACT_BYTES or len(part) == 1 else _portions(part)
    return found


class BroadcastEngine(MemoryEngine):
    """Both of them."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._logs = {name: BroadcastLog(broadcast, name) for name in LOGS}
