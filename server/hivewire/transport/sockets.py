"""All WebSockets of the gateway: the handshake that opens one, and the timer that looks after them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import takewhile

from uvicorn.server import ServerState
from websockets.http11 import Request

from hivewire.caller import Caller
from hivewire.dispatch import Dispatcher
from hivewire.session import Session
from hivewire.telemetry import Gauges
from hivewire.transport.admission import FREE, Admission
from hivewire.transport.back_pressure import PORTION
from hivewire.transport.connection import peer_address
from hivewire.transport.handshake import accept, header
from hivewire.transport.refusal import BEARER, UNKNOWN_PATH, Refusal, headers_of
from hivewire.transport.websocket import Shared, WebSocket
from hivewire.unexpected import safely
from hivewire_protocol.close import Code
from hivewire_protocol.errors import NotFound, Unavailable, WireError

Identify = Callable[..., Caller]
"""Finds the caller of a handshake request: see `hivewire.http.peer.caller_of`."""

PATHS = {"/api/websocket": "api", "/dh/websocket": "dh"}
"""The paths of WebSockets, and the DeviceHive context of each."""

BEATS = 30
"""Ticks within `ping_seconds`, more if they would be over a second apart. Each tick pings a share of the sockets, so
that every socket is pinged once in `ping_seconds` and the pings are spread over that time."""


class Sockets:
    """All open sockets of one gateway."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        admission: Admission,
        identify: Identify,
        session: Callable[..., Session] = Session,
    ) -> None:
        self.shared = Shared(dispatcher, admission, admission.settings, session)
        self.open_sockets = self.shared.open_sockets
        connections = dispatcher.services.connections
        connections.tables.append(self.open_sockets)
        self.draining = False
        self._unread: set[WebSocket] = set()  # whose unread answers were counted at the last tick
        self._identify = identify
        self._numbers = connections.numbers
        self._beat = 0
        self._task: asyncio.Task[None] | None = None

    def open(self, transport: asyncio.Transport, request: Request, server_state: ServerState) -> WebSocket:
        """Answer a handshake request with 101 and return its connection. Raises Refusal."""
        context = PATHS.get(request.path.partition("?")[0])
        try:
            if context is None:
                raise NotFound(hint=UNKNOWN_PATH)
            if self.draining:
                raise Unavailable("the gateway is stopping")
            caller = self._identify(
                peer_address(transport),
                lambda name: header(request, name),
                context=context,
                secure=transport.get_extra_info("sslcontext") is not None,
                http=False,
            )
        except WireError as error:
            raise Refusal(error.code, str(error), headers_of(error, error.code, BEARER), error.members) from None
        transport.write(accept(request).serialize())
        socket = WebSocket(self.shared, transport, caller, server_state, next(self._numbers))
        transport.set_write_buffer_limits(high=FREE if socket.anonymous else self.shared.settings.outbox_bytes)
        self.open_sockets[socket.number] = socket
        server_state.connections.add(socket)  # type: ignore[arg-type]
        return socket

    def start(self) -> None:
        """Start the timer."""
        self._task = asyncio.create_task(self._keep_ticking())

    async def close(self) -> None:
        """Stop the timer. The server has closed the sockets by now."""
        if self._task is not None:
            self._task.cancel()

    def drain(self, spread: float) -> None:
        """Open no more sockets. Each client is told to reconnect at a random time within `spread` seconds."""
        self.draining, self.shared.spread = True, spread

    def gauges(self) -> Gauges:
        """Metrics of all sockets."""
        return {
            "sockets": ("Open WebSockets.", lambda: len(self.open_sockets)),
            "outbox_bytes": ("Bytes that WebSocket peers have not read yet.", self.outbox_bytes),
        }

    def outbox_bytes(self) -> int:
        """Bytes that peers have not read yet, of all sockets."""
        return sum(socket.unread for socket in self.open_sockets.values())

    async def _keep_ticking(self) -> None:
        beats = max(BEATS, math.ceil(self.shared.settings.ping_seconds))
        while True:
            await asyncio.sleep(self.shared.settings.ping_seconds / beats)
            safely("sockets were not looked after", self.tick, beats)

    def tick(self, beats: int) -> None:
        """Ping a share of the sockets, and check the deadlines of all; called `beats` times within `ping_seconds`.

        One timer serves all sockets: a timer for each would take more memory than the rest of an idle one.
        """
        self._beat = (self._beat + 1) % beats
        for socket in [socket for socket in self.open_sockets.values() if socket.number % beats == self._beat]:
            socket.keep_alive()
        for socket in [socket for socket in self.open_sockets.values() if socket.stalled]:
            socket.check_progress()
        for socket in list(self.shared.unfinished):
            socket.check_message()
        sockets = self.open_sockets.values()
        unread = {socket for socket in sockets if socket.transport.get_write_buffer_size() > PORTION}
        for socket in unread | {socket for socket in self._unread if socket.number in self.open_sockets}:
            socket.count_unread()
        self._unread = unread
        late = asyncio.get_running_loop().time() - self.shared.settings.login_seconds
        for socket in list(takewhile(lambda socket: self.shared.anonymous[socket] <= late, self.shared.anonymous)):
            socket.close(Code.NOT_AUTHENTICATED)
            del self.shared.anonymous[socket]
