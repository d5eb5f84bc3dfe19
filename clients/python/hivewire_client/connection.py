"""One WebSocket to a gateway: requests, their answers, and what the gateway pushes. It does not reconnect."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import ssl
from collections.abc import Callable
from itertools import count
from typing import Any, cast

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode
from websockets.protocol import Event, State

from hivewire_client.address import endpoint
from hivewire_client.errors import Closed, HivewireError, TooLarge, Unreachable, refusal

log = logging.getLogger("hivewire_client")

SECONDS = 30.0
"""Longest wait for a connection or an answer."""

PING_SECONDS = 20.0
"""Interval of pings on an idle connection, and the longest wait for their answers."""

LARGE = 1 << 20
"""More bytes than this are refused by a gateway with default settings (`message_bytes`)."""

LARGEST_MESSAGE = 64 << 20
"""Largest message that is accepted from a gateway, in bytes; gateways send at most a few MiB."""

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer that is not TLS, mostly plain HTTP."""

_OTHER_SCHEME = {"http": "https", "https": "http", "ws": "wss", "wss": "ws", "": "https"}
"""For hints where one side uses TLS and the other does not. No scheme means http."""

_MESSAGE_TOO_BIG = 1009


class Frame(msgspec.Struct):
    """A message of the gateway: what all of them have in common, and its bytes in `data`.

    Without a `position`, a push belongs to a group that continues (following, "Positions and resuming").
    """

    action: str | None = None
    requestId: int | None = None
    subscriptionId: int | None = None
    status: str | None = None
    position: str | None = None
    reset: bool = False
    last: bool = False
    live: bool = False
    conflated: bool = False
    data: bytes = b""


_frames = msgspec.json.Decoder(Frame)


class Cut(Closed):
    """The connection ended while a request waited for its answer, so the gateway may have carried it out."""


class _Socket(ClientConnection):
    """A WebSocket that gives each text to `take` as it comes, without a queue and a task in between."""

    take: Callable[[bytes], None]
    _parts: bytes = b""

    def process_event(self, event: Event) -> None:
        """Take a text frame; others are left to the base class."""
        if not isinstance(event, WebSocketFrame) or event.opcode not in (Opcode.TEXT, Opcode.CONT):
            super().process_event(event)
        elif event.fin:
            data, self._parts = self._parts + event.data, b""
            self.take(data)
        else:
            self._parts += event.data


