"""Back-pressure on the peer of a socket: input that is not handled yet, and output that the peer does not read.

`Backlog` belongs to every socket, `Stall` only to one whose peer does not read, `Slices` to all anonymous sockets, and
`Turns` to all anonymous HTTP requests. They keep count; the socket or the request decides what follows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from hivewire.transport.admission import Admission
from hivewire.transport.frames import Event, FrameReader

PIECE = 16 << 10
"""Bytes handled without a pause, so that one busy connection does not delay the others."""

ANONYMOUS_PIECE = 512
"""The same for an anonymous connection: only a few requests or frames fit into it."""

PORTION = 64 << 10
"""Bytes of an answer that are written at a time. So many may be unread without counting in the budget; with more, the
next portion waits until the peer reads."""

OVERHEAD = 48
"""Bytes that a message takes in memory beside its own."""


class Backlog:
    """Input of one socket that is not handled yet: messages, bytes behind them, an unfinished message.

    While it waits, the owner pauses reading. The kernel's buffers then fill up, and TCP makes the peer wait. So the
    memory for a connection is bounded without refusing anything.
    """

    __slots__ = ("_drawn", "_due", "_reader", "_transport", "begun", "data", "events", "reading")

    def __init__(self, transport: asyncio.Transport, reader: FrameReader) -> None:
        self._transport = transport
        self._reader = reader
        self.events: Sequence[Event] = ()
        """Parsed, but waiting for other connections or for answers."""
        self.data = b""
        """Received after them, and not parsed."""
        self.begun: float | None = None
        """When the unfinished message began, as a time of the event loop."""
        self._drawn = 0  # its bytes in the shared budget of unfinished messages
        self._due = False
        self.reading = True
        """Whether the transport reads."""

    # What waits.

    @property
    def waiting(self) -> bool:
        """Whether anything is complete and not handled."""
        return bool(self.events or self.data)

    @property
    def size(self) -> int:
        """The memory of everything."""
        events = sum(len(event) + OVERHEAD for event in self.events if type(event) is bytes)
        return self._reader.held + len(self.data) + events

    def add(self, data: bytes) -> None:
        """Keep bytes for later. They are never more than one read, because reading is paused while any are left."""
        self.data += data

    def take(self, piece: int = PIECE) -> Sequence[Event]:
        """The next events: those that had to wait, or those in the next `piece` bytes."""
        # Only a piece: parsed messages take more memory than their bytes, and others wait until all are handled.
        events, self.events = self.events, ()
        return events or self._parse(piece)

    def look_ahead(self) -> Sequence[Event]:
        """All waiting events, which stay there for `take`. An unfinished message after them is kept in the reader."""
        events = [*self.events]
        while self.data:
            events += self._parse(PIECE)
        self.events = events
        return events

    def _parse(self, piece: int) -> list[Event]:
        data, self.data = self.data[:piece], self.data[piece:]
        return self._reader.feed(data)

    def drop(self) -> None:
        """Discard everything."""
        self.events, self.data = (), b""

    # The unfinished message.

    def note_begin(self) -> bool:
        """Note when the unfinished message began. False when there is none."""
        reader = self._reader
        if reader.renewed:
            reader.renewed, self.begun = False, None  # a message was completed: the unfinished one began after it
        self.begun = (self.begun or _now()) if reader.unfinished else None
        return reader.unfinished

    def overdue(self, seconds: float) -> bool:
        """Whether the unfinished message takes longer than this. Time in which nothing is read does not count."""
        now = _now()
        if not self.reading or self.begun is None:
            self.begun = now
        return now - self.begun >= seconds

    def draw(self, admission: Admission) -> bool:
        """Count the bytes of the unfinished message in the common budget; whether there are any beyond FREE.

        Raises Unavailable when the budget is used up.
        """
        self._drawn = admission.draw(self._drawn, self._reader.held)
        return self._drawn > 0

    def give_back(self, admission: Admission) -> None:
        """The connection has ended: nothing is counted any more."""
        self._drawn = admission.draw(self._drawn, 0)

    # Reading.

    @property
    def closing(self) -> bool:
        """Whether the connection closes, so that nothing more is handled."""
        return self._transport.is_closing()

    def read(self, reading: bool) -> None:
        """Resume or pause reading. Does nothing once the transport is closing."""
        if reading != self.reading and not self._transport.is_closing():
            self.reading = reading
            if not reading:
                self._transport.pause_reading()
                return
            if self.begun is not None:
                self.begun = _now()  # the peer could not continue its message before
            self._transport.resume_reading()

    def schedule(self, work: Callable[[], None]) -> None:
        """Call `work` once in the next iteration of the event loop, so that other connections are served before."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._work, work)

    def _work(self, work: Callable[[], None]) -> None:
        self._due = False  # before the work, which may schedule itself again
        if not self._transport.is_closing():
            work()


