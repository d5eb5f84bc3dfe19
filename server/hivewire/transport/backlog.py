"""Back-pressure on what a peer sends: bytes that wait to be looked at, and whether the transport reads more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SLICE = 16 << 10
"""Bytes looked at in one go, so that one busy connection does not hold up the others."""


class Backlog:
    """The bytes of one connection that were received and not looked at yet."""

    __slots__ = ("_data", "_due", "_transport", "reading")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._data = b""
        self._due = False
        self.reading = True
        """Whether the transport reads; what the peer sends meanwhile stays in the kernel's buffers."""

    def __bool__(self) -> bool:
        return bool(self._data)

    def add(self, data: bytes) -> None:
        """Keep bytes for later. One read of the transport is the most that comes together here."""
        self._data += data

    def take(self) -> bytes:
        """The next slice."""
        data, self._data = self._data[:SLICE], self._data[SLICE:]
        return data

    def drop(self) -> None:
        """Nobody will look at them."""
        self._data = b""

    def read(self, reading: bool) -> None:
        """Have the transport read, or not."""
        if reading != self.reading and not self._transport.is_closing():
            self.reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def schedule(self, work: Callable[[], None]) -> None:
        """Call this once in the next iteration of the event loop, however often it is asked for until then."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._work, work)

    def _work(self, work: Callable[[], None]) -> None:
        self._due = False
        if not self._transport.is_closing():
            work()
