"""WebSocket connections: the asyncio shell around the frame reader and the session.

The shell does everything that needs the socket or a clock: when to read (back-pressure), when to write, pings and
missed pongs, the deadlines of messages and of the close handshake, and the stop of the gateway.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from enum import IntEnum
from time import monotonic

from msgspec import Struct, field
from uvicorn.server import ServerState

from hivewire.access.identity import ANONYMOUS
from hivewire.caller import Caller
from hivewire.dispatch import Dispatcher
from hivewire.hub.frames import Frame
from hivewire.session import ANONYMOUS_PAUSE_SECONDS, ANONYMOUS_SLICE_SECONDS, CONNECTION_SLICE_SECONDS, Session
from hivewire.settings import Settings
from hivewire.telemetry import log
from hivewire.transport import frames
from hivewire.transport.admission import Admission
from hivewire.transport.back_pressure import ANONYMOUS_PIECE, PIECE, PORTION, Backlog, Slices, Stall
from hivewire.transport.connection import delay_seconds, peer_address
from hivewire.transport.frames import TEXT_HEADS, Close, Event, Failure, FrameReader, Ping, Rejected, text_head
from hivewire_protocol.close import TABLE, Code
from hivewire_protocol.codec import push
from hivewire_protocol.errors import Unavailable

CLOSE_SECONDS = 5.0
"""Time for the peer to answer our close frame; then the connection is aborted."""

ENOUGH = 64 << 10
"""Bytes of queued answers at which they are written before the next request is carried out."""

SHORT = len(TEXT_HEADS)
"""Answers below this size are counted instead of adding up their bytes, because nearly all are short."""

MANY = 2 * ENOUGH // SHORT
"""Queued heads and short answers at which they are written, like ENOUGH."""

ANONYMOUS_MESSAGE = 80 << 10
"""Largest message before login; the longest token fits."""

LOGIN_REQUESTS = 2
"""The handshake and `authenticate`: they do not count as anonymous once the token was good."""

CLOCK_EVENTS = 16
"""Up to this many messages in one read are handled without checking the clock, which costs more than it saves."""

_NOTEWORTHY = (Code.INTERNAL_ERROR, Code.SLOW_CONSUMER, Code.TOO_MANY_FAILURES)


class Stage(IntEnum):
    """The stages of closing a connection (RFC 6455, section 7.1)."""

    OPEN = 0
    CLOSING = 1
    """Our close frame is sent. Everything but the peer's close frame is ignored."""
    CLOSED = 2
    """Nothing more is sent. Input is read and discarded until the peer ends the connection."""


OPEN, CLOSING, CLOSED = Stage


class Shared(Struct):
    """What all sockets of one gateway share. `anonymous`: those without a login, since when, oldest first.

    `session`: what makes the conversation over each. `spread`: seconds within which clients are told to reconnect when
    the gateway stops.
    """

    dispatcher: Dispatcher
    admission: Admission
    settings: Settings
    session: Callable[..., Session] = Session
    open_sockets: dict[int, WebSocket] = field(default_factory=dict)
    unfinished: set[WebSocket] = field(default_factory=set)
    anonymous: dict[WebSocket, float] = field(default_factory=dict)
    slices: Slices = field(default_factory=lambda: Slices(ANONYMOUS_SLICE_SECONDS, ANONYMOUS_PAUSE_SECONDS))
    spread: float = 0.0