class Stall:
    """A peer that does not read: since when it has read nothing, and how much is unread."""

    __slots__ = ("_idle", "_since", "_unread")

    def __init__(self, unread: int) -> None:
        self._since = _now()
        self._unread = unread  # at the last look
        self._idle = False

    def look(self, unread: int, conflate_seconds: float) -> float:
        """Look whether the peer has read any of it. Returns the seconds since it last did."""
        # Only less is progress: new answers add bytes while the peer reads nothing.
        if unread < self._unread:
            self._since = _now()
        self._unread = unread
        self._idle = self.idle(conflate_seconds)
        return _now() - self._since

    def idle(self, conflate_seconds: float) -> bool:
        """Whether it ever read nothing for so long that changes may be conflated."""
        return self._idle or _now() - self._since >= conflate_seconds


class Watch:
    """Aborts a transport whose peer has unread bytes and reads none of them for this number of seconds."""

    __slots__ = ("_seconds", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._wait(transport.get_write_buffer_size())

    def stop(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _wait(self, unread: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look, unread)

    def _look(self, unread_before: int) -> None:
        unread = self._transport.get_write_buffer_size()
        # Not `close`, which would wait for the peer to read the rest.
        if unread >= unread_before:
            self._transport.abort()
        else:
            self._wait(unread)


class Slices:
    """Work for anonymous connections: for `seconds` for all of them together, then a `pause`.

    So clients with a token never wait for many of them. In the pause the loop sleeps if there is nothing else to do:
    from a busy loop, the thread that writes to the disk gets the interpreter lock only after 5 ms. The connection that
    has waited longest goes first.
    """

    __slots__ = ("_due", "_pause", "_seconds", "_waiting", "end")

    def __init__(self, seconds: float, pause: float) -> None:
        self._seconds = seconds
        self._pause = pause
        self._waiting: dict[Backlog, Callable[[], None]] = {}
        self._due = False
        self.end = 0.0
        """When the current slice ends, as a time of `monotonic`."""

    def schedule(self, backlog: Backlog, work: Callable[[], None]) -> None:
        """Call `work` for a connection once, as soon as there is time for it."""
        self._waiting.setdefault(backlog, work)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        self.end = monotonic() + self._seconds
        # A connection with more work adds itself at the end, so the others have their turn before.
        for backlog in list(self._waiting):
            work = self._waiting.pop(backlog)
            if not backlog.closing:
                work()
            if monotonic() > self.end:
                break
        self._due = bool(self._waiting)
        if self._due:
            asyncio.get_running_loop().call_later(self._pause, self._work)


class Turns:
    """The same for HTTP requests, each of which is a task of its own: a slice of `seconds` for all, then a `pause`.

    The turn of a request ends when it first waits for something. What the event loop does for others meanwhile counts
    as well, so the busier the gateway is, the less time anonymous requests get.
    """

    __slots__ = ("_due", "_end", "_pause", "_seconds", "_waiting")

    def __init__(self, seconds: float, pause: float) -> None:
        self._seconds = seconds
        self._pause = pause
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._due = False
        self._end = 0.0

    async def take(self) -> None:
        """Return when it is this request's turn: at once when no other one waits, and none was served just now."""
        loop = asyncio.get_running_loop()
        if self._due:
            turn = loop.create_future()
            self._waiting.append(turn)
            await turn
        else:
            self._due = True
            self._end = monotonic() + self._seconds
            loop.call_soon(self._next)

    def _next(self) -> None:
        if monotonic() > self._end:
            asyncio.get_running_loop().call_later(self._pause, self._begin)
        else:
            self._serve()

    def _begin(self) -> None:
        self._end = monotonic() + self._seconds
        self._serve()

    def _serve(self) -> None:
        """Let the next request go on: the loop runs its task and then `_next`."""
        while self._waiting:
            if not (turn := self._waiting.popleft()).done():  # else it was cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._due = False


def _now() -> float:
    return asyncio.get_running_loop().time()
