"""One WebSocket connection: a thin shell around the Sans-I/O core of the `websockets` library.

`Gate.open` makes one of a handshake request. It owes what the core leaves open: UTF-8 across fragments (RFC 6455,
section 8.1), pings and missed pongs, the deadline of the close handshake, pausing when the peer does not read, and
uvicorn's shutdown.
"""

from __future__ import annotations

import asyncio
import codecs
import random
from collections.abc import Callable
from time import monotonic

from uvicorn.server import ServerState
from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, Frame
from websockets.frames import apply_mask as apply_mask  # type: ignore[attr-defined]  # the C one where it was built
from websockets.http11 import Request, Response
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

from hivewire.caller import Caller
from hivewire.dispatch import Dispatcher
from hivewire.session import TURN_SECONDS, Session
from hivewire.telemetry import log
from hivewire.transport.admission import Admission
from hivewire.transport.connection import SLICE, Refusal, peer_address
from hivewire_protocol.close import TABLE, Code
from hivewire_protocol.codec import push
from hivewire_protocol.errors import NotFound, Unavailable, WireError

Identify = Callable[..., Caller]
"""Tells who sends a handshake request: see `hivewire.http.peer.caller_of`."""

PATHS = {"/api/websocket": "api", "/dh/websocket": "dh"}
"""Where sockets are opened, and the context that DeviceHive clients know it by."""

CLOSE_SECONDS = 5.0
"""After our close frame the peer has so long to finish the handshake; then the connection is cut."""

ENOUGH = 64 << 10
"""Bytes of answers that are gathered for one write."""

WHOLE_TEXT = 0x81
"""First byte of a text frame that is a whole message: FIN, no extension bits, opcode 1."""

CONTROL = 125
"""Most bytes that a control frame carries (RFC 6455, section 5.5)."""

FIN = MASKED = 0x80
"""The bit that the last frame of a message has in its first byte, and every frame of a caller in its second."""

_NOTEWORTHY = (Code.INTERNAL_ERROR, Code.SLOW_CONSUMER, Code.TOO_MANY_FAILURES)

_validate = codecs.getincrementaldecoder("utf-8")


class Gate:
    """All open sockets of one gateway, and what they share."""

    def __init__(self, dispatcher: Dispatcher, admission: Admission, identify: Identify) -> None:
        self.dispatcher = dispatcher
        self.admission = admission
        self._identify = identify
        self.settings = admission.settings
        self.sockets: set[WebSocket] = set()
        self.unfinished: set[WebSocket] = set()
        self.draining = False
        self._beat = 0

    def open(self, transport: asyncio.Transport, request: Request, server_state: ServerState) -> WebSocket:
        """The socket that a handshake request asks for, with its 101 written. Raises Refusal."""
        context = PATHS.get(request.path.partition("?")[0])
        try:
            if context is None:
                raise NotFound
            if self.draining:
                raise Unavailable("the gateway is stopping")
            caller = self._identify(
                peer_address(transport),
                lambda name: _header(request, name),
                context=context,
                secure=transport.get_extra_info("sslcontext") is not None,
                http=False,
            )
        except WireError as error:
            challenge = {"WWW-Authenticate": "Bearer"} if error.code == 401 else None
            raise Refusal(error.code, str(error), challenge) from None
        transport.write(_accept(request).serialize())
        transport.set_write_buffer_limits(high=self.settings.outbox_bytes)
        socket = WebSocket(self, transport, caller, server_state)
        self.sockets.add(socket)
        server_state.connections.add(socket)  # type: ignore[arg-type]
        return socket

    def outbox_bytes(self) -> int:
        """Bytes that peers have not read yet, over all sockets."""
        return sum(socket.transport.get_write_buffer_size() for socket in self.sockets)

    def tick(self, beats: int) -> None:
        """Look after a share of the sockets: called `beats` times within `ping_seconds`.

        One timer for all: a timer for each socket would cost more memory than the rest of an idle one's state.
        """
        self._beat = (self._beat + 1) % beats
        for socket in [socket for socket in self.sockets if socket.number % beats == self._beat]:
            socket.keep_alive()
        for socket in [socket for socket in self.sockets if socket.stalled_since is not None]:
            socket.check_progress()
        for socket in list(self.unfinished):
            socket.check_message()


