"""Back-pressure on a peer: received bytes that are not handled yet, and pausing of reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

SLICE = 16 << 10
"""Bytes handled without a pause, so that one busy connection does not delay the others."""


class Backlog:
    """Bytes that were received on one connection and not handled yet.

    While requests wait, the owner pauses reading. The kernel's buffers then fill up, and TCP makes the peer wait. So
    the memory for a connection is bounded without refusing anything.
    """

    __slots__ = ("_due", "_transport", "data", "reading")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.data = b""
        """What waits."""
        self._due = False
        self.reading = True
        """Whether the transport reads."""

    def add(self, data: bytes) -> None:
        """Keep bytes for later. They are never more than one read, because reading is paused while any are left."""
        self.data += data

    def take(self) -> bytes:
        """The next slice."""
        data, self.data = self.data[:SLICE], self.data[SLICE:]
        return data

    def drop(self) -> None:
        """Discard everything."""
        self.data = b""

    @property
    def closing(self) -> bool:
        """Whether the connection closes, so that nothing more is handled."""
        return self._transport.is_closing()

    def read(self, reading: bool) -> None:
        """Resume or pause reading. Does nothing once the transport is closing."""
        if reading != self.reading and not self._transport.is_closing():
            self.reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def schedule(self, work: Callable[[], None]) -> None:
        """Call `work` once in the next iteration of the event loop, so that others are served before."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._work, work)

    def _work(self, work: Callable[[], None]) -> None:
        self._due = False  # before the work, which may schedule more
        if not self._transport.is_closing():
            work()


class Turns:
    """Work for connections on which nobody has logged in: for `seconds`, for all of them together, then a `pause`.

    So those with a token do not wait for many. In the pause the loop sleeps if there is nothing else to do: the thread
    that writes to the disk gets the interpreter lock from a busy loop after 5 ms only. The connection that has waited
    longest goes first.
    """

    __slots__ = ("_due", "_pause", "_seconds", "_waiting", "end")

    def __init__(self, seconds: float, pause: float) -> None:
        self._seconds = seconds
        self._pause = pause
        self._waiting: dict[Backlog, Callable[[], None]] = {}
        self._due = False
        self.end = 0.0
        """When the current turn ends, as a time of `monotonic`."""

    def schedule(self, backlog: Backlog, work: Callable[[], None]) -> None:
        """Call `work` for a connection once, when its turn comes."""
        self._waiting.setdefault(backlog, work)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        self.end = monotonic() + self._seconds
        for backlog in list(self._waiting):
            work = self._waiting.pop(backlog)
            if not backlog.closing:
                work()
            if monotonic() > self.end:
                break
        self._due = bool(self._waiting)
        if self._due:
            asyncio.get_running_loop().call_later(self._pause, self._work)
