"""Back-pressure on what a peer sends: received bytes that wait, and whether the transport reads more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SLICE = 16 << 10
"""Bytes handled without a pause, so that one busy connection does not delay the others."""


class Backlog:
    """Bytes of one connection that were received and not handled yet."""

    __slots__ = ("_data", "_due", "_transport", "reading")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._data = b""
        self._due = False
        self.reading = True
        """Whether the transport reads. While it does not, TCP slows the peer down."""

    def __bool__(self) -> bool:
        return bool(self._data)

    def add(self, data: bytes) -> None:
        """Keep bytes for later. They are never more than one read: the transport pauses while any are left."""
        self._data += data

    def take(self) -> bytes:
        """The next slice."""
        data, self._data = self._data[:SLICE], self._data[SLICE:]
        return data

    def drop(self) -> None:
        """Discard everything."""
        self._data = b""

    def read(self, reading: bool) -> None:
        """Resume or pause reading."""
        if reading != self.reading and not self._transport.is_closing():
            self.reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def schedule(self, work: Callable[[], None]) -> None:
        """Call `work` once in the next iteration of the event loop, however often this is called until then."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._work, work)

    def _work(self, work: Callable[[], None]) -> None:
        self._due = False
        if not self._transport.is_closing():
            work()