class WebSocket(asyncio.Protocol):
    """A connection, from its handshake to its end."""

    kind = "websocket"
    outlives_token = True

    __slots__ = (
        "_address",
        "_admitted",
        "_backlog",
        "_close_timer",
        "_delayed",
        "_draining",
        "_ending",
        "_loop",
        "_out",
        "_out_bytes",
        "_pong_due",
        "_reader",
        "_server_state",
        "_session",
        "_shared",
        "_stage",
        "_stall",
        "_watched",
        "anonymous",
        "number",
        "since",
        "transport",
    )

    def __init__(
        self, shared: Shared, transport: asyncio.Transport, caller: Caller, server_state: ServerState, number: int
    ) -> None:
        self._shared = shared
        self._server_state = server_state
        self._loop = asyncio.get_running_loop()
        self.transport = transport
        self.number = number
        self.since = shared.dispatcher.services.ledger.now()
        self._address = peer_address(transport)
        caller.listener = self
        self._session = shared.session(shared.dispatcher, caller, self._send, self._settled)
        self._stage: Stage = OPEN
        self._admitted = True
        self.anonymous = caller.identity is ANONYMOUS
        """Whether this socket has no login yet."""
        if self.anonymous:
            shared.anonymous[self] = self._loop.time()
        # Reading.
        self._reader = FrameReader(shared.settings.message_bytes)
        self._backlog = Backlog(transport, self._reader)
        self._ending: Close | Failure | Rejected | None = None  # closes the connection once all is answered
        self._delayed = False  # not read for a while, because too many requests came without a token
        self._watched = self.anonymous  # whether `_account` has to run after each read
        # Writing.
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._stall: Stall | None = None  # while the peer does not read
        self._pong_due = False
        self._draining = False
        self._close_timer: asyncio.TimerHandle | None = None

    @property
    def caller(self) -> Caller:
        """The caller of its requests."""
        return self._session.caller

    @property
    def ended(self) -> bool:
        """Whether it is closing already."""
        return self._stage is not OPEN

    @property
    def unread(self) -> int:
        """Bytes that the peer has not read yet, beyond the kernel's buffers."""
        return self.transport.get_write_buffer_size()

    @property
    def stalled(self) -> bool:
        """Whether the peer does not read."""
        return self._stall is not None

    # What asyncio and uvicorn call.

    def data_received(self, data: bytes) -> None:
        """Handle received bytes, one piece per iteration of the event loop, so that other connections are served."""
        # Nearly every read: nothing waits, so it is handled here, without a copy. An anonymous socket has to wait for
        # a slice of time.
        backlog = self._backlog
        if len(data) <= PIECE and not backlog.data and not backlog.events and not self.anonymous:
            try:
                self._handle(self._reader.feed(data))
            except Exception as error:
                self._close_after_error(error)
            self._received()
        else:
            backlog.add(data)
            self._regulate()

    def eof_received(self) -> None:
        """The peer will send nothing more; asyncio closes the connection."""
        self._flush()
        self._stage = CLOSED
        self._session.close()  # no answer can be written any more, and `connection_lost` may come much later

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, for whatever reason."""
        self._stage = CLOSED
        self._server_state.connections.discard(self)
        self._shared.open_sockets.pop(self.number, None)
        self._shared.unfinished.discard(self)
        self._shared.anonymous.pop(self, None)
        self._backlog.give_back(self._shared.admission)
        if self._admitted:
            self._shared.admission.leave(self, self._address)
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._session.close()

    def pause_writing(self) -> None:
        """The peer does not read: pause its session until it does."""
        self._stall = Stall(self.transport.get_write_buffer_size())
        self._session.pause()
        self._regulate()
        # Later: the transport calls this in the middle of a write, while messages are being handled.
        self._loop.call_soon(self._look_ahead)
        self.count_unread()

    def resume_writing(self) -> None:
        """The peer reads again: continue its session."""
        stall, self._stall = self._stall, None
        self.count_unread()
        self._session.resume(stall is not None and stall.idle(self._shared.settings.conflate_seconds))
        self._flush()
        self._regulate()
        self._close_if_drained()

    def abort(self) -> None:
        """Disconnect at once."""
        self.transport.abort()

    def give_way(self) -> None:
        """Disconnect at once. The admission does not count the connection any more."""
        self._admitted = False
        self.abort()

    def authenticated(self) -> None:
        """The caller has logged in, so the socket is not anonymous any more."""
        if self.anonymous:
            self.anonymous = False
            self._shared.anonymous.pop(self, None)
            self._shared.admission.login(self)
            services = self._shared.dispatcher.services
            services.anonymous_rate.give_back(services.settings, self._session.caller.address, LOGIN_REQUESTS)
            self.transport.set_write_buffer_limits(high=self._shared.settings.outbox_bytes)

    def shutdown(self) -> None:
        """The server stops: read nothing more, answer what was read, then close with 1001."""
        self._draining = True
        self._cut_after(self._shared.settings.drain_seconds)
        self._regulate()
        self._close_if_drained()

    # Reading.

    def _received(self) -> None:
        """After a read: write the immediate answers, and account for unfinished and pending input."""
        if self._out:
            self._flush()
        if self._watched or self._reader.unfinished:
            self._account()
        if self._session.pending and self._congested():
            self._regulate()

    def _handle(self, events: Sequence[Event]) -> None:
        """Carry out events in order, for one slice of time at most. Events that have to wait go to the backlog."""
        receive, caller = self._session.receive, self._session.caller
        slice_ends = monotonic() + CONNECTION_SLICE_SECONDS if len(events) > CLOCK_EVENTS else None
        if self.anonymous:
            receive, slice_ends = self._receive_anonymous, self._shared.slices.end
        left = iter(events)
        for event in left:
            if type(event) is not bytes:
                if self._control(event):
                    continue
                break  # it waits for answers, and all that follows it waits, too
            if self._stage is not OPEN:  # closed by a message before: the rest is not carried out
                continue
            receive(event)
            if caller.failures and self._failed_too_often() and not self._control(Rejected(Code.TOO_MANY_FAILURES)):
                break
            if slice_ends is not None and (self._delayed or monotonic() > slice_ends):
                break
        else:
            return
        self._backlog.events = list(left)
        self._regulate()

    def _close_after_error(self, error: Exception) -> None:
        """Report an unexpected error of the gateway, and close the connection."""
        self._shared.dispatcher.services.telemetry.unexpected("socket", error)
        self.close(Code.INTERNAL_ERROR, "internal error")

    def _receive_anonymous(self, message: bytes) -> None:
        """Carry out a request; after one that is refused because of `anonymous_rate` the next is delayed.

        To answer each of thousands with 429 would cost as much as to carry them out.
        """
        if not self.anonymous:  # an earlier message has logged in
            self._session.receive(message)
        elif not self._session.receive_anonymous(message):
            self._delayed = True
            self._loop.call_later(delay_seconds(), self._end_delay)

    def _end_delay(self) -> None:
        """Handle the delayed input."""
        self._delayed = False
        self._regulate()
        self._close_if_drained()

    def _failed_too_often(self) -> bool:
        return self._session.caller.failures >= self._shared.settings.failed_authentications

    def _control(self, event: Event) -> bool:
        """Carry out an event that is not a text message. False when it, and all after it, must wait for answers."""
        if type(event) is Ping:
            if self._stage is OPEN:
                self._out.append(frames.pong(event.payload))  # after the answers so far
        elif isinstance(event, Close | Failure | Rejected):
            if self._session.pending and self._stage is OPEN:
                # Earlier requests are answered first, unless that takes longer than a drain.
                self._ending = event
                self._cut_after(self._shared.settings.drain_seconds)
                return False
            self._end(event)
        else:
            self._pong_due = False
        return True

    def _end(self, event: Close | Failure | Rejected) -> None:
        """Close the connection: the peer asked for it, or sent something unacceptable."""
        if type(event) is Rejected:
            self.close(event.code)
        elif type(event) is Failure:
            self._fail(event.code, event.reason)
        elif type(event) is Close:
            if self._stage is OPEN:
                self._out.append(frames.closed(event.payload))
            self._hang_up()

    def _account(self) -> None:
        """Note when an incomplete message began, and count its bytes in the shared budget."""
        unfinished = self._backlog.note_begin()
        if unfinished:
            self._shared.unfinished.add(self)
        else:
            self._shared.unfinished.discard(self)
        if self.anonymous:
            self._account_anonymous()
            return
        try:
            self._watched = self._backlog.draw(self._shared.admission) or unfinished
        except Unavailable as error:
            self._fail(Code.INTERNAL_ERROR, str(error))

    def _account_anonymous(self) -> None:
        """Count all memory of an anonymous socket, and refuse a message that is longer than any login."""
        if self._reader.announced > ANONYMOUS_MESSAGE and self._ending is None:
            self._control(Failure(Code.TOO_LARGE, "message larger than the limit before login"))
        unread = self.transport.get_write_buffer_size() if self.stalled else 0
        self._shared.admission.hold(self, self._backlog.size + self._session.pending_bytes + unread)

    # Writing.

    def _send(self, data: bytes) -> None:
        """Queue one text message, to be written together with other answers; nothing after our close frame."""
        if self._stage is OPEN:
            size, out = len(data), self._out
            if size < SHORT:
                out += (TEXT_HEADS[size], data)
                if len(out) < MANY:
                    return
            else:
                out += (text_head(size), data)
                self._out_bytes += size
                if self._out_bytes < ENOUGH:
                    return
            # Now, so that the transport can pause the session before more answers are built that nobody reads.
            self._flush()

    @staticmethod
    def framing(topic: str, number: int, rpc: bool, what: str) -> Frame:
        """What makes the frame of a push."""
        form = push(topic, what, rpc, number)

        def frame(members: bytes, position: str | None) -> bytes:
            data = form % members
            size = len(data)
            return (TEXT_HEADS[size] if size < SHORT else text_head(size)) + data

        return frame

    def push(self, data: bytes) -> None:
        """Write frames of pushes, after the answers so far."""
        if self._stage is not OPEN:
            return
        if self._out:  # behind the queued answers, so that frames arrive in the order in which they were made
            self._out.append(data)
            self._out_bytes += len(data)
        else:
            self.transport.write(data)

    def suspend(self) -> None:
        """Nothing to do: the peer gets a 401 for its next request."""

    def _flush(self) -> None:
        """Write everything that is queued with one system call."""
        if self._out:
            out, self._out, self._out_bytes = self._out, [], 0
            self.transport.write(b"".join(out))

    # Ending.

    def close(self, code: Code, reason: str | None = None) -> None:
        """Write the answers so far and our close frame, and abort if the close handshake takes CLOSE_SECONDS."""
        if self._stage is not OPEN:
            return
        self._note(code)
        self._stage = CLOSING
        self._reader.only_close()
        self._out.append(frames.close(code, reason or TABLE[code].reason))
        self._flush()
        self._cut_after(CLOSE_SECONDS)

    def _fail(self, code: Code, reason: str) -> None:
        """Fail the connection: close it without the peer's close frame, and drop partial input (section 7.1.7)."""
        if self._stage is OPEN:
            self._note(code)
            self._out.append(frames.close(code, reason))
        self._reader.end()
        self._hang_up()
        self._account()

    def _hang_up(self) -> None:
        """Send nothing more, and wait for the peer to end the connection.

        Closing at once would reset the connection when data is still on its way, and the peer would not get the reason.
        """
        self._flush()
        self._stage = CLOSED
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():  # TLS has no half-closed connections here
            self.transport.close()
            return
        self.transport.write_eof()
        self._cut_after(CLOSE_SECONDS)
        self._regulate()

    def _note(self, code: Code) -> None:
        if code in _NOTEWORTHY:
            log.warning("socket closed", code=int(code), address=self._address)

    def _cut_after(self, seconds: float) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._close_timer = self._loop.call_later(seconds, self.transport.abort)

    def _close_if_drained(self) -> None:
        """Close with 1001 if the server stops and everything that was read is answered."""
        if not self._draining or self._session.pending or self._backlog.waiting or self._stage is not OPEN:
            return
        spread = random.randrange(int(self._shared.spread * 1_000) + 1)  # noqa: S311 - no secret
        if (feed := self._session.caller.feed) is not None:  # not the plain one: its clients know no such push
            feed.drain(self._shared.settings.other_gateways, spread)
        self.close(Code.GOING_AWAY, TABLE[Code.GOING_AWAY].reason.format(ms=spread))
        self._draining = False
        self._regulate()  # to read the peer's close frame

    # Looking after the peer.

    def keep_alive(self) -> None:
        """Send a ping; close if the last one was not answered. A pong cannot be read while reading is paused."""
        if not self._backlog.reading or self._stage is not OPEN:
            return
        if self._pong_due:
            self.close(Code.INTERNAL_ERROR, "no pong")
            return
        self._pong_due = True
        self._out.append(frames.ping())
        self._flush()

    def check_progress(self) -> None:
        """Close a stalled peer that has read nothing for `slow_seconds`."""
        if self._stage is not OPEN or self._stall is None:
            return
        unread, settings = self.transport.get_write_buffer_size(), self._shared.settings
        if self._stall.look(unread, settings.conflate_seconds) >= settings.slow_seconds:
            self.close(Code.SLOW_CONSUMER)
            self._cut_after(1)  # the peer will hardly read the close frame, which is behind all unread answers

    def count_unread(self) -> None:
        """Count the unread answers in the budget."""
        if self.anonymous:
            self._account_anonymous()
        else:
            unread = self.transport.get_write_buffer_size()
            self._shared.admission.stall(self, unread if unread > PORTION else 0)

    def check_message(self) -> None:
        """Close a peer that does not complete its message within `body_seconds`."""
        seconds = self._shared.settings.body_seconds
        if self._backlog.overdue(seconds) and self._stage is OPEN:
            self._fail(Code.PROTOCOL_ERROR, f"the message took over {seconds:g} s")

    # Back-pressure.

    def _settled(self) -> None:
        """Called by the session after pending requests were answered: write the answers, then read on or close."""
        self._flush()
        if self._failed_too_often() and self._ending is None:
            self._control(Rejected(Code.TOO_MANY_FAILURES))
        if self._ending is not None and not self._session.pending:
            ending, self._ending = self._ending, None
            self._end(ending)
        if not self._backlog.reading:
            self._regulate()
        self._close_if_drained()

    def _congested(self) -> bool:
        """Whether reading pauses: the peer does not read, has too much pending, or is about to be closed."""
        settings, session = self._shared.settings, self._session
        return (
            self._stall is not None
            or self._ending is not None
            or (self._delayed and not self._draining)
            or session.pending >= settings.pipeline
            or session.pending_bytes >= settings.message_bytes
        )

    def _regulate(self) -> None:
        """Read from the transport only while there is room, and everything that was read is handled.

        While reading is paused, the kernel's buffers fill up and TCP makes the peer wait. So the memory for one
        connection is bounded without refusing a request.
        """
        if self._stage is CLOSED:
            # Read and discard: closing with unread input would reset the connection, and the peer could lose our last
            # bytes.
            self._backlog.drop()
            room = reading = True
        elif self._stage is CLOSING:
            # Input is still parsed, to find the peer's close frame.
            room, reading = True, not self._backlog.waiting
        else:
            room = not self._congested()
            reading = room and not self._backlog.waiting and not self._draining
        self._backlog.read(reading)
        if room and self._backlog.waiting:
            if self.anonymous:
                self._shared.slices.schedule(self._backlog, self._go_on)
            else:
                self._backlog.schedule(self._go_on)

    def _look_ahead(self) -> None:
        """When the peer does not read, find a close frame or an error after its requests.

        The peer has ended the conversation then, so it gets only `drain_seconds` to read its answers. Anonymous
        sockets are disconnected early enough without this.
        """
        if self._stall is None or self._stage is not OPEN or self.anonymous:
            return
        events = self._backlog.look_ahead()
        if self._close_timer is None and any(isinstance(event, Close | Failure | Rejected) for event in events):
            self._cut_after(self._shared.settings.drain_seconds)

    def _go_on(self) -> None:
        """Handle the next part of the waiting input, in a later iteration of the event loop."""
        try:
            self._handle(self._backlog.take(ANONYMOUS_PIECE if self.anonymous else PIECE))
        except Exception as error:
            self._close_after_error(error)
        self._received()
        self._regulate()
        self._close_if_drained()
