"""A port with TLS: the admission counts a connection from the moment it is accepted.

asyncio tells a protocol of its connection only after the TLS handshake. Peers that never finish one would not be
counted, and could use up all open files of the process. So the sockets are accepted here.

The handshakes of one address take turns, so that their memory is bounded and others are served between them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from hivewire.telemetry import log
from hivewire.transport.connection import HttpProtocol

SILENT_SECONDS = 60.0
"""Seconds for the first byte of a handshake. Until then a connection has no memory for TLS."""

HANDSHAKE_SECONDS = 10.0
"""Seconds for a handshake when its turn has come."""

MOMENT_SECONDS = 2.0
"""Seconds after which an unfinished handshake is charged, and a connection that has not logged in after one. When
thousands of clients reconnect at once, each takes less time, and they must not push one another out."""

ACCEPTED_AT_ONCE = 64
"""Connections accepted in one turn of the event loop."""

PAUSE_SECONDS = 0.1
"""Pause after an error of the system, such as too many open files."""


class TlsListener:
    """Accepts connections of a bound socket. It has the methods of asyncio's `Server` that uvicorn calls.

    `create` makes the protocol of a connection. `context` may be replaced; new connections use the new one.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, backlog: int, create: Callable[[], HttpProtocol]
    ) -> None:
        self._sock = sock
        self.context = context
        self._create = create
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        sock.listen(backlog)
        self._listen()

    def close(self) -> None:
        """Accept no more, and give up the handshakes that are not finished."""
        self._loop.remove_reader(self._sock)
        if self._pause is not None:
            self._pause.cancel()
        for handshake in self._handshakes:
            handshake.cancel()

    async def wait_closed(self) -> None:
        """Return when all handshakes have ended."""
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connection can be accepted", reason=str(error))
                self._loop.remove_reader(self._sock)
                self._pause = self._loop.call_later(PAUSE_SECONDS, self._listen)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            protocol = self._create()
            handshake = self._loop.create_task(self._handshake(protocol, sock))
            self._handshakes.add(handshake)
            handshake.add_done_callback(partial(self._ended, protocol, sock))
            protocol.accept(str(peer[0]), handshake.cancel)

    async def _handshake(self, protocol: HttpProtocol, sock: socket.socket) -> None:
        # A failed handshake is the peer's problem: the socket is closed without a line in the log.
        with suppress(OSError):
            async with asyncio.timeout(SILENT_SECONDS):
                await self._readable(sock)
            async with protocol.admission.handshakes_of(protocol.address):
                await self._shake_hands(protocol, sock)

    def _ended(self, protocol: HttpProtocol, sock: socket.socket, handshake: asyncio.Task[None]) -> None:
        """Of every handshake, also of one that was cancelled before it had begun."""
        self._handshakes.discard(handshake)
        protocol.end_handshake()
        if protocol.transport is None:
            sock.close()

    async def _readable(self, sock: socket.socket) -> None:
        readable = asyncio.Event()
        self._loop.add_reader(sock, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(sock)

    async def _shake_hands(self, protocol: HttpProtocol, sock: socket.socket) -> None:
        protocol.begin_handshake(partial(_cut, sock))
        charge = self._loop.call_later(MOMENT_SECONDS, protocol.charge_handshake)
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, sock, ssl=self.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        finally:
            charge.cancel()
        if (number := protocol.admission.number_of(protocol)) is not None:
            self._loop.call_later(MOMENT_SECONDS, protocol.admission.charge_tls, number)


def _cut(sock: socket.socket) -> None:
    """End a connection whose socket belongs to the event loop, which closes it when it reads the end."""
    with suppress(OSError):  # the peer was faster
        sock.shutdown(socket.SHUT_RDWR)