class Connection:
    """An open WebSocket. `take` gets each push, in order, in the event loop; it must not raise.

    `url` is the address as it was given, which errors show.
    """

    def __init__(self, url: str, socket: _Socket, take: Callable[[Connection, Frame], None]) -> None:
        self.url = url
        self._socket = socket
        self._take = take
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._begins: dict[int, Callable[[dict[str, Any]], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._is_sending = self._is_paused = False
        self._longest = 0
        self._nonsense = ""
        self._end: asyncio.Future[Closed] = self._loop.create_future()
        socket.take = self._receive
        self._ending = asyncio.create_task(self._wait_for_end())

    @classmethod
    async def open(cls, url: str, take: Callable[[Connection, Frame], None], seconds: float = SECONDS) -> Connection:
        """A connection to the gateway at an address. Raises Unreachable, BadAddress."""
        place = endpoint(url)
        try:
            opened = await _Direct(
                place,
                create_connection=_Socket,
                compression=None,
                proxy=None,  # without redirects or proxies, which would get the token
                open_timeout=seconds,
                close_timeout=2,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                max_size=LARGEST_MESSAGE,
            )
        except (OSError, WebSocketException, ValueError) as error:
            raise _not_opened(url, place, error) from None
        return cls(url, cast("_Socket", opened), take)

    async def request(
        self,
        action: str,
        members: dict[str, Any],
        seconds: float = SECONDS,
        begin: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """The success reply to a request; members with the value None are left out.

        `begin` gets the reply before anything is taken that comes after it.
        Raises Refused when it is refused, TooLarge, Cut when the connection ends before the answer, Closed when it had
        ended before the request, and TimeoutError.
        """
        number = next(self._numbers)
        frame: dict[str, Any] = {"action": action, "requestId": number}
        frame |= {name: value for name, value in members.items() if value is not None}
        data = msgspec.json.encode(frame)
        self._longest = max(self._longest, len(data))
        if self._socket.protocol.state is not State.OPEN:
            raise await self.ended()
        answer = self._answers[number] = self._loop.create_future()
        if self._is_paused:
            self.resume()
        if begin is not None:
            self._begins[number] = begin
        late = self._loop.call_later(seconds, _give_up, answer)
        try:
            self._send(data)
            if self._socket.transport.get_write_buffer_size() > LARGE:
                await self._socket.drain()
            answered = await answer
        except (Cut, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._told(await self.ended(), data) from None
        finally:
            late.cancel()
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # it was not waited for if the request could not be sent
            self._answers.pop(number, None)
            self._begins.pop(number, None)
        reply: dict[str, Any] = msgspec.json.decode(answered)
        if reply.get("status") != "success":
            raise refusal(reply)
        return reply

    def _send(self, data: bytes) -> None:
        """Send a text, together with the others of this turn of the event loop."""
        self._socket.protocol.send_text(data)
        if not self._is_sending:
            self._is_sending = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_sending = False
        if self._socket.protocol.state is State.OPEN:
            self._socket.transport.write(b"".join(self._socket.protocol.data_to_send()))
        else:  # it is closing, which is more than data
            self._socket.send_data()

    async def ended(self) -> Closed:
        """Wait for the end of the connection; returns how it ended."""
        return await asyncio.shield(self._end)

    async def close(self) -> None:
        """Close it, unless it is closed."""
        self.resume()
        try:
            await self._socket.close()
            await self._ending
        finally:
            self.abort()  # if the peer did not answer, or nobody waits any more

    def pause(self) -> None:
        """Stop reading until `resume`, except while a request waits for its answer; the gateway keeps the pushes."""
        if not self._answers:
            self._is_paused = True
            self._socket.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self._is_paused = False
        self._socket.transport.resume_reading()

    def abort(self) -> None:
        """Cut it, without a close frame."""
        self._socket.transport.abort()

    async def _wait_for_end(self) -> None:
        await self._socket.wait_closed()
        end = Closed(self._nonsense) if self._nonsense else self._closed(self._socket.close_exc)
        self._end.set_result(end)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Cut(str(end), end.code, end.reason))

    def _receive(self, data: bytes) -> None:
        """Take a message."""
        try:
            frame = _frames.decode(data)
        except msgspec.DecodeError as error:
            self._nonsense = f"{self.url}: not an answer of a gateway: {error}"
            self.abort()
            return
        if frame.subscriptionId is not None and frame.status is None:
            frame.data = data
            self._take(self, frame)
            return
        number = frame.requestId
        if number is None:  # the gateway could not read a request: most probably the oldest one
            number = next(iter(self._answers), 0)
            log.warning("the gateway did not understand a request: %s", data[:200])
        if frame.status == "success" and number in self._begins:
            self._begins[number](msgspec.json.decode(data))
        answer = self._answers.get(number)
        if answer is not None and not answer.done():
            answer.set_result(data)

    def _closed(self, error: ConnectionClosed) -> Closed:
        """The end of the connection as an exception."""
        text = f"{self.url} closed the connection: {error.rcvd or 'no close frame'}"
        if error.rcvd is None:
            return Closed(text)
        return Closed(text, error.rcvd.code, error.rcvd.reason)

    def _told(self, closed: Closed, data: bytes) -> HivewireError:
        """The exception for a request during which the connection ended; `data` is what was sent."""
        if closed.code == _MESSAGE_TOO_BIG and len(data) == self._longest:
            # The gateway was reached and refused the request: others that wait are shorter, and it may have done them.
            return TooLarge("this is larger than the gateway's limit for a message")
        if closed.code is None and len(data) > LARGE:
            # When the gateway closes in the middle of a large frame, a TCP reset can overtake its close frame.
            return Cut(f"{closed}, perhaps because a message of {len(data):,} bytes is too large")
        return Cut(str(closed), closed.code, closed.reason)


def _give_up(answer: asyncio.Future[bytes]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class _Direct(connect):
    """Opens a socket, and follows no redirects, because another host would get the token."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """The redirect is an error."""
        return exc


def _not_opened(url: str, place: str, error: Exception) -> Unreachable:
    """Why no socket came about."""
    if isinstance(error, ssl.SSLError):  # first: that of a certificate is a ValueError too
        return not_reached(url, error, "a gateway")
    if isinstance(error, InvalidStatus):
        return _refused(url, error)
    if isinstance(error, InvalidMessage):
        # Of a first line that can be read, the cause has the words; an alert of TLS is none.
        read = str(error.__cause__) if isinstance(error.__cause__, ValueError) else ""
        if read and read.isprintable():
            return Unreachable(f"{url} does not answer as a gateway does: {read[:200]}")
        hint = f"perhaps it expects TLS; try {_other(url)}" if place.startswith("ws:") else error
        return Unreachable(f"{url} gives no HTTP answer: {hint}")
    if isinstance(error, InvalidURI | ValueError):
        return Unreachable(f"{url} is not a gateway: {error}")
    if isinstance(error, InvalidHandshake):
        return Unreachable(f"{url} does not support WebSocket: {error}")
    return not_reached(url, error, "a gateway")


_MEANING = {
    426: "a proxy in front of it does not pass WebSocket upgrades",
    502: "the gateway behind this proxy does not answer",
    503: "the gateway takes no connections now, or a proxy has none to ask",
    504: "the gateway behind this proxy does not answer in time",
}


def _refused(url: str, error: InvalidStatus) -> Unreachable:
    """The peer answers the handshake with a status, perhaps a redirect, and perhaps says when to come back."""
    status, headers = error.response.status_code, error.response.headers
    text = f"{url} answers with HTTP {status}"
    if "Location" in headers:
        text += f" and a redirect to {ascii(headers['Location'])[1:-1][:200]}, which is not followed"
    else:
        text += f": {_MEANING.get(status, 'is it a gateway?')}"
    found = Unreachable(text)
    after = headers.get("Retry-After", "")
    found.retry_after = float(after) if after.isdigit() else None
    return found


def not_reached(url: str, error: Exception, what: str) -> Unreachable:
    """Why no connection to `what` at this address came about, or why it broke."""
    if isinstance(error, ssl.SSLError):
        if error.reason in _NOT_TLS:
            return Unreachable(f"{url} does not use TLS; try {_other(url)}")
        return Unreachable(f"no secure connection to {url}: {_why_tls_failed(error)}")
    return Unreachable(f"cannot reach {what} at {url}: {_why(error)}")


def _why(error: Exception) -> str:
    """What the system says. asyncio puts words of its own in their place, and several errors into one."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    found = re.search(r"\[Errno (\d+)\]", str(error))
    return os.strerror(int(found[1])) if found is not None else str(error)


def _other(url: str) -> str:
    """The address with TLS if it has none, and without if it has it."""
    scheme, _, rest = url.rpartition("://")
    return f"{_OTHER_SCHEME[scheme.lower()]}://{rest}"


def _why_tls_failed(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{error.verify_message} (SSL_CERT_FILE names a file of certificates to trust)"
    return (error.reason or str(error)).replace("_", " ").lower()