class WebSocket(asyncio.Protocol):
    """A connection from after its handshake to its end."""

    __slots__ = (
        "_address",
        "_begun",
        "_close_timer",
        "_closing",
        "_conn",
        "_core_owes",
        "_draining",
        "_drawn",
        "_fragments",
        "_gate",
        "_loop",
        "_out",
        "_out_bytes",
        "_pong_due",
        "_reading",
        "_receiving",
        "_rest",
        "_server_state",
        "_session",
        "_slice_due",
        "_tail",
        "_unfinished",
        "_unsent",
        "_utf8",
        "_verdict",
        "idle",
        "number",
        "stalled_since",
        "transport",
    )
    count = 0

    def __init__(self, gate: Gate, transport: asyncio.Transport, caller: Caller, server_state: ServerState) -> None:
        self._gate = gate
        self._server_state = server_state
        self._loop = asyncio.get_running_loop()
        self.transport = transport
        self._address = peer_address(transport)
        caller.listener = self
        self._session = Session(gate.dispatcher, caller, self._send, self._settled)
        # The limit is for a message, whole or in fragments. The core holds it against control frames between fragments
        # as well, so it has room for one, and what is too large is noticed here.
        self._conn = Protocol(SERVER, max_size=gate.settings.message_bytes + CONTROL)
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._rest = b""
        self._tail = b""
        self._core_owes = 0
        self._slice_due = False
        self._receiving = False
        self._fragments: bytearray | None = None
        self._utf8: codecs.IncrementalDecoder | None = None
        self._unfinished = False
        self._begun: float | None = None
        self._drawn = 0
        self._pong_due = False
        self._reading = True
        self._draining = False
        self._closing = False
        self._verdict: Code | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self.stalled_since: float | None = None
        self.idle = False
        WebSocket.count += 1
        self.number = WebSocket.count

    # What asyncio and uvicorn call.

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, however it came."""
        self._server_state.connections.discard(self)
        self._gate.sockets.discard(self)
        self._gate.unfinished.discard(self)
        self._gate.admission.draw(self._drawn, 0)
        self._gate.admission.leave(self._address)
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._session.close()

    def data_received(self, data: bytes) -> None:
        """Look at what came, a slice at a time: between slices the other connections have their turn."""
        if len(data) <= SLICE and not self._rest:
            self._receive(data)
        else:
            self._rest += data
            self._regulate()

    def _next_slice(self) -> None:
        self._slice_due = False
        if not self.transport.is_closing():
            data, self._rest = self._rest[:SLICE], self._rest[SLICE:]
            self._receive(data)
            self._regulate()
            if self._draining:
                self._say_goodbye()

    def eof_received(self) -> None:
        """The peer will send nothing more; asyncio closes the connection."""
        self._conn.receive_eof()
        self._flush()
        self._session.close()  # nothing can be written any more, and it may take long until the connection is lost

    def pause_writing(self) -> None:
        """The peer does not read: stop serving it until it does."""
        self.stalled_since = self._loop.time()
        self._unsent = self.transport.get_write_buffer_size()
        self._session.pause()
        self._regulate()

    def resume_writing(self) -> None:
        """It reads again."""
        idle, self.idle = self.idle or self._idle_now(), False
        self.stalled_since = None
        self._session.resume(idle)
        self._flush()
        self._regulate()
        if self._draining:
            self._say_goodbye()

    def shutdown(self) -> None:
        """uvicorn stops: read nothing more, answer what was read, then say goodbye."""
        self._draining = True
        self._cut_after(self._gate.settings.drain_seconds)
        self._regulate()
        self._say_goodbye()

    # Keeping an eye on the peer.

    def keep_alive(self) -> None:
        """Ping it, or close when the last ping was never answered. Not while reading is paused: no pong could come."""
        if not self._reading or self._conn.state is not OPEN:
            return
        if self._pong_due:
            self.close(Code.INTERNAL_ERROR, "no pong")
            return
        self._pong_due = True
        self._conn.send_ping(b"")
        self._flush()

    def check_progress(self) -> None:
        """Close a peer that has read nothing for too long."""
        if self._conn.state is not OPEN:
            return
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent:
            self.stalled_since = self._loop.time()
        self._unsent = unsent
        self.idle = self.idle or self._idle_now()
        if (
            self.stalled_since is not None
            and self._loop.time() - self.stalled_since >= self._gate.settings.slow_seconds
        ):
            self.close(Code.SLOW_CONSUMER)
            self._cut_after(1)  # the close frame stands behind everything that was not read either

    def _idle_now(self) -> bool:
        """Whether it has read nothing for so long that changes may be conflated for it."""
        since = self.stalled_since
        return since is not None and self._loop.time() - since >= self._gate.settings.conflate_seconds

    def check_message(self) -> None:
        """Close a peer that does not finish the message that it began."""
        now, seconds = self._loop.time(), self._gate.settings.body_seconds
        if not self._reading or self._begun is None:
            self._begun = now  # it is not the peer's fault when we do not read
        elif now - self._begun >= seconds and self._conn.state is OPEN:
            self._give_up(Code.PROTOCOL_ERROR, f"the message took over {seconds:g} s")

    def close(self, code: Code, reason: str | None = None) -> None:
        """Send what is answered, then our close frame; cut the connection when the handshake takes too long."""
        if self._conn.state is OPEN:
            self._conn.send_close(code, reason or TABLE[code].reason)
            self._note(code)
        self._flush()
        self._cut_after(CLOSE_SECONDS)

    def _give_up(self, code: Code, reason: str) -> None:
        """Close without waiting for the rest of a message, and let go of what came of it."""
        self._note(code)
        self._conn.fail(code, reason)
        self._tail, self._core_owes, self._fragments = b"", 0, None
        self._account()
        self._flush()

    def _note(self, code: Code) -> None:
        if code in _NOTEWORTHY:
            log.warning("socket closed", code=int(code), address=self._address)

    def _cut_after(self, seconds: float) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._close_timer = self._loop.call_later(seconds, self.transport.abort)

    def _say_goodbye(self) -> None:
        if not self._session.pending and not self._rest and self._conn.state is OPEN:
            spread = random.randrange(int(self._gate.settings.drain_spread * 1_000) + 1)  # noqa: S311 - no secret
            self.close(Code.GOING_AWAY, TABLE[Code.GOING_AWAY].reason.format(ms=spread))
            self._draining = False
            self._regulate()  # to read the peer's close frame

    # Reading.

    def _receive(self, data: bytes) -> None:
        self._receiving = True
        try:
            self._split(data, self._gate.settings.message_bytes)
        except Exception as error:
            self._gate.dispatcher.services.telemetry.unexpected("socket", error)
            self.close(Code.INTERNAL_ERROR, "internal error")
        finally:
            self._receiving = False
        self._flush()
        if self._unfinished or self._tail or self._core_owes or self._fragments is not None:
            self._account()
        if self._session.pending and self._congested():
            self._regulate()

    def _account(self) -> None:
        """Keep account of a message that is not whole: since when, and what it holds here and in the core."""
        held = len(self._tail) + len(self._fragments or b"") + len(self._conn.reader.buffer)
        self._unfinished = bool(held or self._core_owes or self._fragments is not None)
        if self._unfinished:
            self._begun = self._begun or self._loop.time()
            self._gate.unfinished.add(self)
        else:
            self._begun = None
            self._gate.unfinished.discard(self)
        try:
            self._drawn = self._gate.admission.draw(self._drawn, held)
        except Unavailable as error:
            self._give_up(Code.INTERNAL_ERROR, str(error))

    def _split(self, data: bytes, limit: int) -> None:
        """Take whole, unfragmented text frames straight away; give every other frame to the core.

        Nearly all frames are of the first kind, and the core spends three times as long on one. It sees nothing of
        them, so it gets the others whole: `_core_owes` counts the bytes of a frame that it still waits for.
        """
        if self._tail:
            data, self._tail = self._tail + data, b""
        size = len(data)
        position = 0
        if self._core_owes:
            position = min(self._core_owes, size)
            self._core_owes -= position
            self._feed(data[:position])
        turn_ends = monotonic() + TURN_SECONDS
        while position < size:
            if self._verdict is not None and self._conn.state is OPEN:
                self._rest = data[position:] + self._rest  # for the time when the close frame is sent
                return
            start, end = _bounds(data, position)
            if not end:
                self._tail = data[position:]
                return
            if monotonic() > turn_ends:
                self._rest = data[position:] + self._rest
                self._regulate()
                return
            if (
                data[position] == WHOLE_TEXT
                and data[position + 1] & MASKED
                and end <= size
                and end - start <= limit
                and self._fragments is None
                and self._conn.state is OPEN
            ):
                self._message(apply_mask(data[start:end], data[start - 4 : start]))
            elif self._session.pending and self._ends_it(data, position, end - start) and self._conn.state is OPEN:
                self._rest = data[position:] + self._rest
                self._stop_listening()
                return
            elif self._too_large(data[position] & 0x0F, end - start) and self._conn.state is OPEN:
                code = Code.PROTOCOL_ERROR if data[position] & 0x08 else Code.TOO_LARGE
                self._give_up(code, TABLE[code].reason)
                return
            else:
                if data[position] & 0x0F == CLOSE:
                    self._conn.current_size = None  # it may stand between fragments (RFC 6455, section 5.4)
                self._feed(data[position:end])
                self._core_owes = max(0, end - size)
            position = end

    def _ends_it(self, data: bytes, position: int, length: int) -> bool:
        """Whether a frame makes the core close at once, so that it must wait for the answers to the requests before it.

        The peer's close frame does, and so does every mistake that can be seen in a frame's head: reserved bits and
        opcodes, no mask, a control frame in fragments, a message within another, a continuation of none, its size.
        """
        opcode = data[position] & 0x7F  # with the reserved bits
        if opcode not in (TEXT, CONT, PING, PONG) or not data[position + 1] & MASKED:
            return True
        if opcode in (PING, PONG) and not data[position] & FIN:
            return True
        if opcode in (TEXT, CONT) and (opcode == CONT) is (self._fragments is None):
            return True
        return self._too_large(opcode, length)

    def _too_large(self, opcode: int, length: int) -> bool:
        """Whether a control frame is, or a message would be with this frame: whole or in fragments."""
        if opcode in (CLOSE, PING, PONG):
            return length > CONTROL
        held = len(self._fragments) if self._fragments is not None else 0
        return opcode in (TEXT, BINARY, CONT) and held + length > self._gate.settings.message_bytes

    def _stop_listening(self) -> None:
        """Read nothing more; what was asked is answered, for a while."""
        if not self._closing:
            self._closing = True
            self._cut_after(self._gate.settings.drain_seconds)

    def _feed(self, data: bytes) -> None:
        """Let the core look at it, and do what comes of that."""
        self._conn.receive_data(data)
        if self._conn.writes and self._conn.state is OPEN:
            self._out += self._conn.data_to_send()  # a pong keeps its place among the answers
        for event in self._conn.events_received():
            if isinstance(event, Frame):
                self._take(event)

    def _reject(self, code: Code) -> None:
        """Close because of what the peer sent, when the requests before it are answered."""
        if self._session.pending:
            self._verdict = code
            self._stop_listening()
        else:
            self.close(code)

    def _take(self, frame: Frame) -> None:
        """One frame; what is not text is answered by the core already or closes the socket."""
        opcode = frame.opcode
        if self._conn.close_sent is not None:
            return
        if self._fragments is None and opcode not in (TEXT, CONT):
            self._begun = None  # it stood alone; what is unfinished now began behind it
        if opcode is TEXT and frame.fin:
            self._message(bytes(frame.data))
        elif opcode is TEXT or opcode is CONT:
            self._fragment(frame)
        elif opcode is PONG:
            self._pong_due = False
        elif opcode is BINARY:
            self._reject(Code.UNSUPPORTED_DATA)

    def _message(self, data: bytes) -> None:
        self._begun = None  # what is unfinished after this began behind it
        if not data.isascii():
            try:
                str(data, "utf-8")
            except UnicodeDecodeError:
                self._reject(Code.INVALID_TEXT)
                return
        self._session.receive(data)
        if self._session.caller.failures >= self._gate.settings.failed_authentications:
            self._reject(Code.TOO_MANY_FAILURES)

    def _fragment(self, frame: Frame) -> None:
        """Join fragments in one buffer (empty ones leave no trace) and fail at the first byte that is not UTF-8."""
        if self._fragments is None or self._utf8 is None:
            self._fragments = bytearray()
            self._utf8 = _validate()
        try:
            self._utf8.decode(bytes(frame.data), frame.fin)
        except UnicodeDecodeError:
            self._reject(Code.INVALID_TEXT)
            return
        self._fragments += frame.data
        if frame.fin:
            data, self._fragments, self._utf8 = bytes(self._fragments), None, None
            self._message(data)

    # Writing.

    def _send(self, data: bytes) -> None:
        """One text message, unless we said goodbye already."""
        if self._conn.state is not OPEN:
            return
        if not self._out and not self._receiving:
            self._loop.call_soon(self._flush)
        self._out_bytes += len(data)
        self._out.append(_head(len(data)))
        self._out.append(data)
        if self._out_bytes >= ENOUGH:
            self._flush()  # now, so that the transport can say stop before the next answer is made

    @staticmethod
    def frame(topic: str, number: int, rpc: bool, what: str, members: bytes, position: str | None) -> bytes:
        """The frame of a push."""
        data = push(f"{topic}/{what}", number, members, rpc)
        return _head(len(data)) + data

    def push(self, data: bytes) -> None:
        """Frames for a subscriber, behind what is on its way to it already."""
        if self._conn.close_sent is not None:  # as good as asking for the state, and much faster
            return
        if self._out:
            self._out.append(data)
            self._out_bytes += len(data)
        else:
            self.transport.write(data)

    def suspend(self) -> None:
        """The peer learns of it by the 401 to its next request."""

    def _flush(self) -> None:
        """Write everything that gathered since the last time in one go; our pings and close frames come last."""
        if self._out:
            out, self._out, self._out_bytes = self._out, [], 0
            self.transport.write(b"".join(out))
        if self._conn.writes:
            for data in self._conn.data_to_send():
                if data:
                    self.transport.write(data)
                else:
                    self._hang_up()

    def _hang_up(self) -> None:
        """Both close frames are exchanged, or the core gave up: send nothing more, and wait for the peer's end.

        Closing at once would reset the connection when data is still on its way here, and the reset would overtake the
        close frame with its reason.
        """
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():  # TLS
            self.transport.close()
            return
        self.transport.write_eof()
        self._cut_after(CLOSE_SECONDS)
        self._regulate()

    # Pausing.

    def _settled(self) -> None:
        """The session has answered something that was waited for."""
        if self._session.caller.failures >= self._gate.settings.failed_authentications:
            self._reject(Code.TOO_MANY_FAILURES)
        if self._verdict is not None and not self._session.pending:
            self.close(self._verdict)
        if not self._reading:
            self._regulate()
        if self._draining:
            self._say_goodbye()

    def _congested(self) -> bool:
        settings, session = self._gate.settings, self._session
        return (
            self.stalled_since is not None
            or (self._closing and session.pending > 0)
            or session.pending >= settings.pipeline
            or session.pending_bytes >= settings.message_bytes
        )

    def _regulate(self) -> None:
        """Read from the transport only while there is room for more, and nothing read already is left over."""
        if self._conn.close_rcvd is not None or self._conn.parser_exc is not None:
            self._rest = b""  # it is over: what still comes is read to be thrown away
            room = reading = True
        elif self._conn.state is not OPEN:
            room, reading = True, not self._rest  # only the peer's close frame counts, wherever it stands
        else:
            room = not self._congested()
            reading = room and not self._rest and not self._draining
        if reading != self._reading and not self.transport.is_closing():
            self._reading = reading
            if reading:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()
        if room and self._rest and not self._slice_due:
            self._slice_due = True
            self._loop.call_soon(self._next_slice)


def _head(size: int) -> bytes:
    """What stands before a server's text: a frame that is whole and unmasked (RFC 6455, section 5.2)."""
    if size < 126:
        return bytes((0x81, size))
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2)
    return b"\x81\x7f" + size.to_bytes(8)


def _accept(request: Request) -> Response:
    """The 101 to a handshake request. Raises Refusal, with the headers that say what would be right."""
    versions = request.headers.get_all("Sec-WebSocket-Version")
    if versions and versions != ["13"]:
        spoken = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        raise Refusal(426, "only version 13 of the WebSocket protocol is spoken here", spoken)
    response = ServerProtocol().accept(request)
    if response.status_code != 101:
        kept = {name: value for name, value in response.headers.raw_items() if name in ("Allow", "Upgrade")}
        raise Refusal(response.status_code, bytes(response.body).decode().partition("\n")[0], kept)
    return response


def _bounds(data: bytes, position: int) -> tuple[int, int]:
    """Where the payload of the frame at this position starts and ends (RFC 6455, section 5.2).

    The end may lie behind the data; both are 0 when not even the frame's head is there.
    """
    start = position + 2
    if start > len(data):
        return 0, 0
    length = data[position + 1] & 0x7F
    if length >= 126:
        extra = 2 if length == 126 else 8
        if start + extra > len(data):
            return 0, 0
        length = int.from_bytes(data[start : start + extra])
        start += extra
    if data[position + 1] & MASKED:
        start += 4
    return start, start + length


def _header(request: Request, name: str) -> str | None:
    values = request.headers.get_all(name)
    return ", ".join(values) if values else None
